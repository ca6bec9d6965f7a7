//! What the collector would remove now, without removing it.
//!
//! Candidates are followed through the same hints and judged by the same conditions as in [`super::collect`], first
//! those that a repository still links, then those that none does. A blob with several links is told once: with the
//! link of the smallest repository id. The cost of a page is that of its candidates.

use super::sql;
use crate::{Freshness, Millis, QueryError, Sql, Statement};
use roadstead_oci::Digest;
use uuid::Uuid;

sql! {
    LINKED = "SELECT u.unused_since, u.repository_id, u.digest, b.size, \
        CASE WHEN u.touched_at <= $1 AND b.touched_at <= $2 AND NOT EXISTS (SELECT 1 FROM repository_blob l \
            WHERE l.digest = u.digest AND (l.repository_id < u.repository_id OR l.unused_since IS NULL \
            OR l.unused_since > $3 OR l.touched_at > $4 OR EXISTS (SELECT 1 FROM manifest_blob m \
            WHERE m.repository_id = l.repository_id AND m.blob = l.digest))) THEN 1 ELSE 0 END \
        FROM repository_blob u JOIN blob b ON b.digest = u.digest \
        WHERE u.unused_since IS NOT NULL AND u.unused_since <= $5 \
        AND (u.unused_since, u.repository_id, u.digest) > ($6, $7, $8) \
        ORDER BY u.unused_since, u.repository_id, u.digest LIMIT $9";
    DOOMED = "SELECT b.doomed_at, b.digest, b.size, CASE WHEN b.touched_at <= $1 \
        AND NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.digest = b.digest) THEN 1 ELSE 0 END \
        FROM blob b WHERE b.doomed_at IS NOT NULL AND b.doomed_at <= $2 AND (b.doomed_at, b.digest) > ($3, $4) \
        ORDER BY b.doomed_at, b.digest LIMIT $5";
}

/// A blob that would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Since when it has been of no use.
    pub since: Millis,
}

/// Where a page begins. The default is the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Linked(Millis, Uuid, Option<Digest>),
    Doomed(Millis, Option<Digest>),
}

impl Default for Cursor {
    fn default() -> Self {
        Self(Place::Linked(Millis::MIN, Uuid::nil(), None))
    }
}

/// A page of the blobs that would go if what was of no use since `before` went, of at most `limit` candidates; and
/// where the next page begins, unless this is the last.
pub async fn page(
    sql: &dyn Sql,
    before: Millis,
    from: Cursor,
    limit: i64,
) -> Result<(Vec<Candidate>, Option<Cursor>), QueryError> {
    match from.0 {
        Place::Linked(since, repository, digest) => linked(sql, before, (since, repository, digest), limit).await,
        Place::Doomed(since, digest) => doomed(sql, before, (since, digest), limit).await,
    }
}

type Page = (Vec<Candidate>, Option<Cursor>);

async fn linked(
    sql: &dyn Sql,
    before: Millis,
    (since, repository, digest): (Millis, Uuid, Option<Digest>),
    limit: i64,
) -> Result<Page, QueryError> {
    let after = digest.as_ref().map_or_else(|| Vec::new().into(), Into::into);
    let times = std::iter::repeat_n(before.into(), 5);
    let values = times.chain([since.into(), repository.into(), after, limit.into()]).collect();
    let rows = sql.query(Freshness::Latest, Statement::new(LINKED, values)).await?;
    let mut next = Place::Doomed(Millis::MIN, None);
    let mut found = Vec::new();
    for row in rows.iter() {
        let (since, digest) = (row.integer(0)?, row.digest(2)?);
        if rows.len() as i64 == limit {
            next = Place::Linked(since, row.id(1)?, Some(digest));
        }
        if row.integer(4)? != 0 {
            found.push(Candidate { digest, size: row.integer(3)? as u64, since });
        }
    }
    Ok((found, Some(Cursor(next))))
}

async fn doomed(
    sql: &dyn Sql,
    before: Millis,
    (since, digest): (Millis, Option<Digest>),
    limit: i64,
) -> Result<Page, QueryError> {
    let after = digest.as_ref().map_or_else(|| Vec::new().into(), Into::into);
    let values = vec![before.into(), before.into(), since.into(), after, limit.into()];
    let rows = sql.query(Freshness::Latest, Statement::new(DOOMED, values)).await?;
    let mut next = None;
    let mut found = Vec::new();
    for row in rows.iter() {
        let (since, digest) = (row.integer(0)?, row.digest(1)?);
        if rows.len() as i64 == limit {
            next = Some(Cursor(Place::Doomed(since, Some(digest))));
        }
        if row.integer(3)? != 0 {
            found.push(Candidate { digest, size: row.integer(2)? as u64, since });
        }
    }
    Ok((found, next))
}
