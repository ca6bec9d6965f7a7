//! Tells a recorder of every operation of an engine: what, how it ended, how many bytes, how long.
//!
//! Knows no metrics format: the recorder is somebody else's.

use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};

use crate::{
    Body, Engine, Error, ErrorKind, Extend, Listed, ObjectKey, ObjectRead, ObjectStat, Operation, Part, Presign, Sweep,
    Writer,
};

/// How an operation ended. A body that its reader left early ended well.
pub type Outcome = Result<(), ErrorKind>;

/// Is told of every operation once it ended. One that was given up before is not told of, a body excepted.
pub trait Recorder: Debug + Send + Sync + 'static {
    /// One operation: how it ended, how many bytes of objects it moved, and how long it took. Must not block.
    fn record(&self, operation: Operation, outcome: Outcome, bytes: u64, took: Duration);
}

/// An engine whose every operation is told to a [`Recorder`].
#[derive(Debug)]
pub struct Metered<E> {
    inner: E,
    recorder: Arc<dyn Recorder>,
}

impl<E: Engine> Metered<E> {
    /// Tells `recorder` of the operations of `inner`.
    pub fn new(inner: E, recorder: Arc<dyn Recorder>) -> Self {
        Self { inner, recorder }
    }

    async fn measure<T>(&self, operation: Operation, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        measure(self.recorder.as_ref(), operation, 0, call).await
    }

    fn writer(&self, inner: Box<dyn Writer>) -> Box<dyn Writer> {
        Box::new(MeteredWriter { inner, recorder: self.recorder.clone() })
    }
}

async fn measure<T>(
    recorder: &dyn Recorder,
    operation: Operation,
    bytes: u64,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let start = Instant::now();
    let done = call.await;
    let (outcome, bytes) = match &done {
        Ok(_) => (Ok(()), bytes),
        Err(error) => (Err(error.kind()), 0),
    };
    recorder.record(operation, outcome, bytes, start.elapsed());
    done
}

#[async_trait]
impl<E: Engine> Engine for Metered<E> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        self.measure(Operation::Stat, self.inner.stat(key)).await
    }

    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        let read = self.measure(Operation::Read, self.inner.read(key, range)).await?;
        let body = MeteredBody {
            inner: read.body,
            recorder: self.recorder.clone(),
            outcome: Ok(()),
            bytes: 0,
            start: Instant::now(),
        };
        Ok(ObjectRead { body: body.boxed(), ..read })
    }

    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error> {
        let inner = self.measure(Operation::Writer, self.inner.writer(key)).await?;
        Ok(self.writer(inner))
    }

    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        let bytes = parts.iter().map(|part| part.length).sum();
        measure(self.recorder.as_ref(), Operation::Compose, bytes, self.inner.compose(parts, key)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.measure(Operation::Delete, self.inner.delete(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.measure(Operation::List, self.inner.list(prefix, after, limit)).await
    }

    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error> {
        let length = bytes.len() as u64;
        let call = self.inner.put_small(key, bytes, only_if_absent);
        measure(self.recorder.as_ref(), Operation::PutSmall, length, call).await
    }

    async fn probe(&self) -> Result<(), Error> {
        self.measure(Operation::Probe, self.inner.probe()).await
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
impl<E: Engine> Extend for Metered<E> {
    async fn append(&self, key: &ObjectKey, length: u64) -> Result<Box<dyn Writer>, Error> {
        let extend = self
            .inner
            .extend()
            .ok_or_else(|| Error::new(ErrorKind::Other, format!("engine {} extends no objects", self.inner.kind())))?;
        let inner = self.measure(Operation::Append, extend.append(key, length)).await?;
        Ok(self.writer(inner))
    }
}

struct MeteredWriter {
    inner: Box<dyn Writer>,
    recorder: Arc<dyn Recorder>,
}

#[async_trait]
impl Writer for MeteredWriter {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        measure(self.recorder.as_ref(), Operation::Write, bytes, self.inner.write(chunks)).await
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        let (recorder, sync) = (self.recorder.clone(), self.inner.sync());
        async move { measure(recorder.as_ref(), Operation::Sync, 0, sync).await }.boxed()
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        measure(self.recorder.as_ref(), Operation::Finish, 0, self.inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        measure(self.recorder.as_ref(), Operation::Abort, 0, self.inner.abort()).await
    }
}

/// Recorded when dropped: then it has ended, in whatever way.
struct MeteredBody {
    inner: Body,
    recorder: Arc<dyn Recorder>,
    outcome: Outcome,
    bytes: u64,
    start: Instant,
}

impl Stream for MeteredBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.inner.poll_next_unpin(cx));
        match &next {
            Some(Ok(chunk)) => self.bytes += chunk.len() as u64,
            Some(Err(error)) => self.outcome = Err(error.kind()),
            None => {}
        }
        Poll::Ready(next)
    }
}

impl Drop for MeteredBody {
    fn drop(&mut self) {
        self.recorder.record(Operation::Body, self.outcome, self.bytes, self.start.elapsed());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use parking_lot::Mutex;

    use super::*;
    use crate::Memory;
    use crate::suite::Subject;

    #[derive(Debug, Default)]
    struct Ledger(Mutex<Vec<(&'static str, Outcome, u64)>>);

    impl Recorder for Ledger {
        fn record(&self, operation: Operation, outcome: Outcome, bytes: u64, _took: Duration) {
            self.0.lock().push((operation.name(), outcome, bytes));
        }
    }

    struct Store(Memory);

    #[async_trait]
    impl Subject for Store {
        async fn open(&self) -> Arc<dyn Engine> {
            Arc::new(Metered::new(self.0.clone(), Arc::new(Ledger::default())))
        }
    }

    crate::conformance!(Store(Memory::new()));

    #[tokio::test]
    async fn every_operation_is_recorded_with_its_bytes_and_outcome() {
        let ledger = Arc::new(Ledger::default());
        let engine = Metered::new(Memory::new(), ledger.clone());
        let key = |key: &str| ObjectKey::new(key).unwrap();
        let mut writer = Engine::writer(&engine, &key("a")).await.unwrap();
        writer.write(vec![Bytes::from_static(b"12345"), Bytes::from_static(b"678")]).await.unwrap();
        writer.finish().await.unwrap();
        drop(engine.read(&key("a"), Some(2..5)).await.unwrap().body.collect::<Vec<_>>().await);
        // A reader that hangs up at once.
        drop(engine.read(&key("a"), None).await.unwrap());
        assert!(engine.stat(&key("b")).await.is_err());
        let mut writer = engine.extend().unwrap().append(&key("s"), 0).await.unwrap();
        writer.sync().await.unwrap();
        writer.abort().await.unwrap();
        engine.put_small(&key("p"), Bytes::from_static(b"1234"), true).await.unwrap();
        engine.compose(&[Part { key: key("a"), length: 7, sealed: false }], &key("c")).await.unwrap();
        engine.list("", None, 5).await.unwrap();
        engine.delete(&key("a")).await.unwrap();
        assert!(engine.probe().await.is_err());
        let expected = [
            ("writer", Ok(()), 0),
            ("write", Ok(()), 8),
            ("finish", Ok(()), 0),
            ("read", Ok(()), 0),
            ("body", Ok(()), 3),
            ("read", Ok(()), 0),
            ("body", Ok(()), 0),
            ("stat", Err(ErrorKind::NotFound), 0),
            ("append", Ok(()), 0),
            ("sync", Ok(()), 0),
            ("abort", Ok(()), 0),
            ("put_small", Ok(()), 4),
            ("compose", Ok(()), 7),
            ("list", Ok(()), 0),
            ("delete", Ok(()), 0),
            ("probe", Err(ErrorKind::Foreign), 0),
        ];
        assert_eq!(*ledger.0.lock(), expected);
    }
}
