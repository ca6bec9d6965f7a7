//! What can be set from outside, with the defaults that were measured.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

/// How to open a metadata directory.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory; made when absent. One process at a time.
    pub directory: PathBuf,
    /// The installation that the directory must belong to. `None` takes what stands there, and a new directory draws
    /// a new one. Default `None`.
    pub cluster: Option<Uuid>,
    /// Heartbeats, elections and how long things may take.
    pub timings: Timings,
    /// Bytes of disk space taken in advance, so that what is under way can finish when the disk fills up. The
    /// engine turns read-only when less is free than a quarter of it and the size of the database, which a snapshot
    /// takes. 0 switches both off. Default 64 MiB.
    pub disk_reserve: u64,
    /// Log entries between two snapshots, at least: above 625 MB one for each 64 KiB that the database had when it was
    /// opened. A snapshot holds up commits for 2 to 7 ms per MB. Default 10,000.
    pub entries_per_snapshot: u64,
    /// Bytes of log after which there is a snapshot before so many entries came: a start after a crash reads the log
    /// since the last snapshot into memory. `None`, the default, is an eighth of the memory that this process may use,
    /// from 16 to 256 MiB.
    pub bytes_per_snapshot: Option<u64>,
    /// Opens a directory that lost acknowledged commits, and forgets that it did. Only for an operator who was told
    /// what is missing and has no backup. Default `false`.
    pub accept_lost_commits: bool,
}

impl Options {
    /// The defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            cluster: None,
            timings: Timings::default(),
            disk_reserve: 64 << 20,
            entries_per_snapshot: 10_000,
            bytes_per_snapshot: None,
            accept_lost_commits: false,
        }
    }
}

/// Times of the Raft group and of its callers.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Between two heartbeats of a leader. Default 150 ms; an empty directory opens after five of them.
    pub heartbeat: Duration,
    /// A follower that hears nothing for this long, and up to twice as long, stands for election. Default 450 ms.
    pub election: Duration,
    /// How long a commit is waited for before its outcome is called unknown. Default 5 s.
    pub commit: Duration,
    /// How long a question is waited for before it is refused. Default 10 s.
    pub query: Duration,
    /// How long opening may go without progress: without a leader, or without another log entry replayed. How long
    /// all of it takes depends on the log and is not limited. Default 120 s.
    pub open: Duration,
    /// Between two looks of the watchdog at the Raft core and the disk. Default 500 ms.
    pub watch: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election: Duration::from_millis(450),
            commit: Duration::from_secs(5),
            query: Duration::from_secs(10),
            open: Duration::from_secs(120),
            watch: Duration::from_millis(500),
        }
    }
}
