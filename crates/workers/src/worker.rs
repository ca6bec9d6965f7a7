//! What a worker is: a name, a period, and a step that does one unit of work.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::{CommitError, Millis, QueryError};
use roadstead_storage::Error as StorageError;

/// A background reconciler.
///
/// A step takes no input: it finds in metadata and storage what is to be done, does one unit of it, and leaves
/// everything such that doing it again, here or on another instance at the same moment, does no harm. It may be
/// dropped at any `await` and must then leave no more behind than a crash would. What it acts upon it asks with
/// [`Freshness::Latest`](roadstead_metadata::Freshness): an instance that lags would find the same work again and again.
#[async_trait]
pub trait Worker: Debug + Send + Sync + 'static {
    /// Its name in the admin API, the UI, metrics and logs: lowercase words joined by `_`.
    fn name(&self) -> &'static str;

    /// How long it rests when there was nothing left to do, unless woken.
    fn period(&self) -> Duration;

    /// Does one unit of work: seconds, not minutes, so that a shutdown need not wait.
    async fn step(&self) -> Result<Progress, StepError>;
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Things done: sessions purged, objects deleted.
    pub done: u64,
    /// Whether more may be waiting: the next step follows at once, provided this one did something.
    pub more: bool,
    /// Things known to be waiting, when the step counted them.
    pub backlog: Option<u64>,
    /// Bytes that what was done is about: of blobs removed, of objects copied.
    pub bytes: u64,
    /// Since when the thing that waits longest has been waiting, when the step looked.
    pub oldest: Option<Millis>,
}

impl Progress {
    /// Nothing was to be done.
    pub const IDLE: Progress = Progress { done: 0, more: false, backlog: Some(0), bytes: 0, oldest: None };
}

/// Why a step failed. The supervisor tries again later, with growing pauses.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A question to metadata failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A store failed.
    #[error("location {location}: {source}")]
    Storage {
        /// The location's name.
        location: String,
        /// What went wrong there.
        source: StorageError,
    },
}
