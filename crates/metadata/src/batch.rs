//! A batch: what one use case changes, as plain data.

use uuid::Uuid;

use crate::{CommitError, Value};

/// At most this many bytes of SQL text and parameters in one batch: one Raft log entry.
pub const BATCH_BYTES: usize = 1 << 20;
/// At most this many statements in one batch. Larger work is a resumable job.
pub const BATCH_STATEMENTS: usize = 500;

/// One SQL statement and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The text, one of the constants in `records`.
    pub sql: &'static str,
    /// `$1..$n`, in order.
    pub params: Vec<Value>,
}

impl Statement {
    /// A statement.
    pub fn new(sql: &'static str, params: Vec<Value>) -> Self {
        Self { sql, params }
    }
}

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = i64;

/// Statements that happen together or not at all, under an operation id that makes a retry happen once.
///
/// A guard is a statement that fails unless its condition holds: `INSERT INTO guard(ok) SELECT 0 WHERE NOT
/// EXISTS (...)`. The table refuses the row, which aborts the batch with [`crate::CommitError::Conflict`].
#[derive(Debug, Clone)]
pub struct Batch {
    /// Names the operation; the same for each retry of it.
    pub operation: Uuid,
    /// When the operation began, by the caller's clock.
    pub at: Millis,
    /// In order of execution.
    pub statements: Vec<Statement>,
}

impl Batch {
    /// An empty batch; `operation` must be new (UUIDv7).
    pub fn new(operation: Uuid, at: Millis) -> Self {
        Self { operation, at, statements: Vec::new() }
    }

    /// Adds a statement.
    pub fn push(&mut self, statement: Statement) -> &mut Self {
        self.statements.push(statement);
        self
    }

    /// Adds several statements.
    pub fn extend(&mut self, statements: impl IntoIterator<Item = Statement>) -> &mut Self {
        self.statements.extend(statements);
        self
    }

    /// Size in bytes as counted against [`BATCH_BYTES`].
    pub fn size(&self) -> usize {
        self.statements.iter().map(|s| s.sql.len() + 16 + s.params.iter().map(Value::size).sum::<usize>()).sum()
    }

    /// Whether the batch keeps to [`BATCH_STATEMENTS`] and [`BATCH_BYTES`]; every engine asks before it submits.
    pub fn check(&self) -> Result<(), CommitError> {
        let (count, size) = (self.statements.len(), self.size());
        if count > BATCH_STATEMENTS {
            return Err(CommitError::TooLarge(format!("{count} statements, at most {BATCH_STATEMENTS}")));
        }
        if size > BATCH_BYTES {
            return Err(CommitError::TooLarge(format!("{size} bytes, at most {BATCH_BYTES}")));
        }
        Ok(())
    }
}
