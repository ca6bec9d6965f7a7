//! Whether writing gets anywhere, and whether reading does: a disk that hangs answers nothing, not even an error.
//!
//! What waits may wait for ever, as for a filesystem that was detached while it hung and attached anew. So what is under
//! way belongs to a generation, and a trial that came through, or another root, begins the next: those before count no
//! longer.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Error, ErrorKind};

/// Some are under way and none has ended for so long: the disk hangs. One read, write or sync is of some megabytes.
pub(super) const STANDSTILL: Duration = Duration::from_secs(10);

/// All that is under way on one store.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    /// What waits for the disk to read; what the kernel has in memory does not.
    pub(super) reads: Arc<Progress>,
    pub(super) writes: Arc<Progress>,
}

impl Traffic {
    pub(super) fn with_patience(patience: Duration) -> Self {
        let progress = |direction| Arc::new(Progress::new(direction, patience));
        Self { reads: progress(Direction::Reads), writes: progress(Direction::Writes) }
    }

    /// Nothing that is under way counts any longer.
    pub(super) fn renew(&self) {
        self.reads.renew();
        self.writes.renew();
    }
}

/// Which way the bytes go.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Reads,
    Writes,
}

impl Direction {
    /// What they are called, and what a store is that gets nowhere with them.
    fn told(self) -> (&'static str, ErrorKind) {
        match self {
            Direction::Reads => ("reads", ErrorKind::Unavailable),
            // What it has can still be read.
            Direction::Writes => ("writes", ErrorKind::ReadOnly),
        }
    }
}

/// What is under way in one direction.
#[derive(Debug)]
pub(super) struct Progress {
    direction: Direction,
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

/// A read or write under way; ends when dropped.
pub(super) struct Running {
    progress: Arc<Progress>,
    generation: u64,
}

impl Progress {
    fn new(direction: Direction, patience: Duration) -> Self {
        let state = State { generation: 0, running: 0, moved: Instant::now(), tried: None };
        Self { direction, state: Mutex::new(state), patience }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        let mut state = self.state.lock();
        if state.running == 0 {
            state.moved = Instant::now();
        }
        state.running += 1;
        Running { progress: Arc::clone(self), generation: state.generation }
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

    /// `ReadOnly` while the disk hangs with writes, `Unavailable` while it does with reads.
    pub(super) fn check(&self, root: &Path) -> Result<(), Error> {
        self.check_at(root, Instant::now())
    }

    fn check_at(&self, root: &Path, now: Instant) -> Result<(), Error> {
        let state = self.state.lock();
        let since = now.saturating_duration_since(state.moved);
        if state.running == 0 || since < self.patience {
            return Ok(());
        }
        let (what, kind) = self.direction.told();
        let (root, count, seconds) = (root.display(), state.running, since.as_secs());
        let context =
            format!("the disk of {root} hangs: {count} {what} are waiting, and none has ended for {seconds} s");
        Err(Error::new(kind, context))
    }
}

impl Running {
    /// A part of it is done, of which there are many.
    pub(super) fn moved(&self) {
        let mut state = self.progress.state.lock();
        if state.generation == self.generation {
            state.moved = Instant::now();
        }
    }
}

impl Drop for Running {
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
        let Traffic { reads, writes: progress } = Traffic::with_patience(STANDSTILL);
        let root = Path::new("/blobs");
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
        let _reading = reads.begin();
        let error = reads.check_at(root, later()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "what cannot be read is not there");
        assert!(error.to_string().contains("/blobs hangs: 1 reads"), "{error}");
    }

    #[test]
    fn one_that_never_ends_counts_until_a_trial_or_another_root() {
        let (progress, root) = (Traffic::with_patience(Duration::ZERO).writes, Path::new("/blobs"));
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
