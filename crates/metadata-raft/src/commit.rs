//! Commits: a batch as one Raft log entry, and what hiqlite's answers mean.
//!
//! hiqlite carries a transaction out statement by statement and rolls all of it back at the first that fails, on a
//! connection with `foreign_keys = ON`. The failure comes back as text with SQLite's result code in it, and the code
//! decides: a violated constraint is a conflict and a faulty statement a fault, on every replay and on every
//! replica, so nothing happened. A code that tells of this machine (disk full, input and output, memory) is
//! different: the entry stands in the log and will be carried out when the log is replayed. Its outcome is unknown,
//! and the state machine is behind its log until it is rebuilt.

use std::borrow::Cow;

use hiqlite::{Error, Param, Params};
use roadstead_metadata::{Batch, CommitError, Committed, Value, base, lists};

use crate::answers::params;
use crate::tables::COUNT_COMMIT;

/// How a transaction ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It happened, now or at an earlier attempt.
    Committed(Committed),
    /// It did not happen, or nobody knows.
    Refused(CommitError),
    /// hiqlite waited long enough. It may happen yet, or have happened.
    Silent(String),
    /// The log has it, the state machine could not carry it out. The text says why.
    Diverged(String),
}

/// What one transaction carries out, in order.
pub(crate) type Statements = Vec<(Cow<'static, str>, Params)>;

/// The statements of one batch: take the operation id, the batch, count the commit.
pub(crate) fn statements(batch: Batch) -> Result<Statements, CommitError> {
    let mut statements = Vec::with_capacity(batch.statements.len() + 2);
    let operation = vec![Value::from(batch.operation), Value::from(batch.at)];
    statements.push((Cow::Borrowed(base::TAKE_OPERATION), params(operation).unwrap_or_default()));
    let count = batch.statements.len();
    for (index, statement) in batch.statements.into_iter().enumerate() {
        let text = statement.sql;
        let failed = |reason: &dyn std::fmt::Display| {
            CommitError::Failed(format!("{reason} (statement {} of {count}: {text})", index + 1))
        };
        let (sql, values) = lists::expand(statement).map_err(|e| failed(&e))?;
        statements.push((sql, params(values).map_err(|e| failed(&e))?));
    }
    statements.push((Cow::Borrowed(COUNT_COMMIT), Params::new()));
    Ok(statements)
}

/// How many bytes the statements take in the log.
pub(crate) fn size(statements: &Statements) -> u64 {
    let param = |param: &Param| match param {
        Param::Text(text) => text.len() + 12,
        Param::Blob(bytes) => bytes.len() + 12,
        _ => 12,
    };
    let statement =
        |(sql, params): &(Cow<'static, str>, Params)| sql.len() + 20 + params.iter().map(param).sum::<usize>();
    statements.iter().map(|one| statement(one) as u64).sum()
}

/// Sorts what hiqlite answered to a transaction.
pub(crate) fn sort(answer: Result<Vec<Result<usize, Error>>, Error>) -> Outcome {
    let error = match answer {
        Ok(_) => return Outcome::Committed(Committed { replayed: false }),
        Err(error) => error,
    };
    let text = error.to_string();
    match error {
        Error::Transaction(_) | Error::PrepareStatement(_) | Error::QueryParams(_) | Error::Sqlite(_) => executed(text),
        // These come before anything is appended to the log, or after it was taken out of it again.
        Error::RateLimit(_) | Error::LeaderChange(_) | Error::CheckIsLeaderError(_) => {
            Outcome::Refused(CommitError::Unavailable(text))
        }
        error if error.is_forward_to_leader().is_some() => Outcome::Refused(CommitError::Unavailable(text)),
        Error::Timeout(_) => Outcome::Silent(text),
        // Everything else can come after the append: a core that stopped, a connection that broke.
        _ => Outcome::Refused(CommitError::Unknown(text)),
    }
}

/// Sorts a failure of the state machine by SQLite's result code.
fn executed(text: String) -> Outcome {
    const ERROR: u32 = 1;
    const TOO_BIG: u32 = 18;
    const CONSTRAINT: u32 = 19;
    const MISMATCH: u32 = 20;
    const MISUSE: u32 = 21;
    const RANGE: u32 = 25;
    match result_code(&text) {
        Some(CONSTRAINT) if text.contains("UNIQUE constraint failed: operation.id") => {
            Outcome::Committed(Committed { replayed: true })
        }
        Some(CONSTRAINT) => Outcome::Refused(CommitError::Conflict(text)),
        Some(ERROR | TOO_BIG | MISMATCH | MISUSE | RANGE) => Outcome::Refused(CommitError::Failed(text)),
        // A deferred foreign key is checked at the end, where hiqlite passes on the bare message.
        None if text.ends_with("constraint failed") => Outcome::Refused(CommitError::Conflict(text)),
        _ => Outcome::Diverged(text),
    }
}

/// SQLite's primary result code, from the two forms in which hiqlite prints it.
fn result_code(text: &str) -> Option<u32> {
    let (_, after) = text.rsplit_once("extended_code: ").or_else(|| text.split_once("Error code "))?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    // The low byte is the primary code, the rest says more about it.
    digits.parse::<u32>().ok().map(|code| code & 0xff)
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
