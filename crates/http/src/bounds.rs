//! What all requests of a process share, so that no number of clients makes it hold more: memory for bodies that are
//! held whole, and blob bodies on their way in either direction, each of which has a descriptor and about a megabyte.
//!
//! Who finds no room waits, in the order of arrival, and is told to come back (503) when that takes too long. Nothing
//! is taken for what is only announced.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use parking_lot::Mutex;
use roadstead_registry::{BodyError, ByteStream, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error_table::Failure;

/// Memory is accounted in steps of so many bytes.
const STEP: usize = 64 * 1024;
/// A body that is held whole must bring so many bytes in each span of the body timeout, the first included.
const RATE: usize = 1 << 20;
/// How often to log that there is no room.
const AGAIN: Duration = Duration::from_secs(60);

/// Bounds over all requests of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct Bounds(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    held: Arc<Semaphore>,
    blobs: Arc<Semaphore>,
    /// When it was last logged that there is no room.
    logged: Mutex<Option<Instant>>,
}

impl Default for Bounds {
    /// 256 MiB for bodies held whole, and 4,096 blob bodies.
    fn default() -> Self {
        Self::new(256 << 20, 4_096)
    }
}

/// The right to have one blob body on its way.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "what counts is that it lives")] OwnedSemaphorePermit);

/// A body held whole, and its part of the memory for such bodies.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Bounds {
    /// At most `held` bytes of request bodies that are held whole, rounded to steps of 64 KiB, and `blobs` blob bodies
    /// on their way at once; at least one of each.
    pub fn new(held: usize, blobs: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner { held: semaphore(held / STEP), blobs: semaphore(blobs), logged: Mutex::default() }))
    }

    /// A place for a blob body; waits for one no longer than `patience`.
    pub(crate) async fn place(&self, patience: Duration) -> Result<Place, Failure> {
        self.acquire(&self.0.blobs, patience, "too many blobs are being pushed and pulled").await.map(Place)
    }

    /// All of a body of at most `limit` bytes. `patience` is how long to wait for memory, and for each [`RATE`] bytes
    /// of the client.
    pub(crate) async fn whole(&self, mut body: ByteStream, limit: u64, patience: Duration) -> Result<Whole, Failure> {
        let (mut bytes, mut memory) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        let (mut room, mut due) = (0, Instant::now() + patience);
        loop {
            let chunk = match timeout_at(due, body.next()).await {
                Ok(Some(chunk)) => chunk.map_err(Error::Body)?,
                Ok(None) => return Ok(Whole { bytes: bytes.freeze(), _memory: memory }),
                Err(_) => return Err(Error::Body(BodyError::TooSlow).into()),
            };
            let length = bytes.len() + chunk.len();
            if length as u64 > limit {
                return Err(Error::TooLarge { limit }.into());
            }
            while room < length {
                let asked = Instant::now();
                let more = self.acquire(&self.0.held, patience, "too many manifests are being pushed").await?;
                // Waiting for others is not the client's time.
                due += asked.elapsed();
                room += STEP;
                match &mut memory {
                    Some(memory) => memory.merge(more),
                    None => memory = Some(more),
                }
            }
            due += patience * (length / RATE - bytes.len() / RATE) as u32;
            bytes.extend_from_slice(&chunk);
        }
    }

    async fn acquire(
        &self,
        semaphore: &Arc<Semaphore>,
        patience: Duration,
        why: &'static str,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        match timeout(patience, Arc::clone(semaphore).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphores are never closed.
            Ok(Err(_)) | Err(_) => {
                self.log(why);
                Err(Failure::busy(why))
            }
        }
    }

    fn log(&self, why: &str) {
        let mut logged = self.0.logged.lock();
        if logged.is_none_or(|at| at.elapsed() > AGAIN) {
            *logged = Some(Instant::now());
            tracing::warn!(why, "requests are answered 503 because there was no room for them in time");
        }
    }
}
