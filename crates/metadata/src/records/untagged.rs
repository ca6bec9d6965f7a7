//! Manifests that nothing holds, for installations whose policy lets them go: no tag points at them, no index names
//! them, and they refer to no subject that is there. An index is not held by a subject that it holds itself.
//!
//! As with blobs (see [`super::collect`]) `untagged_since` is a hint of when a manifest was last let go: set by whatever
//! lets one go, never needed to be taken back, put right when it is met and wrong. What goes is decided by the
//! references, in the batch that removes it.

use super::{manifest, sql};
use crate::{Freshness, Millis, QueryError, Sql, Statement, Value};
use roadstead_oci::{Digest, Tag};
use uuid::Uuid;

sql! {
    LET_GO_BY_TAG = "UPDATE manifest SET untagged_since = $1 WHERE repository_id = $2 AND digest IN \
        (SELECT digest FROM tag WHERE repository_id = $3 AND name IN ($4) AND digest <> $5)";
    LET_GO_BY_INDEX = "UPDATE manifest SET untagged_since = $1 WHERE repository_id = $2 AND digest IN \
        (SELECT child FROM manifest_child WHERE repository_id = $3 AND manifest = $4)";
    LET_GO_BY_SUBJECT = "UPDATE manifest SET untagged_since = $1 WHERE repository_id = $2 AND digest IN \
        (SELECT digest FROM referrer WHERE repository_id = $3 AND subject = $4)";
    RENEW = "UPDATE manifest SET untagged_since = $1 WHERE repository_id = $2 AND digest = $3 AND untagged_since < $4";
    CANDIDATES = "SELECT m.repository_id, r.name, m.digest, m.untagged_since FROM manifest m \
        JOIN repository r ON r.id = m.repository_id \
        WHERE m.untagged_since IS NOT NULL AND m.untagged_since <= $1 \
        AND (m.untagged_since, m.repository_id, m.digest) > ($2, $3, $4) \
        ORDER BY m.untagged_since, m.repository_id, m.digest LIMIT $5";
    UNHELD = "SELECT m.digest FROM manifest m WHERE m.repository_id = $1 AND m.digest IN ($2) \
        AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = m.repository_id AND t.digest = m.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifest_child c WHERE c.repository_id = m.repository_id AND c.child = m.digest) \
        AND NOT EXISTS (SELECT 1 FROM manifest s WHERE s.repository_id = m.repository_id AND s.digest = m.subject \
        AND NOT EXISTS (SELECT 1 FROM manifest_child k \
        WHERE k.repository_id = m.repository_id AND k.manifest = m.digest AND k.child = m.subject))";
    STILL_HELD = "UPDATE manifest SET untagged_since = NULL WHERE repository_id = $1 AND digest IN ($2) AND untagged_since <= $3 AND \
        (EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = manifest.repository_id AND t.digest = manifest.digest) \
        OR EXISTS (SELECT 1 FROM manifest_child c WHERE c.repository_id = manifest.repository_id AND c.child = manifest.digest) \
        OR EXISTS (SELECT 1 FROM manifest s WHERE s.repository_id = manifest.repository_id AND s.digest = manifest.subject \
        AND NOT EXISTS (SELECT 1 FROM manifest_child k \
        WHERE k.repository_id = manifest.repository_id AND k.manifest = manifest.digest AND k.child = manifest.subject)))";
    FREE_BLOBS = "UPDATE repository_blob SET unused_since = $1 WHERE repository_id = $2 AND digest IN \
        (SELECT b.blob FROM manifest_blob b JOIN manifest m ON m.repository_id = b.repository_id AND m.digest = b.manifest \
        WHERE b.repository_id = $3 AND b.manifest IN ($4) AND m.untagged_since IS NOT NULL AND m.untagged_since <= $5)";
    FREE_CHILDREN = "UPDATE manifest SET untagged_since = CASE WHEN pushed_at > $1 THEN pushed_at \
        WHEN untagged_since > $2 THEN untagged_since ELSE $3 END WHERE repository_id = $4 AND digest IN \
        (SELECT c.child FROM manifest_child c JOIN manifest m ON m.repository_id = c.repository_id AND m.digest = c.manifest \
        WHERE c.repository_id = $5 AND c.manifest IN ($6) AND m.untagged_since IS NOT NULL AND m.untagged_since <= $7)";
    FREE_REFERRERS = "UPDATE manifest SET untagged_since = CASE WHEN pushed_at > $1 THEN pushed_at \
        WHEN untagged_since > $2 THEN untagged_since ELSE $3 END WHERE repository_id = $4 AND digest IN \
        (SELECT f.digest FROM referrer f JOIN manifest m ON m.repository_id = f.repository_id AND m.digest = f.subject \
        WHERE f.repository_id = $5 AND f.subject IN ($6) AND m.untagged_since IS NOT NULL AND m.untagged_since <= $7)";
    DROP = "DELETE FROM manifest WHERE repository_id = $1 AND digest IN ($2) \
        AND untagged_since IS NOT NULL AND untagged_since <= $3";
    DROP_CONTENT = "DELETE FROM manifest_content WHERE digest IN ($1) \
        AND NOT EXISTS (SELECT 1 FROM manifest m WHERE m.digest = manifest_content.digest)";
}

/// A manifest that seems to be held by nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untagged {
    /// The repository.
    pub repository: Uuid,
    /// Its name.
    pub name: String,
    /// The manifest.
    pub digest: Digest,
    /// When something last let it go.
    pub since: Millis,
}

/// Tags are about to go, or to move to another manifest: what they point at may be held by nothing then.
pub(super) fn let_go_by_tags<'a>(
    repository: Uuid,
    tags: impl IntoIterator<Item = &'a Tag>,
    to: Option<&Digest>,
    at: Millis,
) -> Statement {
    let to = to.map_or_else(|| Vec::new().into(), Value::from);
    let names = Value::List(tags.into_iter().map(|tag| tag.as_str().into()).collect());
    Statement::new(LET_GO_BY_TAG, vec![at.into(), repository.into(), repository.into(), names, to])
}

/// A manifest is about to go, or to name others: so may be, then, what it names.
pub(super) fn let_go_by_index(repository: Uuid, digest: &Digest, at: Millis) -> Statement {
    Statement::new(LET_GO_BY_INDEX, vec![at.into(), repository.into(), repository.into(), digest.into()])
}

/// A manifest is about to go: so may be, then, what refers to it.
pub(super) fn let_go_by_subject(repository: Uuid, digest: &Digest, at: Millis) -> Statement {
    Statement::new(LET_GO_BY_SUBJECT, vec![at.into(), repository.into(), repository.into(), digest.into()])
}

/// A push relies on a manifest that nothing may hold yet: its time begins anew. Conflicts when it is gone.
pub fn rely(repository: Uuid, digest: &Digest, at: Millis) -> [Statement; 2] {
    let renew = vec![at.into(), repository.into(), digest.into(), at.into()];
    [manifest::guard(repository, digest), Statement::new(RENEW, renew)]
}

/// Manifests that seem to have been held by nothing since `before`, by time, repository and digest after `after`.
pub async fn candidates(
    sql: &dyn Sql,
    before: Millis,
    after: Option<&Untagged>,
    limit: i64,
) -> Result<Vec<Untagged>, QueryError> {
    let (since, repository) = after.map_or((Millis::MIN, Uuid::nil()), |last| (last.since, last.repository));
    let digest = after.map_or_else(|| Vec::new().into(), |last| Value::from(&last.digest));
    let values = vec![before.into(), since.into(), repository.into(), digest, limit.into()];
    let rows = sql.query(Freshness::Latest, Statement::new(CANDIDATES, values)).await?;
    rows.iter()
        .map(|row| {
            Ok(Untagged {
                repository: row.id(0)?,
                name: row.text(1)?.to_owned(),
                digest: row.digest(2)?,
                since: row.integer(3)?,
            })
        })
        .collect()
}

/// Those of `digests` that nothing holds now.
pub async fn unheld(sql: &dyn Sql, repository: Uuid, digests: &[Digest]) -> Result<Vec<Digest>, QueryError> {
    let statement = Statement::new(UNHELD, vec![repository.into(), list(digests)]);
    sql.query(Freshness::Latest, statement).await?.iter().map(|row| row.digest(0)).collect()
}

/// Removes manifests of one repository that nothing has held since `before`. What they alone named or were the subject
/// of goes next; blobs are the collector's after their grace, which begins now.
pub fn remove(repository: Uuid, digests: &[Digest], before: Millis, now: Millis) -> [Statement; 6] {
    // What these alone hold is due a moment later, in a batch of its own: it must let go what it holds itself.
    let due = || Value::from(before.saturating_add(1));
    // Whatever is held has lost its hint before anything looks at the hints; a push has renewed it.
    let (id, list, before) = (|| Value::from(repository), || list(digests), || Value::from(before));
    [
        Statement::new(STILL_HELD, vec![id(), list(), before()]),
        Statement::new(FREE_BLOBS, vec![now.into(), id(), id(), list(), before()]),
        Statement::new(FREE_CHILDREN, vec![before(), before(), due(), id(), id(), list(), before()]),
        Statement::new(FREE_REFERRERS, vec![before(), before(), due(), id(), id(), list(), before()]),
        Statement::new(DROP, vec![id(), list(), before()]),
        drop_content(digests),
    ]
}

/// Removes the content of manifests that no repository has any more.
pub(super) fn drop_content(digests: &[Digest]) -> Statement {
    Statement::new(DROP_CONTENT, vec![list(digests)])
}

fn list(digests: &[Digest]) -> Value {
    Value::List(digests.iter().map(Value::from).collect())
}
