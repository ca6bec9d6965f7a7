//! What the collector removes: links that no manifest of their repository names, and blobs that no repository links.
//!
//! Candidates are found by the hints `unused_since` and `doomed_at`. What is removed is decided by the statement that
//! removes it, which looks at the references and at the time of the last push that relied on the row; a hint that turns
//! out wrong is put right, so that it is not met again.

use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use roadstead_oci::Digest;
use uuid::Uuid;

sql! {
    UNUSED = "SELECT repository_id, digest FROM repository_blob \
        WHERE unused_since IS NOT NULL AND unused_since <= $1 ORDER BY unused_since, repository_id, digest LIMIT $2";
    STILL_USED = "UPDATE repository_blob SET unused_since = NULL WHERE repository_id = $1 AND digest IN ($2) \
        AND EXISTS (SELECT 1 FROM manifest_blob m \
        WHERE m.repository_id = repository_blob.repository_id AND m.blob = repository_blob.digest)";
    NOT_YET_UNUSED = "UPDATE repository_blob SET unused_since = touched_at WHERE repository_id = $1 AND digest IN ($2) \
        AND unused_since IS NOT NULL AND touched_at > $3";
    DROP_LINKS = "DELETE FROM repository_blob WHERE repository_id = $1 AND digest IN ($2) \
        AND unused_since IS NOT NULL AND unused_since <= $3 AND touched_at <= $4 \
        AND NOT EXISTS (SELECT 1 FROM manifest_blob m \
        WHERE m.repository_id = repository_blob.repository_id AND m.blob = repository_blob.digest)";
    DOOM = "UPDATE blob SET doomed_at = touched_at WHERE digest IN ($1) AND doomed_at IS NULL \
        AND NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.digest = blob.digest)";
    DOOMED = "SELECT digest, size FROM blob \
        WHERE doomed_at IS NOT NULL AND doomed_at <= $1 ORDER BY doomed_at, digest LIMIT $2";
    STILL_LINKED = "UPDATE blob SET doomed_at = NULL WHERE digest IN ($1) \
        AND EXISTS (SELECT 1 FROM repository_blob l WHERE l.digest = blob.digest)";
    NOT_YET_DOOMED = "UPDATE blob SET doomed_at = touched_at WHERE digest IN ($1) \
        AND doomed_at IS NOT NULL AND touched_at > $2";
    REAP = "INSERT INTO reap (location_id, object_key, attempts, not_before) \
        SELECT p.location_id, p.object_key, 0, $1 FROM blob b JOIN placement p ON p.digest = b.digest \
        WHERE b.digest IN ($2) AND b.doomed_at IS NOT NULL AND b.doomed_at <= $3 \
        ON CONFLICT (location_id, object_key) DO NOTHING";
    REAP_DAMAGED = "INSERT INTO reap (location_id, object_key, attempts, not_before) \
        SELECT d.location_id, d.object_key, 0, $1 FROM blob b JOIN damage d ON d.digest = b.digest AND d.kind <= 3 \
        WHERE b.digest IN ($2) AND b.doomed_at IS NOT NULL AND b.doomed_at <= $3 \
        ON CONFLICT (location_id, object_key) DO NOTHING";
    DROP_DAMAGE = "DELETE FROM damage WHERE kind <= 3 AND digest IN \
        (SELECT digest FROM blob WHERE digest IN ($1) AND doomed_at IS NOT NULL AND doomed_at <= $2)";
    DROP_PLACEMENTS = "DELETE FROM placement WHERE digest IN \
        (SELECT digest FROM blob WHERE digest IN ($1) AND doomed_at IS NOT NULL AND doomed_at <= $2)";
    DROP_OWED = "DELETE FROM owed WHERE digest IN \
        (SELECT digest FROM blob WHERE digest IN ($1) AND doomed_at IS NOT NULL AND doomed_at <= $2)";
    DROP_BLOBS = "DELETE FROM blob WHERE digest IN ($1) AND doomed_at IS NOT NULL AND doomed_at <= $2";
    COUNT_UNUSED = "SELECT count(*), min(unused_since) FROM repository_blob WHERE unused_since IS NOT NULL AND unused_since <= $1";
    COUNT_DOOMED = "SELECT count(*), min(doomed_at) FROM blob WHERE doomed_at IS NOT NULL AND doomed_at <= $1";
}

/// A link that no manifest seems to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The repository.
    pub repository: Uuid,
    /// The blob it links.
    pub digest: Digest,
}

/// A blob that no repository seems to link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// The blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What waits for the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Links and blobs.
    pub count: u64,
    /// Since when the one that waits longest has been of no use.
    pub oldest: Option<Millis>,
}

/// Links that have been of no use since `before`, those of longest at first, at most `limit`.
pub async fn unused(sql: &dyn Sql, before: Millis, limit: i64) -> Result<Vec<Unused>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(UNUSED, vec![before.into(), limit.into()])).await?;
    rows.iter().map(|row| Ok(Unused { repository: row.id(0)?, digest: row.digest(1)? })).collect()
}

/// Blobs that have been of no use since `before`, those of longest at first, at most `limit`.
pub async fn doomed(sql: &dyn Sql, before: Millis, limit: i64) -> Result<Vec<Doomed>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(DOOMED, vec![before.into(), limit.into()])).await?;
    rows.iter().map(|row| Ok(Doomed { digest: row.digest(0)?, size: row.integer(1)? as u64 })).collect()
}

/// Removes links of one repository that nothing has used since `before`; a blob whose last link goes is doomed.
pub fn unlink(repository: Uuid, digests: &[Digest], before: Millis) -> [Statement; 4] {
    let (id, list) = (|| Value::from(repository), || list(digests));
    [
        Statement::new(STILL_USED, vec![id(), list()]),
        Statement::new(NOT_YET_UNUSED, vec![id(), list(), before.into()]),
        Statement::new(DROP_LINKS, vec![id(), list(), before.into(), before.into()]),
        Statement::new(DOOM, vec![list()]),
    ]
}

/// Removes blobs that nothing has used since `before`, and hands their objects, damaged ones too, to the reaper.
pub fn remove(digests: &[Digest], before: Millis, now: Millis) -> [Statement; 8] {
    let list = || list(digests);
    [
        Statement::new(STILL_LINKED, vec![list()]),
        Statement::new(NOT_YET_DOOMED, vec![list(), before.into()]),
        Statement::new(REAP, vec![now.into(), list(), before.into()]),
        Statement::new(REAP_DAMAGED, vec![now.into(), list(), before.into()]),
        Statement::new(DROP_DAMAGE, vec![list(), before.into()]),
        Statement::new(DROP_PLACEMENTS, vec![list(), before.into()]),
        Statement::new(DROP_OWED, vec![list(), before.into()]),
        Statement::new(DROP_BLOBS, vec![list(), before.into()]),
    ]
}

/// How much has been of no use since `before`.
pub async fn waiting(sql: &dyn Sql, before: Millis) -> Result<Waiting, QueryError> {
    let questions = [COUNT_UNUSED, COUNT_DOOMED].map(|text| Statement::new(text, vec![before.into()]));
    let mut waiting = Waiting::default();
    for rows in sql.query_many(Freshness::Latest, questions.into()).await? {
        let Some(row) = rows.first() else { continue };
        waiting.count += row.integer(0)? as u64;
        let oldest = row.given(1, Row::integer)?;
        waiting.oldest = [waiting.oldest, oldest].into_iter().flatten().min();
    }
    Ok(waiting)
}

fn list(digests: &[Digest]) -> Value {
    Value::List(digests.iter().map(Value::from).collect())
}
