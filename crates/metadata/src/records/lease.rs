//! Leases: which process does a kind of background work for all.
//!
//! A lease has no term of its own. It is its owner's for as long as the owner gives signs of life, and whoever watched
//! the owner give none for long enough takes it over; the statement that does is refused if the owner gave one meanwhile.
//! What is done under a lease must do no harm when two do it: a process that was frozen learns late that it lost it.

use super::sql;
use crate::{Millis, QueryError, Row, Statement};
use uuid::Uuid;

sql! {
    TAKE = "INSERT INTO lease (name, owner, taken_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    GUARD_SILENT = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM instance WHERE id = $1 AND beat <> $2)";
    TAKE_OVER = "UPDATE lease SET owner = $1, taken_at = $2 WHERE name = $3 AND owner = $4";
    GUARD_OWNED = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM lease WHERE name = $1 AND owner = $2)";
    RELEASE = "DELETE FROM lease WHERE owner = $1";
    ALL = "SELECT name, owner, taken_at FROM lease ORDER BY name";
}

/// A lease that somebody owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What work it is for.
    pub name: String,
    /// The process that does it.
    pub owner: Uuid,
    /// Since when, by that process's clock.
    pub taken_at: Millis,
}

/// Takes a lease that nobody owns; conflicts when somebody does.
pub fn take(name: &str, me: Uuid, at: Millis) -> [Statement; 2] {
    [Statement::new(TAKE, vec![name.into(), me.into(), at.into()]), guard_owned(name, me)]
}

/// Takes a lease from `owner`, whose last sign of life is `beat`; conflicts when it gave another or the lease is
/// somebody else's.
pub fn take_over(name: &str, me: Uuid, owner: Uuid, beat: i64, at: Millis) -> [Statement; 3] {
    [
        Statement::new(GUARD_SILENT, vec![owner.into(), beat.into()]),
        Statement::new(TAKE_OVER, vec![me.into(), at.into(), name.into(), owner.into()]),
        guard_owned(name, me),
    ]
}

fn guard_owned(name: &str, me: Uuid) -> Statement {
    Statement::new(GUARD_OWNED, vec![name.into(), me.into()])
}

/// Gives up every lease of a process.
pub fn release(owner: Uuid) -> Statement {
    Statement::new(RELEASE, vec![owner.into()])
}

/// The question for all that are owned.
pub fn all() -> Statement {
    Statement::new(ALL, vec![])
}

/// What [`all`] answers.
pub fn read(row: &Row) -> Result<Lease, QueryError> {
    Ok(Lease { name: row.text(0)?.to_owned(), owner: row.id(1)?, taken_at: row.integer(2)? })
}
