//! Placements: at which location, under which key, the bytes of a blob are.

use super::sql;
use crate::{Freshness, Millis, QueryError, Sql, Statement};
use roadstead_oci::Digest;
use uuid::Uuid;

/// A copy that another one replaced is deleted no sooner than this many milliseconds later: whoever has just looked up
/// its key still finds it.
pub const REPLACED_KEPT: Millis = 60_000;

sql! {
    GUARD_NOT_REAPED = "INSERT INTO guard (ok) SELECT 0 WHERE \
        EXISTS (SELECT 1 FROM reap WHERE location_id = $1 AND object_key = $2) \
        OR EXISTS (SELECT 1 FROM damage WHERE location_id = $3 AND object_key = $4 AND kind = 5)";
    REAP_REPLACED = "INSERT INTO reap (location_id, object_key, attempts, not_before) \
        SELECT location_id, object_key, 0, $1 FROM placement WHERE digest = $2 AND location_id = $3 AND object_key <> $4 \
        ON CONFLICT (location_id, object_key) DO NOTHING";
    PLACE = "INSERT INTO placement (digest, location_id, object_key, size, verified_at) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (digest, location_id) DO UPDATE \
        SET object_key = excluded.object_key, size = excluded.size, verified_at = excluded.verified_at";
    PAID = "DELETE FROM owed WHERE location_id = $1 AND digest = $2";
    PAGE = "SELECT object_key, digest, size FROM placement WHERE location_id = $1 AND object_key > $2 \
        ORDER BY object_key LIMIT $3";
    HERE = "SELECT object_key, size FROM placement WHERE digest = $1 AND location_id = $2";
    COUNT = "SELECT count(*) FROM placement WHERE location_id = $1";
}

/// A freshly published, verified object of a blob.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The blob.
    pub digest: Digest,
    /// Where it is.
    pub location: Uuid,
    /// Under which key.
    pub object_key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Records a copy. One that the location has already is replaced and handed to the reaper: the new object has just
/// been verified, while nobody knows what became of the old one, and so a push heals what was lost. What was owed to the
/// location is paid. Conflicts when the object was taken for one that nobody names and handed to the reaper: it may be
/// gone already.
pub fn put(placement: &Placement, at: Millis) -> [Statement; 4] {
    let Placement { digest, location, object_key, size } = placement;
    let (location, key) = (*location, object_key.as_str());
    [
        Statement::new(GUARD_NOT_REAPED, vec![location.into(), key.into(), location.into(), key.into()]),
        Statement::new(
            REAP_REPLACED,
            vec![at.saturating_add(REPLACED_KEPT).into(), digest.into(), location.into(), key.into()],
        ),
        Statement::new(PLACE, vec![digest.into(), location.into(), key.into(), (*size as i64).into(), at.into()]),
        paid(location, digest),
    ]
}

/// The location has a copy now.
pub(super) fn paid(location: Uuid, digest: &Digest) -> Statement {
    Statement::new(PAID, vec![location.into(), digest.into()])
}

/// Copies that a location should have, by key after `after`.
pub async fn page(sql: &dyn Sql, location: Uuid, after: &str, limit: i64) -> Result<Vec<Placement>, QueryError> {
    let statement = Statement::new(PAGE, vec![location.into(), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, statement).await?;
    let placement = |row: &crate::Row| {
        let (object_key, digest, size) = (row.text(0)?.to_owned(), row.digest(1)?, row.integer(2)? as u64);
        Ok(Placement { digest, location, object_key, size })
    };
    rows.iter().map(placement).collect()
}

/// The copy of a blob that a location should have.
pub async fn here(sql: &dyn Sql, location: Uuid, digest: &Digest) -> Result<Option<Placement>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(HERE, vec![digest.into(), location.into()])).await?;
    let placement = |row: &crate::Row| {
        let (object_key, size) = (row.text(0)?.to_owned(), row.integer(1)? as u64);
        Ok(Placement { digest: *digest, location, object_key, size })
    };
    rows.first().map(placement).transpose()
}

/// How many copies a location should have.
pub async fn count(sql: &dyn Sql, location: Uuid) -> Result<u64, QueryError> {
    let rows = sql.query(Freshness::Local, Statement::new(COUNT, vec![location.into()])).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.integer(0)? as u64))
}
