//! Why a metadata directory does not open. Each text names the directory and the way out.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A metadata directory that could not be opened. Nothing was acknowledged from it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error(
        "metadata directory {} is in use by {}: one process at a time may open it. Stop that process or use another \
         directory",
        directory.display(),
        holder.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process that has it, when it left its id.
        holder: Option<u32>,
    },
    /// The directory is another installation's, or has data and no identity.
    #[error("metadata directory: {0}")]
    Identity(#[from] roadstead_storage::Error),
    /// Fewer commits were recovered than were acknowledged.
    #[error(
        "metadata directory {} lost acknowledged commits: {acknowledged} were acknowledged, only {recovered} could be \
         recovered. Its log or snapshot is damaged (check the disk). Restore a backup; or, if there is none, open it \
         once with --accept-lost-commits to go on without the missing {}",
        directory.display(),
        acknowledged - recovered
    )]
    LostCommits {
        /// The directory.
        directory: PathBuf,
        /// Commits acknowledged over the directory's life.
        acknowledged: u64,
        /// Commits found again.
        recovered: u64,
    },
    /// There is data, but the record of what was acknowledged is missing or unreadable.
    #[error(
        "cannot tell whether metadata directory {} is complete: {} {reason}. Restore a backup; or open it once with \
         --accept-lost-commits to trust what is there",
        directory.display(),
        file.display()
    )]
    NoHighWater {
        /// The directory.
        directory: PathBuf,
        /// The high-water mark's file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of ours could not be understood.
    #[error("metadata: {} is damaged: {reason}. Restore it from a backup", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of the log cannot be read, and the database has to be rebuilt from the log.
    #[error(
        "metadata directory {}: its log is damaged at byte {at} of {}: the entries {entry} to {last} cannot be replayed \
         (check the disk). Restore a backup; or, if there is none, open it once with --accept-lost-commits to go on \
         without them",
        directory.display(),
        file.display()
    )]
    DamagedLog {
        /// The directory.
        directory: PathBuf,
        /// The log file.
        file: PathBuf,
        /// The byte at which the damaged entry begins.
        at: u64,
        /// The first entry that is lost.
        entry: u64,
        /// The last entry of the log.
        last: u64,
    },
    /// A file could not be read or written.
    #[error("metadata: cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The environment asks hiqlite to throw its state away.
    #[error("the environment variable {0} is set: it would make hiqlite delete the metadata. Unset it")]
    Environment(&'static str),
    /// hiqlite did not start.
    #[error("metadata directory {}: cannot start: {reason}", directory.display())]
    Start {
        /// The directory.
        directory: PathBuf,
        /// What hiqlite said.
        reason: String,
    },
    /// The start came to a standstill for [`crate::Timings::open`].
    #[error(
        "metadata directory {}: the start got no further for {} s ({progress}). Look for errors above, check the disk, and \
         start again",
        directory.display(),
        within.as_secs()
    )]
    NotReady {
        /// The directory.
        directory: PathBuf,
        /// The limit.
        within: Duration,
        /// How far it came.
        progress: String,
    },
}

impl OpenError {
    /// For `map_err`: names what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| OpenError::Io { action, path, source }
    }
}
