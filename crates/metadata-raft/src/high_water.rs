//! The high-water mark: how many commits were acknowledged, kept outside of hiqlite's directory.
//!
//! hiqlite heals a damaged log by cutting it off at the damage, and skips a log file whose header it cannot read.
//! On one node that loses acknowledged commits without a word. So each commit counts itself in the replicated
//! database (`raft_commits`, its last statement), and before it is acknowledged the count is written to a file of
//! our own and synced. A start that finds a smaller count than the file names has lost commits.
//!
//! Guaranteed: a commit is acknowledged only after a count that includes it is durable here, so a start that lost
//! any acknowledged commit is refused. The count never runs ahead of what the database has applied and the log has
//! synced, so a healthy start is never refused. Not covered: damage to this file and to the log at once.
//!
//! One thread does the writing: it takes all that wait, reads the count once, writes once, syncs once, and lets them
//! all go. It is asked once for each group of commits ([`crate::committer`]).
//!
//! The file has two slots in blocks of their own, written in turn, so that a torn write leaves the one before.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use hiqlite::rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::durable::{sync_file, sync_parent};
use crate::{OpenError, tables};

/// One slot, with a disk block for itself.
const SLOT: u64 = 4096;
const MAGIC: &[u8; 8] = b"RSTDHWM1";
/// Magic, count, half a SHA-256 of both.
const RECORD: usize = 8 + 8 + 16;

/// The mark's file.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    path: PathBuf,
    count: u64,
    /// The slot that the next write goes to: not the one that holds `count`.
    next: u64,
}

/// What was found where the mark should be.
#[derive(Debug)]
pub(crate) enum Found {
    /// A readable mark.
    Mark(Mark),
    /// No file.
    Missing,
    /// A file without a single readable slot.
    Unreadable,
}

impl Mark {
    /// Looks for the mark at `path`.
    pub(crate) fn find(path: &Path) -> std::io::Result<Found> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
            Err(e) => return Err(e),
        };
        if file.metadata()?.len() != 2 * SLOT {
            return Ok(Found::Unreadable);
        }
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        Ok(match slots {
            [None, None] => Found::Unreadable,
            [Some(first), second] if second.is_none_or(|s| s <= first) => {
                Found::Mark(Mark { file, path: path.to_owned(), count: first, next: 1 })
            }
            [_, second] => Found::Mark(Mark { file, path: path.to_owned(), count: second.unwrap_or(0), next: 0 }),
        })
    }

    /// Makes a mark at `path`, in place of what is there.
    pub(crate) fn create(path: &Path, count: u64) -> std::io::Result<Mark> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all_at(&vec![0; 2 * SLOT as usize], 0)?;
        let mut mark = Mark { file, path: path.to_owned(), count: 0, next: 0 };
        mark.write(count)?;
        sync_parent(path)?;
        Ok(mark)
    }

    /// The count it holds.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Writes a new count and syncs it.
    fn write(&mut self, count: u64) -> std::io::Result<()> {
        self.file.write_all_at(&record(count), self.next * SLOT)?;
        sync_file(&self.file, &self.path)?;
        self.count = count;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn record(count: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(MAGIC);
    record[8..16].copy_from_slice(&count.to_le_bytes());
    let sum = Sha256::digest(&record[..16]);
    record[16..].copy_from_slice(&sum[..16]);
    record
}

fn read_slot(file: &File, slot: u64) -> std::io::Result<Option<u64>> {
    let mut found = [0; RECORD];
    file.read_exact_at(&mut found, slot * SLOT)?;
    let mut count = [0; 8];
    count.copy_from_slice(&found[8..16]);
    let count = u64::from_le_bytes(count);
    Ok((record(count) == found).then_some(count))
}

type Waiter = oneshot::Sender<Result<(), String>>;

/// The thread that raises the mark.
#[derive(Debug)]
pub(crate) struct Raiser {
    /// `None` once it is to end.
    waiting: Option<mpsc::Sender<Waiter>>,
    thread: Option<JoinHandle<()>>,
}

impl Raiser {
    /// Starts the thread. It reads the count from the state machine's `database` over a connection of its own.
    pub(crate) fn start(mark: Mark, database: PathBuf) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&database, flags)
            .map_err(|e| OpenError::Damaged { file: database, reason: e.to_string() })?;
        let (waiting, queue) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("high-water".to_owned())
            .spawn(move || run(mark, &connection, &queue))
            .map_err(OpenError::io("start a thread for", Path::new("high-water")))?;
        Ok(Self { waiting: Some(waiting), thread: Some(thread) })
    }

    /// Waits until the mark includes every commit that was applied before the call. The error is for operators.
    pub(crate) async fn raise(&self) -> Result<(), String> {
        let (waiter, raised) = oneshot::channel();
        let sent = self.waiting.as_ref().is_some_and(|waiting| waiting.send(waiter).is_ok());
        match raised.await {
            Ok(raised) if sent => raised,
            _ => Err("the high-water mark is no longer kept".to_owned()),
        }
    }
}

impl Drop for Raiser {
    /// Waits for the thread, which answers everyone first and takes no longer than a write to the mark.
    fn drop(&mut self) {
        self.waiting = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported to the waiters.
            let _ = thread.join();
        }
    }
}

fn run(mut mark: Mark, connection: &Connection, queue: &mpsc::Receiver<Waiter>) {
    while let Ok(first) = queue.recv() {
        let waiters: Vec<Waiter> = std::iter::once(first).chain(queue.try_iter()).collect();
        let raised = raise(&mut mark, connection);
        for waiter in waiters {
            // A waiter that gave up needs no answer.
            let _ = waiter.send(raised.clone());
        }
    }
}

fn raise(mark: &mut Mark, connection: &Connection) -> Result<(), String> {
    let applied = tables::count(connection).map_err(|e| format!("cannot read the commit count: {e}"))?;
    if applied > mark.count() {
        mark.write(applied).map_err(|e| format!("cannot write the high-water mark: {e}"))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "high_water_tests.rs"]
mod tests;
