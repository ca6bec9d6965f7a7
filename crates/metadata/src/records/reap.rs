//! Objects to be deleted: named by nothing, still in a store.

use super::sql;
use crate::{Freshness, Millis, QueryError, Sql, Statement};
use uuid::Uuid;

sql! {
    ADD = "INSERT INTO reap (location_id, object_key, attempts, not_before) VALUES ($1, $2, 0, $3) \
        ON CONFLICT (location_id, object_key) DO NOTHING";
    DUE = "SELECT location_id, object_key, attempts FROM reap WHERE location_id = $1 AND not_before <= $2 \
        ORDER BY not_before LIMIT $3";
    DONE = "DELETE FROM reap WHERE location_id = $1 AND object_key = $2";
    LATER = "UPDATE reap SET attempts = attempts + 1, not_before = $1 WHERE location_id = $2 AND object_key = $3";
    COUNT = "SELECT count(*) FROM reap";
}

/// An object waiting for its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reap {
    /// The location that holds it.
    pub location: Uuid,
    /// Its key.
    pub object_key: String,
    /// Failed attempts so far.
    pub attempts: u32,
}

/// Hands an object to the reaper, to be deleted from `not_before` on.
pub fn add(location: Uuid, object_key: &str, not_before: Millis) -> Statement {
    Statement::new(ADD, vec![location.into(), object_key.into(), not_before.into()])
}

/// The object is gone.
pub fn done(location: Uuid, object_key: &str) -> Statement {
    Statement::new(DONE, vec![location.into(), object_key.into()])
}

/// The deletion failed; next try at `not_before`.
pub fn later(location: Uuid, object_key: &str, not_before: Millis) -> Statement {
    Statement::new(LATER, vec![not_before.into(), location.into(), object_key.into()])
}

/// Objects of a location due at `now`, oldest first, at most `limit`.
pub async fn due(sql: &dyn Sql, location: Uuid, now: Millis, limit: i64) -> Result<Vec<Reap>, QueryError> {
    let rows =
        sql.query(Freshness::Latest, Statement::new(DUE, vec![location.into(), now.into(), limit.into()])).await?;
    rows.iter()
        .map(|row| {
            Ok(Reap { location: row.id(0)?, object_key: row.text(1)?.to_owned(), attempts: row.integer(2)? as u32 })
        })
        .collect()
}

/// How many objects wait.
pub async fn count(sql: &dyn Sql) -> Result<u64, QueryError> {
    let rows = sql.query(Freshness::Local, Statement::new(COUNT, vec![])).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.integer(0)? as u64))
}
