//! An engine that fails as it is told to: for the tests of everything that must survive a failing store.
//!
//! Faults are planned by operation and count, never by chance, so that a test says exactly what happened. A plan
//! ([`Faults`]) is a handle that the test keeps while the engine is in use.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    Body, Engine, Error, ErrorKind, Extend, Listed, ObjectKey, ObjectRead, ObjectStat, Operation, Part, Presign, Sweep,
    Writer,
};

/// The faults to come. Clones share the plan.
#[derive(Clone, Default)]
pub struct Faults {
    planned: Arc<Mutex<Vec<Planned>>>,
}

struct Planned {
    operation: Operation,
    /// How many calls still pass before it.
    pass: usize,
    fault: Fault,
}

#[derive(Clone)]
enum Fault {
    /// Fails without reaching the store.
    Refuse(ErrorKind),
    /// Reaches the store, which does it, and fails all the same: the caller cannot know.
    Forget(ErrorKind),
    /// Lets this many bytes through, and then fails.
    Cut(u64, ErrorKind),
    /// Waits until the test lets it go on.
    Hold(Arc<Gate>),
    /// Takes an exclusive write for one that replaces.
    Replace,
}

struct Gate {
    arrived: Semaphore,
    open: Semaphore,
}

/// A call that is being held. Let go when dropped.
pub struct Held(Arc<Gate>);

impl Held {
    /// Waits until the call has arrived.
    pub async fn arrived(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.0.arrived.acquire().await {
            permit.forget();
        }
    }

    /// Lets the call go on.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.open.add_permits(1);
    }
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `nth` call of `operation` from now on (1 is the next) fail without effect.
    pub fn refuse(&self, operation: Operation, nth: usize, kind: ErrorKind) {
        self.plan(operation, nth, Fault::Refuse(kind));
    }

    /// Makes the `nth` call of `operation` take effect and fail all the same, as when the answer is lost.
    pub fn forget(&self, operation: Operation, nth: usize, kind: ErrorKind) {
        self.plan(operation, nth, Fault::Forget(kind));
    }

    /// Ends the body of the `nth` read after `bytes` bytes with an error.
    pub fn cut_body(&self, nth: usize, bytes: u64, kind: ErrorKind) {
        self.plan(Operation::Body, nth, Fault::Cut(bytes, kind));
    }

    /// Makes the `nth` write store only its first `bytes` bytes and fail.
    pub fn cut_write(&self, nth: usize, bytes: u64, kind: ErrorKind) {
        self.plan(Operation::Write, nth, Fault::Cut(bytes, kind));
    }

    /// Holds the `nth` call of `operation` until the answer is released or dropped.
    pub fn hold(&self, operation: Operation, nth: usize) -> Held {
        let gate = Arc::new(Gate { arrived: Semaphore::new(0), open: Semaphore::new(0) });
        self.plan(operation, nth, Fault::Hold(gate.clone()));
        Held(gate)
    }

    /// Makes the `nth` write of a small object replace what is there though it is to be exclusive, as object stores do that
    /// know no conditions.
    pub fn replace(&self, nth: usize) {
        self.plan(Operation::PutSmall, nth, Fault::Replace);
    }

    /// How many planned faults have not happened yet.
    pub fn pending(&self) -> usize {
        self.planned.lock().len()
    }

    fn plan(&self, operation: Operation, nth: usize, fault: Fault) {
        self.planned.lock().push(Planned { operation, pass: nth.saturating_sub(1), fault });
    }

    /// The faults of this call of `operation`, in the order planned.
    fn take(&self, operation: Operation) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.planned.lock().retain_mut(|planned| {
            let now = planned.operation == operation && planned.pass == 0;
            if now {
                faults.push(planned.fault.clone());
            } else if planned.operation == operation {
                planned.pass -= 1;
            }
            !now
        });
        faults
    }

    /// Does `call` as far as the plan has it.
    async fn around<T>(&self, operation: Operation, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let faults = self.take(operation);
        pass(&faults, operation).await?;
        let done = call.await?;
        forgotten(&faults, operation).map(|()| done)
    }
}

/// Waits where the call is held; fails where it is refused.
async fn pass(faults: &[Fault], operation: Operation) -> Result<(), Error> {
    for fault in faults {
        match fault {
            Fault::Refuse(kind) => return Err(injected(operation, *kind)),
            Fault::Hold(gate) => {
                gate.arrived.add_permits(1);
                if let Ok(permit) = gate.open.acquire().await {
                    permit.forget();
                }
            }
            Fault::Forget(_) | Fault::Cut(..) | Fault::Replace => {}
        }
    }
    Ok(())
}

fn forgotten(faults: &[Fault], operation: Operation) -> Result<(), Error> {
    match faults.iter().find(|fault| matches!(fault, Fault::Forget(_))) {
        Some(Fault::Forget(kind)) => Err(injected(operation, *kind)),
        _ => Ok(()),
    }
}

fn cut(faults: &[Fault]) -> Option<(u64, ErrorKind)> {
    faults.iter().find_map(|fault| match fault {
        Fault::Cut(bytes, kind) => Some((*bytes, *kind)),
        _ => None,
    })
}

fn injected(operation: Operation, kind: ErrorKind) -> Error {
    Error::new(kind, format!("injected fault in {}", operation.name()))
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("pending", &self.pending()).finish()
    }
}

/// An engine on which planned faults happen.
#[derive(Debug)]
pub struct Faulty<E> {
    inner: E,
    faults: Faults,
}

impl<E: Engine> Faulty<E> {
    /// Makes `faults` happen on `inner`.
    pub fn new(inner: E, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn writer(&self, inner: Box<dyn Writer>) -> Box<dyn Writer> {
        Box::new(FaultyWriter { inner, faults: self.faults.clone() })
    }
}

#[async_trait]
impl<E: Engine> Engine for Faulty<E> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        self.faults.around(Operation::Stat, self.inner.stat(key)).await
    }

    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        let read = self.faults.around(Operation::Read, self.inner.read(key, range)).await?;
        let faults = self.faults.take(Operation::Body);
        Ok(ObjectRead { body: faulty_body(read.body, faults), ..read })
    }

    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error> {
        let inner = self.faults.around(Operation::Writer, self.inner.writer(key)).await?;
        Ok(self.writer(inner))
    }

    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        self.faults.around(Operation::Compose, self.inner.compose(parts, key)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.faults.around(Operation::Delete, self.inner.delete(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.faults.around(Operation::List, self.inner.list(prefix, after, limit)).await
    }

    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error> {
        let faults = self.faults.take(Operation::PutSmall);
        let exclusive = only_if_absent && !faults.iter().any(|fault| matches!(fault, Fault::Replace));
        pass(&faults, Operation::PutSmall).await?;
        self.inner.put_small(key, bytes, exclusive).await?;
        forgotten(&faults, Operation::PutSmall)
    }

    async fn probe(&self) -> Result<(), Error> {
        self.faults.around(Operation::Probe, self.inner.probe()).await
    }

    fn extend(&self) -> Option<&dyn Extend> {
        self.inner.extend().map(|_| self as &dyn Extend)
    }

    fn presign(&self) -> Option<&dyn Presign> {
        self.inner.presign()
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        self.inner.sweep()
    }
}

#[async_trait]
impl<E: Engine> Extend for Faulty<E> {
    async fn append(&self, key: &ObjectKey, length: u64) -> Result<Box<dyn Writer>, Error> {
        let extend = self
            .inner
            .extend()
            .ok_or_else(|| Error::new(ErrorKind::Other, format!("engine {} extends no objects", self.inner.kind())))?;
        let inner = self.faults.around(Operation::Append, extend.append(key, length)).await?;
        Ok(self.writer(inner))
    }
}

/// A body that is held, refused or cut as planned.
fn faulty_body(body: Body, faults: Vec<Fault>) -> Body {
    if faults.is_empty() {
        return body;
    }
    let start = async move {
        match pass(&faults, Operation::Body).await {
            Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
            Ok(()) => match cut(&faults) {
                Some((bytes, kind)) => cut_body(body, bytes, kind),
                None => body,
            },
        }
    };
    start.flatten_stream().boxed()
}

fn cut_body(body: Body, bytes: u64, kind: ErrorKind) -> Body {
    futures::stream::unfold(Some((body, bytes)), move |state| async move {
        let (mut body, left) = state?;
        if left == 0 {
            return Some((Err(injected(Operation::Body, kind)), None));
        }
        let chunk = match body.next().await? {
            Ok(chunk) => chunk.slice(..chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX))),
            Err(error) => return Some((Err(error), None)),
        };
        let left = left - chunk.len() as u64;
        Some((Ok(chunk), Some((body, left))))
    })
    .boxed()
}

struct FaultyWriter {
    inner: Box<dyn Writer>,
    faults: Faults,
}

#[async_trait]
impl Writer for FaultyWriter {
    async fn write(&mut self, mut chunks: Vec<Bytes>) -> Result<(), Error> {
        let faults = self.faults.take(Operation::Write);
        pass(&faults, Operation::Write).await?;
        let cut = cut(&faults);
        if let Some((bytes, _)) = cut {
            let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
            for chunk in &mut chunks {
                chunk.truncate(left);
                left -= chunk.len();
            }
        }
        self.inner.write(chunks).await?;
        match cut {
            Some((_, kind)) => Err(injected(Operation::Write, kind)),
            None => forgotten(&faults, Operation::Write),
        }
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        // The plan counts syncs in the order they are started.
        let (faults, sync) = (self.faults.take(Operation::Sync), self.inner.sync());
        async move {
            pass(&faults, Operation::Sync).await?;
            sync.await?;
            forgotten(&faults, Operation::Sync)
        }
        .boxed()
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        self.faults.around(Operation::Finish, self.inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        self.faults.around(Operation::Abort, self.inner.abort()).await
    }
}

#[cfg(test)]
mod tests;
