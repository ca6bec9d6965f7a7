//! Writing behind: chunks gather in a queue, and one blocking job at a time writes them while more arrive.
//!
//! Order is kept by the queue and not by the jobs: whoever holds the output writes all that is queued. So a sync may
//! be started at any moment, and covers every byte given before. The first failure is remembered and answered to every
//! later call: the kernel tells of what it could not write once, forgets it, and a second fsync would lie.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::blocking;
use super::durable::sync_file;
use super::failure::failed;
use super::probe::check_room;
use super::progress::Progress;
use super::staged::Revoke;
use super::threads::{self, Lane};
use crate::{Error, ErrorKind};

/// How many bytes gather before they are worth a job. Objects below it are written and published in one.
const GATHER: usize = 512 * 1024;
/// Most slices that the kernel takes in one call (`IOV_MAX`).
const SLICES: usize = 1024;

/// Where the bytes go.
pub(super) trait Sink: Send + 'static {
    /// The file, positioned after the bytes written so far, and its path for messages. May make it first.
    fn file(&mut self) -> Result<(&File, &Path), Error>;

    /// Frees what was written; called at most once, last, when the writer is dropped unfinished.
    fn discard(&mut self) {}
}

pub(super) struct WriteBehind<S: Sink> {
    shared: Arc<Shared<S>>,
    running: Option<BoxFuture<'static, Result<(), Error>>>,
    ended: bool,
}

struct Shared<S> {
    queue: Mutex<Queue>,
    output: Mutex<Output<S>>,
    health: Arc<Health>,
    writes: Arc<Progress>,
}

/// What went wrong first, and how far it went well. Locked after the output where both are.
#[derive(Default)]
struct Health {
    failure: Mutex<Option<(ErrorKind, String)>>,
    /// How many of the bytes written are durable; `None` before the first sync. Held during a sync: of two at once the
    /// kernel might tell only the one of a failure that concerns both.
    synced: Mutex<Option<u64>>,
}

#[derive(Default)]
struct Queue {
    chunks: Vec<Bytes>,
    bytes: usize,
}

pub(super) struct Output<S> {
    pub(super) sink: S,
    /// Bytes written.
    pub(super) written: u64,
    health: Arc<Health>,
}

impl<S: Sink> WriteBehind<S> {
    pub(super) fn new(sink: S, writes: Arc<Progress>) -> Self {
        let health = Arc::<Health>::default();
        let output = Mutex::new(Output { sink, written: 0, health: health.clone() });
        Self {
            shared: Arc::new(Shared { queue: Mutex::default(), output, health, writes }),
            running: None,
            ended: false,
        }
    }

    /// The hold that a successor has on what this one still does.
    pub(super) fn revocable(&self) -> Weak<dyn Revoke> {
        let shared: Weak<Shared<S>> = Arc::downgrade(&self.shared);
        shared
    }

    /// Takes chunks, and waits only when a job is already writing and enough has gathered for the next.
    pub(super) async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        if self.shared.queue.lock().push(chunks) < GATHER {
            return Ok(());
        }
        if let Some(running) = &mut self.running {
            let written = running.await;
            self.running = None;
            written?;
        }
        self.running = Some(self.spawn(|_| Ok(())));
        Ok(())
    }

    /// Makes durable all bytes given so far, and then does `after` with their number. Started already when it returns.
    pub(super) fn sync(
        &self,
        after: impl FnOnce(u64) -> Result<(), Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<(), Error>> {
        let shared = self.shared.clone();
        Box::pin(blocking(Lane::Write, move || {
            let _running = shared.writes.begin();
            let (written, file) = shared.with_output(|output| {
                if shared.health.is_synced(output.written) {
                    return Ok((output.written, None));
                }
                let (file, path) = output.sink.file()?;
                let duplicate = file.try_clone().map_err(failed("sync", path))?;
                Ok((output.written, Some((duplicate, path.to_owned()))))
            })?;
            // On a duplicate, outside the lock: writing goes on meanwhile.
            shared.health.sync(file.as_ref().map(|(file, path)| (file, path.as_path())), written, || after(written))
        }))
    }

    /// Writes what is queued, then runs `act` as the last thing done with the output.
    pub(super) fn end<T: Send + 'static>(
        mut self,
        act: impl FnOnce(&mut Output<S>) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        self.ended = true;
        self.spawn(act)
    }

    /// Forgets what is queued, then runs `act` as the last thing done with the output, whatever failed before.
    pub(super) fn cancel(
        mut self,
        act: impl FnOnce(&mut Output<S>) -> Result<(), Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<(), Error>> {
        self.ended = true;
        let shared = self.shared.clone();
        Box::pin(blocking(Lane::Write, move || shared.close(act)))
    }

    fn spawn<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Output<S>) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let shared = self.shared.clone();
        Box::pin(blocking(Lane::Write, move || {
            let _running = shared.writes.begin();
            shared.with_output(act)
        }))
    }
}

impl<S: Sink> Drop for WriteBehind<S> {
    fn drop(&mut self) {
        // Removing a large file takes its time: not on a thread that serves others.
        if !self.ended {
            let shared = self.shared.clone();
            drop(threads::spawn(Lane::Write, move || shared.close(|output| output.sink.discard())));
        }
    }
}

impl<S: Sink> Shared<S> {
    fn with_output<T>(&self, act: impl FnOnce(&mut Output<S>) -> Result<T, Error>) -> Result<T, Error> {
        let mut output = self.output.lock();
        self.health.check()?;
        let done = output.drain(&self.queue).and_then(|()| act(&mut output));
        done.inspect_err(|error| self.health.remember(error))
    }
}

impl<S> Shared<S> {
    fn close<T>(&self, act: impl FnOnce(&mut Output<S>) -> T) -> T {
        self.queue.lock().take();
        let mut output = self.output.lock();
        // A job that comes later shall not begin anew.
        self.health.remember(&Error::new(ErrorKind::Other, "the writer was given up"));
        act(&mut output)
    }
}

impl<S: Sink> Revoke for Shared<S> {
    fn revoke(&self) {
        self.close(|_| ());
        // A sync on the side has its own way to the file.
        drop(self.health.synced.lock());
    }
}

impl<S: Sink> Output<S> {
    fn drain(&mut self, queue: &Mutex<Queue>) -> Result<(), Error> {
        loop {
            let chunks = queue.lock().take();
            if chunks.is_empty() {
                return Ok(());
            }
            let (file, path) = self.sink.file()?;
            check_room(file, path, chunks.iter().map(|chunk| chunk.len() as u64).sum())?;
            self.written += write_all(file, &chunks).map_err(failed("write", path))?;
        }
    }

    /// Makes durable all that was written.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        let (file, path) = self.sink.file()?;
        self.health.sync(Some((file, path)), self.written, || Ok(()))
    }
}

impl Health {
    fn check(&self) -> Result<(), Error> {
        match &*self.failure.lock() {
            Some((kind, failure)) => Err(Error::new(*kind, failure.clone())),
            None => Ok(()),
        }
    }

    fn remember(&self, error: &Error) {
        self.failure.lock().get_or_insert_with(|| (error.kind(), error.to_string()));
    }

    fn is_synced(&self, written: u64) -> bool {
        // Does not wait for a sync that is running: whoever asks holds up the writing.
        self.synced.try_lock().is_some_and(|synced| synced.is_some_and(|synced| synced >= written))
    }

    /// Makes the first `written` bytes of `file` durable, unless they are: a sync of nothing would still make the disk
    /// empty its cache. Then does `after`.
    fn sync(
        &self,
        file: Option<(&File, &Path)>,
        written: u64,
        after: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut synced = self.synced.lock();
        self.check()?;
        let sync = || {
            if let Some((file, path)) = file
                && synced.is_none_or(|synced| synced < written)
            {
                sync_file(file, path)?;
                *synced = Some(written);
            }
            after()
        };
        sync().inspect_err(|error| self.remember(error))
    }
}

impl Queue {
    /// Answers how many bytes are queued now.
    fn push(&mut self, chunks: Vec<Bytes>) -> usize {
        self.bytes += chunks.iter().map(Bytes::len).sum::<usize>();
        self.chunks.extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
        self.bytes
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.bytes = 0;
        std::mem::take(&mut self.chunks)
    }
}

/// Writes all of the chunks, none of them empty, in as few calls as the kernel allows. Answers how many bytes.
fn write_all(mut file: &File, chunks: &[Bytes]) -> io::Result<u64> {
    let mut written = 0;
    for chunks in chunks.chunks(SLICES) {
        let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    written += count as u64;
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(written)
}
