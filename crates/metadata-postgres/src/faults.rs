//! What the errors of a server mean: whether something happened, and whether trying again helps.

use std::error::Error as _;

use roadstead_metadata::{CommitError, QueryError};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The error in words, with what is behind it.
pub(crate) fn told(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        return format!("{}{detail} (SQLSTATE {})", said.message(), said.code().code());
    }
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Whether the server will not have us, whatever we do: role, password, database.
pub(crate) fn refuses_us(error: &Error) -> bool {
    error.code().is_some_and(|code| matches!(class(code), "28" | "3D"))
}

/// What an error of one statement says about its transaction, which it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Others were in the way; the same transaction may succeed the next time.
    Again,
    /// What this connection has prepared is out of date, or was prepared on another one.
    Stale,
    /// A rule of the schema or a guard.
    Conflict,
    /// The server cannot do it now.
    Unavailable,
    /// A fault of the text or the values.
    Faulty,
}

/// Sorts an error that a server answered.
pub(crate) fn sort(code: &SqlState, message: &str) -> Verdict {
    match code.code() {
        "40001" | "40P01" => Verdict::Again,
        // The plan of a prepared statement may not change its columns; an unknown or a doubled statement is PgBouncer's.
        "26000" | "42P05" => Verdict::Stale,
        "0A000" if message.contains("cached plan") => Verdict::Stale,
        "25006" | "55P03" => Verdict::Unavailable,
        _ => match class(code) {
            "23" => Verdict::Conflict,
            // Connection, transaction state, resources, an operator, the system, a fault inside.
            "08" | "25" | "53" | "57" | "58" | "F0" | "XX" => Verdict::Unavailable,
            _ => Verdict::Faulty,
        },
    }
}

/// What the caller of a commit is told when a statement of it, but not its COMMIT, failed: nothing happened.
pub(crate) fn refusal(error: &Error, place: &str) -> CommitError {
    let text = format!("{} ({place})", told(error));
    match error.as_db_error().map(|said| sort(said.code(), said.message())) {
        Some(Verdict::Conflict) => CommitError::Conflict(text),
        Some(Verdict::Unavailable | Verdict::Again) => CommitError::Unavailable(text),
        Some(Verdict::Stale) => CommitError::Failed(text + PGBOUNCER),
        Some(Verdict::Faulty) | None => CommitError::Failed(text),
    }
}

/// The same error, of `server`.
pub(crate) fn at(server: &str, error: CommitError) -> CommitError {
    let told = |text: String| format!("PostgreSQL at {server}: {text}");
    match error {
        CommitError::Unavailable(text) => CommitError::Unavailable(told(text)),
        CommitError::Unknown(text) => CommitError::Unknown(told(text)),
        CommitError::Failed(text) => CommitError::Failed(told(text)),
        refused @ (CommitError::Conflict(_) | CommitError::TooLarge(_)) => refused,
    }
}

/// What the caller of a question is told, which `server` did not answer.
pub(crate) fn unanswered(error: &Error, server: &str, text: &str) -> QueryError {
    let told = format!("PostgreSQL at {server}: {} ({text})", told(error));
    match error.as_db_error() {
        None if is_ours(error) => QueryError::Failed(told),
        None => QueryError::Unavailable(told),
        Some(said) => match sort(said.code(), said.message()) {
            _ if said.code() == &SqlState::READ_ONLY_SQL_TRANSACTION => QueryError::Failed(told),
            Verdict::Again | Verdict::Unavailable => QueryError::Unavailable(told),
            Verdict::Stale => QueryError::Failed(told + PGBOUNCER),
            Verdict::Conflict | Verdict::Faulty => QueryError::Failed(told),
        },
    }
}

const PGBOUNCER: &str = "; behind PgBouncer in transaction mode set metadata.postgres.statement_cache: false";

/// Whether it arose before anything was sent: a value that does not fit its parameter.
pub(crate) fn is_ours(error: &Error) -> bool {
    let text = error.to_string();
    text.starts_with("error serializing parameter") || text.starts_with("expected ")
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_meaning() {
        let sorted = |code: &str| sort(&SqlState::from_code(code), "");
        for code in ["40001", "40P01"] {
            assert_eq!(sorted(code), Verdict::Again, "{code}");
        }
        for code in ["23505", "23503", "23514", "23502"] {
            assert_eq!(sorted(code), Verdict::Conflict, "{code}");
        }
        for code in ["25006", "25P03", "53100", "53300", "57014", "57P01", "55P03", "58030", "XX000", "08006"] {
            assert_eq!(sorted(code), Verdict::Unavailable, "{code}");
        }
        for code in ["42601", "42P01", "22021", "0A000"] {
            assert_eq!(sorted(code), Verdict::Faulty, "{code}");
        }
        assert_eq!(sorted("26000"), Verdict::Stale);
        let stale = sort(&SqlState::from_code("0A000"), "cached plan must not change result type");
        assert_eq!(stale, Verdict::Stale);
    }
}
