//! How much all uploads of a process hold in memory together.
//!
//! An object grows in memory until it makes a part, and nobody knows in advance how far. So bytes are counted as they
//! come, against what all share. Nobody waits for that alone: it could be for one who waits as well. Who finds it used up
//! waits for a place in the reserve besides, and a place is all that an upload needs to get on by itself: what it sends
//! in one request, or one part that is sent and one that is collected. So who waits gets a place in the end, because who
//! has a place waits for nobody.
//! A writer that waits takes nothing from its client.

use std::sync::Arc;
use std::time::Duration;

use roadstead_storage::{Error, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory is counted in steps of so many bytes.
const STEP: usize = 4 << 10;

/// What there is. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    place: String,
    shared: Arc<Semaphore>,
    /// Places, each for one upload.
    reserve: Arc<Semaphore>,
    patience: Duration,
}

/// What one upload may hold. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    counted: Option<OwnedSemaphorePermit>,
    reserved: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// `bytes` for all uploads together, half of them shared and half in reserve, but at least a place and one part for
    /// each core; a place is of `one` bytes. Who waits longer than `patience` fails; `place` is the bucket as errors
    /// name it.
    pub(super) fn new(bytes: usize, part_size: usize, one: usize, place: String, patience: Duration) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let bytes = bytes.max(part_size.saturating_mul(cores)).max(one);
        let places = (bytes / 2 / one).max(1);
        let shared = (bytes - one.saturating_mul(places).min(bytes)) / STEP;
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { place, shared: semaphore(shared), reserve: semaphore(places), patience }
    }

    /// Nothing, to begin with.
    pub(super) fn share(&self) -> Share {
        Share { memory: self.clone(), counted: None, reserved: None }
    }
}

impl Share {
    /// Counts until `bytes` are. `false` when there is not so much: then nothing has changed.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.memory.shared.clone().try_acquire_many_owned(self.lacks(bytes));
        taken.map(|taken| self.add(taken)).is_ok()
    }

    /// Whether it stands for a place of the reserve, in which parts are sent one after the other.
    pub(super) fn is_place(&self) -> bool {
        self.reserved.is_some()
    }

    /// Counts until `bytes` are, or waits until they can be or there is a place in the reserve, which stands for all
    /// that was counted.
    pub(super) async fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        if self.is_place() || self.grow(bytes) {
            return Ok(());
        }
        let (shared, reserve) = (self.memory.shared.clone(), self.memory.reserve.clone());
        let (lacks, patience) = (self.lacks(bytes), self.memory.patience);
        let wait = async {
            tokio::select! {
                biased;
                taken = shared.acquire_many_owned(lacks) => taken.map(|taken| self.add(taken)),
                place = reserve.acquire_owned() => place.map(|place| {
                    self.reserved = Some(place);
                    self.counted = None;
                }),
            }
        };
        if let Ok(Ok(())) = tokio::time::timeout(patience, wait).await {
            return Ok(());
        }
        let text = format!(
            "{}: for {patience:?} other uploads held all memory that uploads may use; raise storage.s3.memory",
            self.memory.place
        );
        Err(Error::new(ErrorKind::Unavailable, text))
    }

    /// Steps until `bytes` are counted.
    fn lacks(&self, bytes: usize) -> u32 {
        let has = self.counted.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        u32::try_from(bytes.div_ceil(STEP).saturating_sub(has)).unwrap_or(u32::MAX)
    }

    fn add(&mut self, taken: OwnedSemaphorePermit) {
        match &mut self.counted {
            Some(counted) => counted.merge(taken),
            None => self.counted = Some(taken),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::FutureExt;

    use super::*;

    const PART: usize = 1 << 30;

    fn memory(parts: usize) -> Memory {
        Memory::new(parts * PART, PART, 2 * PART, "bucket b".to_owned(), Duration::from_secs(3_600))
    }

    #[tokio::test]
    async fn small_ones_take_what_they_hold_and_large_ones_a_place() {
        // More parts than cores: of 4,000 half are in places of two parts.
        let memory = memory(4_000);
        assert_eq!(memory.reserve.available_permits(), 1_000);
        let mut small = memory.share();
        small.hold(100).await.unwrap();
        assert_eq!(memory.shared.available_permits(), 2_000 * PART / STEP - 1);
        small.hold(STEP + 1).await.unwrap();
        assert_eq!(memory.shared.available_permits(), 2_000 * PART / STEP - 2);
        drop(small);
        assert_eq!(memory.shared.available_permits(), 2_000 * PART / STEP);

        // Two that share all there is, each with less than it needs.
        let (mut one, mut other) = (memory.share(), memory.share());
        assert!(one.grow(1_000 * PART) && other.grow(1_000 * PART));
        one.hold(1_001 * PART).await.unwrap();
        assert!(one.is_place() && !other.is_place());
        assert_eq!(memory.shared.available_permits(), 1_000 * PART / STEP, "its place is all it has");
    }

    #[tokio::test]
    async fn who_has_a_place_waits_for_nobody() {
        let memory = memory(0);
        let places = memory.reserve.available_permits();
        let mut held = Vec::new();
        for _ in 0..places {
            let mut share = memory.share();
            share.hold(5_000 * PART).await.unwrap();
            held.push(share);
        }
        let mut last = memory.share();
        assert!(last.hold(5_000 * PART).now_or_never().is_none(), "there is no place");
        for share in &mut held {
            assert!(share.hold(9_000 * PART).now_or_never().is_some_and(|held| held.is_ok()));
        }
        held.pop();
        last.hold(5_000 * PART).await.unwrap();
    }

    #[tokio::test]
    async fn waiting_ends_with_what_to_do() {
        let memory = Memory::new(0, PART, 2 * PART, "bucket b".to_owned(), Duration::ZERO);
        let _all = memory.reserve.acquire_many(memory.reserve.available_permits() as u32).await.unwrap();
        let error = memory.share().hold(5_000 * PART).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("bucket b") && error.to_string().contains("storage.s3.memory"), "{error}");
    }
}
