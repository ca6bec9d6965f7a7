//! Whether writing gets anywhere: a disk that hangs answers nothing, not even an error.

use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Error, ErrorKind};

/// Writes are under way and none has ended for so long: the disk hangs. One write or sync is of some megabytes.
const STANDSTILL: Duration = Duration::from_secs(10);

/// Writes under way on one store.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    running: usize,
    /// When the last one ended, or the first began.
    moved: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(State { running: 0, moved: Instant::now() }))
    }
}

/// A write under way; ends when dropped.
pub(super) struct Running<'a>(&'a Progress);

impl Progress {
    pub(super) fn begin(&self) -> Running<'_> {
        let mut state = self.0.lock();
        if state.running == 0 {
            state.moved = Instant::now();
        }
        state.running += 1;
        Running(self)
    }

    /// `ReadOnly` while the disk hangs.
    pub(super) fn check(&self, root: &Path) -> Result<(), Error> {
        self.check_at(root, Instant::now())
    }

    fn check_at(&self, root: &Path, now: Instant) -> Result<(), Error> {
        let state = self.0.lock();
        let since = now.saturating_duration_since(state.moved);
        if state.running == 0 || since < STANDSTILL {
            return Ok(());
        }
        let (root, writes, seconds) = (root.display(), state.running, since.as_secs());
        let context =
            format!("the disk of {root} hangs: {writes} writes are waiting, and none has ended for {seconds} s");
        Err(Error::new(ErrorKind::ReadOnly, context))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.running -= 1;
        state.moved = Instant::now();
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
        drop(first);
        progress.check_at(root, ended - Duration::from_secs(1)).unwrap();
        drop(second);
        progress.check_at(root, later()).unwrap();
    }
}
