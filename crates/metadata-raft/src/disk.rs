//! Disk space: a reserve that is taken in advance, and when to stop writing.
//!
//! A full disk breaks hiqlite in three ways. It answers "database or disk is full" to commits that its log already has
//! (FINDINGS). A snapshot that finds no room stops the Raft core for good, and the next start does the same again. And a
//! write to a log file that has holes kills the process with SIGBUS, because hiqlite writes it through a memory map.
//! So the engine turns read-only while there is still room for a snapshot and what is under way, gives the reserve back
//! for that, and gives each log file its blocks before they are needed. When space comes back it takes the reserve
//! again and writes.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::durable::sync_parent;

/// The reserve of one directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    directory: PathBuf,
    file: PathBuf,
    /// A snapshot takes as much as this file.
    database: PathBuf,
    bytes: u64,
    low: AtomicBool,
}

impl Reserve {
    /// Bytes to keep for `directory`, whose database is `database`; 0 keeps none and never stops writing.
    pub(crate) fn new(directory: &Path, database: PathBuf, bytes: u64) -> Self {
        let file = directory.join("reserve");
        Self { directory: directory.to_owned(), file, database, bytes, low: AtomicBool::new(false) }
    }

    /// Why writing must stop; `None` when there is space enough. Two system calls: every commit asks, because blobs
    /// on the same disk may fill it between two looks of the watchdog. The reserve is given back at the moment when
    /// space becomes low.
    pub(crate) fn short(&self) -> Option<String> {
        if self.bytes == 0 {
            return None;
        }
        let free = free(&self.directory).ok()?;
        let snapshot = fs::metadata(&self.database).map_or(0, |m| m.len());
        let was_low = self.low.load(Ordering::Relaxed);
        // One threshold to stop and a higher one to go on, or the two would alternate.
        let low = match was_low {
            true => free + self.held() < snapshot + self.bytes + self.bytes / 2,
            false => free < snapshot + self.bytes / 4,
        };
        if low && !was_low {
            self.give_back();
        }
        self.low.store(low, Ordering::Relaxed);
        low.then(|| {
            let directory = self.directory.display();
            format!("the disk of {directory} is nearly full: {} MiB are left. Free some space", free >> 20)
        })
    }

    /// Takes the reserve unless it is held or space is low.
    pub(crate) fn take(&self) {
        if self.bytes == 0 || self.low.load(Ordering::Relaxed) || self.held() >= self.bytes {
            return;
        }
        let taken = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.file);
        if let Err(e) = taken.and_then(|file| allocate(&file, self.bytes)) {
            // Some filesystems cannot; the thresholds work without.
            tracing::debug!(file = %self.file.display(), error = %e, "no disk reserve");
        }
    }

    /// For what is under way: log entries that are synced must reach the database too.
    fn give_back(&self) {
        if let Err(e) = fs::remove_file(&self.file)
            && e.kind() != ErrorKind::NotFound
        {
            tracing::warn!(file = %self.file.display(), error = %e, "cannot give back the disk reserve");
        }
    }

    /// What the reserve occupies now.
    fn held(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |m| m.blocks() * 512)
    }
}

/// Bytes that an ordinary process may still write on the disk of `path`.
pub(crate) fn free(path: &Path) -> std::io::Result<u64> {
    let space = statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn allocate(file: &File, bytes: u64) -> std::io::Result<()> {
    Ok(fallocate(file, FallocateFlags::empty(), 0, bytes)?)
}

/// Gives every log file in `logs` the blocks it lacks, and makes the entry of such a file, which is new, durable: hiqlite
/// does neither. The content stays as it is.
pub(crate) fn fill_holes(logs: &Path) {
    let Ok(entries) = fs::read_dir(logs) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "wal") {
            continue;
        }
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.blocks() * 512 >= metadata.len() {
            continue;
        }
        let filled = OpenOptions::new().write(true).open(&path).and_then(|file| allocate(&file, metadata.len()));
        if let Err(e) = filled.and_then(|()| sync_parent(&path)) {
            tracing::debug!(file = %path.display(), error = %e, "cannot preallocate a log file");
        }
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
