//! How large the log has grown since the last snapshot.
//!
//! After a crash openraft reads all of that into memory at once, so its size is the memory that a start takes, whatever
//! the size of the database. hiqlite's own rule for snapshots goes by the number of entries, and an entry may have
//! up to a megabyte. So there is a bound in bytes, by the memory that this process may use: a log that is past it is
//! brought to its snapshot by a [nudge](crate::nudge). A log of twice the bound is not written to for as long as the
//! nudge lasts, or fast clients would win the race with it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// Of the memory, for the log. A start takes nearly twice the log, and the log may come to twice the bound.
const SHARE: u64 = 8;
const LEAST: u64 = 16 << 20;
const MOST: u64 = 256 << 20;
/// What hiqlite and openraft put around the statements of an entry.
const ENTRY: u64 = 64;

/// The bound for a process that may use so much memory. One that does not know takes it to be plenty.
pub(crate) fn bound(memory: Option<u64>) -> u64 {
    memory.map_or(MOST, |memory| (memory / SHARE).clamp(LEAST, MOST))
}

/// The log since the last snapshot.
#[derive(Debug)]
pub(crate) struct Growth {
    bound: u64,
    since: Mutex<Since>,
    /// Somebody should look.
    past: Notify,
    /// A nudge is under way.
    nudging: watch::Sender<bool>,
}

#[derive(Debug)]
struct Since {
    /// The entry that follows the snapshot.
    snapshot: u64,
    bytes: u64,
}

impl Growth {
    /// A log of so many bytes after the snapshot, which goes up to the entry before `snapshot`.
    pub(crate) fn new(bound: u64, snapshot: u64, bytes: u64) -> Self {
        let growth = Self {
            bound,
            since: Mutex::new(Since { snapshot, bytes }),
            past: Notify::new(),
            nudging: watch::Sender::new(false),
        };
        if growth.is_past() {
            growth.past.notify_one();
        }
        growth
    }

    /// Counts an entry whose statements take so many bytes. The snapshot is the newest now.
    pub(crate) fn wrote(&self, bytes: u64, snapshot: u64) {
        let bytes = bytes + ENTRY;
        let mut since = self.lock();
        match since.snapshot == snapshot {
            true => since.bytes += bytes,
            // It may be that the snapshot has this entry. Then the next one comes a little early.
            false => *since = Since { snapshot, bytes },
        }
        let past = since.bytes > self.bound;
        drop(since);
        if past {
            self.past.notify_one();
        }
    }

    /// Begins anew when the newest snapshot is another than it was; answers whether it is.
    pub(crate) fn saw(&self, snapshot: u64) -> bool {
        let mut since = self.lock();
        let another = since.snapshot != snapshot;
        if another {
            *since = Since { snapshot, bytes: 0 };
        }
        another
    }

    pub(crate) fn is_past(&self) -> bool {
        self.lock().bytes > self.bound
    }

    /// Waits until the log is past its bound.
    pub(crate) async fn until_past(&self) {
        while !self.is_past() {
            self.past.notified().await;
        }
    }

    /// A nudge is under way while the answer lives.
    pub(crate) fn nudging(&self) -> Nudging<'_> {
        self.nudging.send_replace(true);
        Nudging(self)
    }

    /// Waits for the end of a nudge when the log is far past its bound; not longer than `patience`.
    pub(crate) async fn room(&self, patience: Duration) {
        let mut nudging = self.nudging.subscribe();
        if self.lock().bytes > 2 * self.bound {
            let over = nudging.wait_for(|nudging| !nudging);
            _ = tokio::time::timeout(patience, over).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A nudge under way; ends when dropped.
pub(crate) struct Nudging<'a>(&'a Growth);

impl Drop for Nudging<'_> {
    fn drop(&mut self) {
        self.0.nudging.send_replace(false);
    }
}

#[cfg(test)]
#[path = "growth_tests.rs"]
mod tests;
