//! The tables of the engine contract itself, below every schema.
//!
//! They carry what [`crate::Sql`] promises: `operation` makes a batch happen once, `guard` lets a statement abort
//! its batch, `schema_version` makes each migration happen once, `schema_oldest` says who may run beside it. A commit writes `operation` before anything else,
//! so these tables cannot come from a batch: an engine makes them when it opens, by its own means, and an engine
//! that is open has them.

use crate::Millis;
use crate::{Statement, Value};

/// The tables in SQLite's dialect. Each may be executed again, by several processes.
///
/// An engine that replicates asks first whether they are there, so that it opens without a quorum too.
pub const SQLITE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS operation (id BLOB NOT NULL PRIMARY KEY, at BIGINT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS guard (ok BIGINT NOT NULL PRIMARY KEY CHECK (ok = 1))",
    "CREATE TABLE IF NOT EXISTS schema_version \
     (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS schema_oldest (version BIGINT NOT NULL PRIMARY KEY, oldest BIGINT NOT NULL)",
];

/// The names of the tables, for engines that ask whether they are there.
pub const TABLES: &[&str] = &["operation", "guard", "schema_version", "schema_oldest"];

/// Takes an operation id; the first statement of every commit. `$1` is the id, `$2` the batch's `at`.
///
/// Violating the key of `operation` here, and only here, means that the batch happened before.
pub const TAKE_OPERATION: &str = "INSERT INTO operation(id, at) VALUES ($1, $2)";

/// A question that reads a table, and nothing of it: `guard` never holds a row.
pub const PING: &str = "SELECT ok FROM guard";

/// How long operation ids are kept, in milliseconds: 24 hours, against the one hour in which a retry may come.
pub const OPERATION_KEPT: Millis = 24 * 60 * 60 * 1000;

/// Drops at most `limit` operation ids that began before `before`.
///
/// Operation ids are UUIDv7, so the key itself is in order of time and needs no second index.
pub fn purge_operations(before: Millis, limit: i64) -> Statement {
    Statement::new(
        "DELETE FROM operation WHERE id IN \
         (SELECT id FROM operation WHERE id < $1 AND at < $2 ORDER BY id LIMIT $3)",
        vec![Value::Blob(first_id_at(before).to_vec()), before.into(), limit.into()],
    )
}

/// Asks for the operation ids that [`purge_operations`] with the same arguments would drop.
pub fn old_operations(before: Millis, limit: i64) -> Statement {
    Statement::new(
        "SELECT id FROM operation WHERE id < $1 AND at < $2 ORDER BY id LIMIT $3",
        vec![Value::Blob(first_id_at(before).to_vec()), before.into(), limit.into()],
    )
}

/// The lowest UUIDv7 of a millisecond: 48 bits of time, then zeros.
fn first_id_at(at: Millis) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at.max(0).to_be_bytes()[2..]);
    id
}
