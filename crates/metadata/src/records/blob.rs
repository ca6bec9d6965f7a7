//! Blobs, and the links of repositories to them.

use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use roadstead_oci::Digest;
use uuid::Uuid;

sql! {
    ARRIVE = "INSERT INTO blob (digest, size, touched_at) VALUES ($1, $2, $3) \
        ON CONFLICT (digest) DO UPDATE SET touched_at = excluded.touched_at, doomed_at = NULL";
    TOUCH = "UPDATE blob SET touched_at = $1 WHERE digest = $2 AND touched_at < $3";
    GUARD_ALIVE = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM blob WHERE digest = $1 AND doomed_at IS NULL)";
    GUARD_LINKED = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM repository_blob WHERE repository_id = $1 AND digest = $2)";
    LINK = "INSERT INTO repository_blob (repository_id, digest, size, touched_at, unused_since) \
        SELECT $1, digest, size, touched_at, touched_at FROM blob WHERE digest = $2 \
        ON CONFLICT (repository_id, digest) DO UPDATE SET touched_at = excluded.touched_at";
    TOUCH_LINK = "UPDATE repository_blob SET touched_at = $1 WHERE repository_id = $2 AND digest = $3 AND touched_at < $4";
    UNLINK = "DELETE FROM repository_blob WHERE repository_id = $1 AND digest = $2";
    DOOM = "UPDATE blob SET doomed_at = $1 WHERE digest = $2 AND doomed_at IS NULL \
        AND NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.digest = blob.digest)";
    PLACES = "SELECT rb.size, rb.touched_at, p.location_id, p.object_key FROM repository r \
        JOIN repository_blob rb ON rb.repository_id = r.id LEFT JOIN placement p ON p.digest = rb.digest \
        WHERE r.name = $1 AND rb.digest = $2";
    LINKED = "SELECT digest, size FROM repository_blob WHERE repository_id = $1 AND digest IN ($2)";
    COPIED = "SELECT rb.digest, rb.size FROM repository r JOIN repository_blob rb ON rb.repository_id = r.id \
        WHERE r.name = $1 AND rb.digest IN ($2) \
        AND EXISTS (SELECT 1 FROM placement p WHERE p.digest = rb.digest)";
    ANYWHERE = "SELECT r.id, r.name FROM repository_blob rb JOIN repository r ON r.id = rb.repository_id \
        WHERE rb.digest = $1 AND rb.repository_id > $2 AND r.name < '~' ORDER BY rb.repository_id LIMIT $3";
    USED_BY = "SELECT mb.manifest FROM manifest_blob mb \
        WHERE mb.repository_id = $1 AND mb.blob = $2 ORDER BY mb.manifest LIMIT 1";
}

/// A blob arrives with its bytes: made, or touched and saved from the collector.
pub fn arrive(digest: &Digest, size: u64, at: Millis) -> Statement {
    Statement::new(ARRIVE, vec![digest.into(), (size as i64).into(), at.into()])
}

/// A push relies on the blob being here without sending its bytes: touched, and conflicts when it is gone or going.
pub fn rely(digest: &Digest, at: Millis) -> [Statement; 2] {
    [Statement::new(GUARD_ALIVE, vec![digest.into()]), Statement::new(TOUCH, vec![at.into(), digest.into(), at.into()])]
}

/// Conflicts unless the repository has a link to the blob.
pub fn guard_linked(repository: Uuid, digest: &Digest) -> Statement {
    Statement::new(GUARD_LINKED, vec![repository.into(), digest.into()])
}

/// Links the blob, which the same batch makes or relies on, to a repository.
pub fn link(repository: Uuid, digest: &Digest) -> Statement {
    Statement::new(LINK, vec![repository.into(), digest.into()])
}

/// A push relies on the link staying: refreshes its time.
pub fn touch_link(repository: Uuid, digest: &Digest, at: Millis) -> Statement {
    Statement::new(TOUCH_LINK, vec![at.into(), repository.into(), digest.into(), at.into()])
}

/// Removes a repository's link; conflicts while a manifest of the repository names the blob. The last link gone, the
/// blob is the collector's after its grace.
pub fn unlink(repository: Uuid, digest: &Digest, at: Millis) -> [Statement; 2] {
    [
        Statement::new(UNLINK, vec![repository.into(), digest.into()]),
        Statement::new(DOOM, vec![at.into(), digest.into()]),
    ]
}

/// Where a blob that a repository links can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Size in bytes.
    pub size: u64,
    /// When a push last relied on the link.
    pub touched_at: Millis,
    /// Location id and object key of each copy.
    pub copies: Vec<(Uuid, String)>,
}

/// The copies of a blob, if the repository called `name` links it.
pub async fn places(
    sql: &dyn Sql,
    fresh: Freshness,
    name: &str,
    digest: &Digest,
) -> Result<Option<Places>, QueryError> {
    let rows = sql.query(fresh, Statement::new(PLACES, vec![name.into(), digest.into()])).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let (size, touched_at) = (first.integer(0)? as u64, first.integer(1)?);
    let copies = rows.iter().filter(|row| !row.is_null(2));
    let copies = copies.map(|row| Ok((row.id(2)?, row.text(3)?.to_owned()))).collect::<Result<_, QueryError>>()?;
    Ok(Some(Places { size, touched_at, copies }))
}

/// Which of `digests` the repository links, with their sizes.
pub async fn linked(sql: &dyn Sql, repository: Uuid, digests: &[Digest]) -> Result<Vec<(Digest, u64)>, QueryError> {
    let list = Value::List(digests.iter().map(Value::from).collect());
    sizes(&sql.query(Freshness::Latest, Statement::new(LINKED, vec![repository.into(), list])).await?)
}

/// Asks which of `digests` the repository called `name` links and some location has a copy of, with their sizes. What
/// scrub found lost or damaged has none, and comes back by a push.
pub(super) fn copied(name: &str, digests: &[Digest]) -> Statement {
    let list = Value::List(digests.iter().map(Value::from).collect());
    Statement::new(COPIED, vec![name.into(), list])
}

pub(super) fn sizes(rows: &[Row]) -> Result<Vec<(Digest, u64)>, QueryError> {
    rows.iter().map(|row| Ok((row.digest(0)?, row.integer(1)? as u64))).collect()
}

/// Ids and names of repositories that link the blob, by id after `after`: candidates of an anonymous mount.
pub async fn repositories(
    sql: &dyn Sql,
    digest: &Digest,
    after: Uuid,
    limit: i64,
) -> Result<Vec<(Uuid, String)>, QueryError> {
    let statement = Statement::new(ANYWHERE, vec![digest.into(), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, statement).await?;
    rows.iter().map(|row| Ok((row.id(0)?, row.text(1)?.to_owned()))).collect()
}

/// One manifest of the repository that names the blob, if any.
pub async fn used_by(sql: &dyn Sql, repository: Uuid, digest: &Digest) -> Result<Option<Digest>, QueryError> {
    let statement = Statement::new(USED_BY, vec![repository.into(), digest.into()]);
    let rows = sql.query(Freshness::Latest, statement).await?;
    rows.first().map(|row| row.digest(0)).transpose()
}
