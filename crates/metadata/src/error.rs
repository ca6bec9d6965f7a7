//! How questions and commits fail.

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The engine cannot answer now (no leader, no primary, starting, shut down). Trying again may help.
    #[error("metadata not readable: {0}")]
    Unavailable(String),
    /// The engine answered with a failure: a fault in the statement, the schema or the stored data.
    #[error("metadata query failed: {0}")]
    Failed(String),
}

/// A batch that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The operation id had been committed before; nothing was done again.
    pub replayed: bool,
}

/// A batch that did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A guard, a foreign key or a uniqueness rule refused the batch. Nothing happened. Read again and decide.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The engine refused before doing anything: no quorum, no primary, read-only, disk nearly full. Nothing happened.
    #[error("metadata not writable: {0}")]
    Unavailable(String),
    /// No answer came in time; it may have happened, or may yet. Retry under the same operation id.
    #[error("metadata commit without an answer: {0}")]
    Unknown(String),
    /// The batch is over [`crate::BATCH_BYTES`] or [`crate::BATCH_STATEMENTS`]. Nothing happened.
    #[error("metadata batch too large: {0}")]
    TooLarge(String),
    /// A fault in a statement or the schema. Nothing happened.
    #[error("metadata commit failed: {0}")]
    Failed(String),
}
