//! Whether writing gets anywhere: a disk that hangs answers nothing, not even an error.
//!
//! What waits may wait for ever, as for a filesystem that was detached while it hung and attached anew. So what is under
//! way belongs to a generation, and a trial that came through, or another root, begins the next: those before count no
//! longer.

use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Error, ErrorKind};

/// Writes are under way and none has ended for so long: the disk hangs. One write or sync is of some megabytes.
const STANDSTILL: Duration = Duration::from_secs(10);

/// Writes under way on one store.
#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
    patience: Duration,
}

#[derive(Debug)]
struct State {
    generation: u64,
    /// Of this generation.
    running: usize,
    /// When the last one ended, or the first began.
    moved: Instant,
    /// The generation of which a trial was begun that has not ended.
    tried: Option<u64>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::with_patience(STANDSTILL)
    }
}

/// A write under way; ends when dropped.
pub(super) struct Running<'a> {
    progress: &'a Progress,
    generation: u64,
}

impl Progress {
    pub(super) fn with_patience(patience: Duration) -> Self {
        let state = State { generation: 0, running: 0, moved: Instant::now(), tried: None };
        Self { state: Mutex::new(state), patience }
    }

    pub(super) fn begin(&self) -> Running<'_> {
        let mut state = self.state.lock();
        if state.running == 0 {
            state.moved = Instant::now();
        }
        state.running += 1;
        Running { progress: self, generation: state.generation }
    }

    /// Nothing that is under way counts any longer.
    pub(super) fn renew(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.running = 0;
        state.moved = Instant::now();
    }

    /// The right to try whether the disk answers, unless a trial waits for it already. To be given back to
    /// [`Progress::tried`] with how it went.
    pub(super) fn begin_trial(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let generation = state.generation;
        (state.tried.replace(generation) != Some(generation)).then_some(generation)
    }

    /// A trial ended. Whatever it was answered, an answer came.
    pub(super) fn tried(&self, generation: u64) {
        self.give_up(generation);
        if self.state.lock().generation == generation {
            self.renew();
        }
    }

    /// A trial could not be begun.
    pub(super) fn give_up(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.tried == Some(generation) {
            state.tried = None;
        }
    }

    /// `ReadOnly` while the disk hangs.
    pub(super) fn check(&self, root: &Path) -> Result<(), Error> {
        self.check_at(root, Instant::now())
    }

    fn check_at(&self, root: &Path, now: Instant) -> Result<(), Error> {
        let state = self.state.lock();
        let since = now.saturating_duration_since(state.moved);
        if state.running == 0 || since < self.patience {
            return Ok(());
        }
        let (root, writes, seconds) = (root.display(), state.running, since.as_secs());
        let context =
            format!("the disk of {root} hangs: {writes} writes are waiting, and none has ended for {seconds} s");
        Err(Error::new(ErrorKind::ReadOnly, context))
    }
}

impl Running<'_> {
    /// A part of it is done, of which there are many.
    pub(super) fn moved(&self) {
        let mut state = self.progress.state.lock();
        if state.generation == self.generation {
            state.moved = Instant::now();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.progress.state.lock();
        if state.generation == self.generation {
            state.running -= 1;
            state.moved = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_disk_hangs_when_writes_wait_and_none_ends() {
        let (progress, root) = (Progress::default(), Path::new("/blobs"));
        let later = || Instant::now() + STANDSTILL;
        progress.check_at(root, later()).unwrap();
        let (first, second) = (progress.begin(), progress.begin());
        progress.check(root).unwrap();
        let error = progress.check_at(root, later()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        assert!(error.to_string().contains("/blobs hangs: 2 writes"), "{error}");
        let ended = later();
        second.moved();
        progress.check_at(root, ended).unwrap();
        let ended = later();
        drop(first);
        progress.check_at(root, ended).unwrap();
        drop(second);
        progress.check_at(root, later()).unwrap();
    }

    #[test]
    fn one_that_never_ends_counts_until_a_trial_or_another_root() {
        let (progress, root) = (Progress::with_patience(Duration::ZERO), Path::new("/blobs"));
        let lost = progress.begin();
        progress.check(root).unwrap_err();
        let trial = progress.begin_trial().unwrap();
        assert_eq!(progress.begin_trial(), None, "one at a time");
        progress.tried(trial);
        progress.check(root).unwrap();
        let lost_too = progress.begin();
        let trial = progress.begin_trial().unwrap();
        progress.renew();
        progress.check(root).unwrap();
        let under_way = progress.begin();
        // What ends late says nothing about those of today.
        drop((lost, lost_too));
        progress.tried(trial);
        progress.check(root).unwrap_err();
        assert!(progress.begin_trial().is_some(), "a trial of another root waits for that one only");
        drop(under_way);
        progress.check(root).unwrap();
    }
}
