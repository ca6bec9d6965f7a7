//! Upload sessions that have received bytes.
//!
//! A session belongs to the instance that raised its epoch last. A commit that changes it names the offset and the
//! epoch it started from, so that of two attempts one fails, and bytes beyond the committed offset do not exist.

use std::collections::{HashMap, HashSet};

use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

sql! {
    CREATE = "INSERT INTO upload (id, repository, location_id, epoch, received, hash_state, parts, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    GUARD = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM upload \
        WHERE id = $1 AND received = $2 AND epoch = $3 AND closed_at IS NULL)";
    ADVANCE = "UPDATE upload SET epoch = $1, received = $2, hash_state = $3, parts = $4, updated_at = $5 WHERE id = $6";
    CLOSE = "UPDATE upload SET closed_at = $1, updated_at = $2 WHERE id = $3";
    CREATE_CLOSED = "INSERT INTO upload (id, repository, location_id, epoch, received, hash_state, parts, created_at, \
        updated_at, closed_at) VALUES ($1, $2, $3, 0, 0, $4, '[]', $5, $6, $7)";
    GET = "SELECT id, repository, location_id, epoch, received, hash_state, parts, created_at, updated_at, closed_at \
        FROM upload WHERE id = $1";
    ABANDONED = "SELECT id, repository, location_id, epoch, received, hash_state, parts, created_at, updated_at, closed_at \
        FROM upload WHERE closed_at IS NULL AND updated_at < $1 ORDER BY updated_at LIMIT $2";
    CLOSED = "SELECT id, repository, location_id, epoch, received, hash_state, parts, created_at, updated_at, closed_at \
        FROM upload WHERE closed_at < $1 ORDER BY closed_at LIMIT $2";
    FORGET = "DELETE FROM upload WHERE id = $1 AND updated_at = $2";
    NAMED = "SELECT id, parts FROM upload WHERE id IN ($1)";
}

/// A staged object of an upload: the bytes that count are its first `length`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedPart {
    /// Its key.
    pub key: String,
    /// How many of its bytes have been acknowledged.
    pub length: u64,
    /// The incarnation (one run of one instance) that made it, and the only one that may extend it.
    pub made_by: Uuid,
}

/// An upload session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its id, also in its token and in the keys of its parts.
    pub id: Uuid,
    /// The repository it was started for.
    pub repository: String,
    /// Where its parts are.
    pub location: Uuid,
    /// Raised whenever another incarnation takes the session.
    pub epoch: i64,
    /// Bytes acknowledged.
    pub received: u64,
    /// The running hash over them (`roadstead_oci::Hasher::save`).
    pub hash_state: Vec<u8>,
    /// Where they are, in order.
    pub parts: Vec<StagedPart>,
    /// When it was started.
    pub created_at: Millis,
    /// When it last changed.
    pub updated_at: Millis,
    /// When it was finished or cancelled.
    pub closed_at: Option<Millis>,
}

/// NULL, which the column refuses, rather than parts that lack some.
fn parts_json(parts: &[StagedPart]) -> Value {
    serde_json::to_string(parts).map_or(Value::Null, Value::Text)
}

/// The first bytes of a session; conflicts when it has a row.
pub fn create(upload: &UploadRecord) -> Statement {
    Statement::new(
        CREATE,
        vec![
            upload.id.into(),
            upload.repository.as_str().into(),
            upload.location.into(),
            upload.epoch.into(),
            (upload.received as i64).into(),
            upload.hash_state.clone().into(),
            parts_json(&upload.parts),
            upload.created_at.into(),
            upload.updated_at.into(),
        ],
    )
}

/// Moves a session from the state `was` to `now`; conflicts when it is no longer in that state.
pub fn advance(was: &UploadRecord, now: &UploadRecord) -> [Statement; 2] {
    [
        guard(was),
        Statement::new(
            ADVANCE,
            vec![
                now.epoch.into(),
                (now.received as i64).into(),
                now.hash_state.clone().into(),
                parts_json(&now.parts),
                now.updated_at.into(),
                now.id.into(),
            ],
        ),
    ]
}

/// Conflicts unless the session is open, at this offset and in this epoch.
pub fn guard(was: &UploadRecord) -> Statement {
    Statement::new(GUARD, vec![was.id.into(), (was.received as i64).into(), was.epoch.into()])
}

/// Closes a session: its token answers "unknown" from now on; its parts are the purge worker's.
pub fn close(id: Uuid, at: Millis) -> Statement {
    Statement::new(CLOSE, vec![at.into(), at.into(), id.into()])
}

/// Closes a session that never received a byte; conflicts when it has a row.
pub fn create_closed(id: Uuid, repository: &str, location: Uuid, at: Millis) -> Statement {
    let none: Vec<u8> = Vec::new();
    Statement::new(
        CREATE_CLOSED,
        vec![id.into(), repository.into(), location.into(), none.into(), at.into(), at.into(), at.into()],
    )
}

/// Removes the row of a session, unless it changed since it was read.
pub fn forget(was: &UploadRecord) -> Statement {
    Statement::new(FORGET, vec![was.id.into(), was.updated_at.into()])
}

fn parts(json: &str) -> Result<Vec<StagedPart>, QueryError> {
    serde_json::from_str(json).map_err(|e| QueryError::Failed(format!("parts of an upload are not JSON ({e}): {json}")))
}

fn record(row: &Row) -> Result<UploadRecord, QueryError> {
    Ok(UploadRecord {
        id: row.id(0)?,
        repository: row.text(1)?.to_owned(),
        location: row.id(2)?,
        epoch: row.integer(3)?,
        received: row.integer(4)? as u64,
        hash_state: row.blob(5)?.to_vec(),
        parts: parts(row.text(6)?)?,
        created_at: row.integer(7)?,
        updated_at: row.integer(8)?,
        closed_at: row.given(9, Row::integer)?,
    })
}

/// A session's row, if it has received bytes or was closed.
pub async fn get(sql: &dyn Sql, id: Uuid) -> Result<Option<UploadRecord>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(GET, vec![id.into()])).await?;
    rows.first().map(record).transpose()
}

/// Open sessions that have not changed since `before`, longest first, at most `limit`.
pub async fn abandoned(sql: &dyn Sql, before: Millis, limit: i64) -> Result<Vec<UploadRecord>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(ABANDONED, vec![before.into(), limit.into()])).await?;
    rows.iter().map(record).collect()
}

/// Sessions finished or cancelled before `before`, oldest first, at most `limit`.
pub async fn closed(sql: &dyn Sql, before: Millis, limit: i64) -> Result<Vec<UploadRecord>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(CLOSED, vec![before.into(), limit.into()])).await?;
    rows.iter().map(record).collect()
}

/// Which of these sessions have a row, open or closed, and the keys of the staged objects that it names.
pub async fn named(
    sql: &dyn Sql,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, HashSet<String>>, QueryError> {
    let ids = Value::List(ids.into_iter().map(Value::from).collect());
    let rows = sql.query(Freshness::Latest, Statement::new(NAMED, vec![ids])).await?;
    let keys = |row: &Row| Ok(parts(row.text(1)?)?.into_iter().map(|part| part.key).collect());
    rows.iter().map(|row| Ok((row.id(0)?, keys(row)?))).collect()
}
