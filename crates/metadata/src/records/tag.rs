//! Tags, and the append-only history of their moves.

use super::{sql, untagged};
use crate::{Freshness, Millis, QueryError, Sql, Statement, Value};
use roadstead_oci::{Digest, Tag};
use uuid::Uuid;

sql! {
    MOVE = "INSERT INTO tag (repository_id, name, digest, version, updated_at) \
        SELECT $1, $2, $3, 1 + (SELECT coalesce(max(version), 0) FROM tag_history WHERE repository_id = $4 AND name = $5), $6 \
        WHERE 1 = 1 ON CONFLICT (repository_id, name) DO UPDATE \
        SET digest = excluded.digest, version = excluded.version, updated_at = excluded.updated_at \
        WHERE tag.digest <> excluded.digest";
    RECORD_MOVE = "INSERT INTO tag_history (repository_id, name, version, digest, at) \
        SELECT repository_id, name, version, digest, updated_at FROM tag WHERE repository_id = $1 AND name = $2 \
        ON CONFLICT (repository_id, name, version) DO NOTHING";
    GUARD = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM tag WHERE repository_id = $1 AND name = $2)";
    GUARD_AMONG = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM tag WHERE repository_id = $1 AND name = $2 AND digest IN ($3))";
    GUARD_ABSENT = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM tag WHERE repository_id = $1 AND name = $2)";
    GUARD_NOT_AMONG = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM tag WHERE repository_id = $1 AND name = $2 AND digest IN ($3))";
    GUARD_FIXED = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM repository r JOIN tag t ON t.repository_id = r.id \
        WHERE r.id = $1 AND r.immutable_tags = 1 AND t.name IN ($2) AND t.digest <> $3)";
    GUARD_FIXED_TO = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM repository r JOIN tag t ON t.repository_id = r.id \
        WHERE r.id = $1 AND r.immutable_tags = 1 AND t.digest = $2)";
    FIXED = "SELECT t.name, t.digest FROM repository r JOIN tag t ON t.repository_id = r.id \
        WHERE r.id = $1 AND r.immutable_tags = 1 AND t.name IN ($2)";
    FIXED_TO = "SELECT t.name FROM repository r JOIN tag t ON t.repository_id = r.id \
        WHERE r.id = $1 AND r.immutable_tags = 1 AND t.digest = $2";
    RECORD_DELETION = "INSERT INTO tag_history (repository_id, name, version, digest, at) \
        SELECT repository_id, name, version + 1, NULL, $1 FROM tag WHERE repository_id = $2 AND name = $3";
    DELETE = "DELETE FROM tag WHERE repository_id = $1 AND name = $2";
    RECORD_UNTAGGING = "INSERT INTO tag_history (repository_id, name, version, digest, at) \
        SELECT repository_id, name, version + 1, NULL, $1 FROM tag WHERE repository_id = $2 AND digest = $3";
    UNTAG = "DELETE FROM tag WHERE repository_id = $1 AND digest = $2";
    PAGE = "SELECT t.name FROM repository r JOIN tag t ON t.repository_id = r.id \
        WHERE r.name = $1 AND t.name > $2 ORDER BY t.name LIMIT $3";
}

/// Points tags at a manifest of the same batch or one that is there; the same digest again changes nothing. Conflicts when
/// one of them points elsewhere and may not move.
pub fn set<'a>(
    repository: Uuid,
    tags: impl IntoIterator<Item = &'a Tag> + Clone,
    digest: &Digest,
    at: Millis,
) -> Vec<Statement> {
    let mut statements = vec![
        guard_movable(repository, tags.clone(), digest.into()),
        untagged::let_go_by_tags(repository, tags.clone(), Some(digest), at),
    ];
    for tag in tags {
        let (id, name) = (repository, tag.as_str());
        let moved = vec![id.into(), name.into(), digest.into(), id.into(), name.into(), at.into()];
        statements.push(Statement::new(MOVE, moved));
        statements.push(Statement::new(RECORD_MOVE, vec![id.into(), name.into()]));
    }
    statements
}

/// Conflicts unless there is such a tag.
pub fn guard(repository: Uuid, tag: &Tag) -> Statement {
    Statement::new(GUARD, vec![repository.into(), tag.as_str().into()])
}

/// Conflicts when there is such a tag.
pub fn guard_absent(repository: Uuid, tag: &Tag) -> Statement {
    Statement::new(GUARD_ABSENT, vec![repository.into(), tag.as_str().into()])
}

/// Conflicts unless the tag points at one of `digests`.
pub fn guard_among(repository: Uuid, tag: &Tag, digests: &[Digest]) -> Statement {
    among(GUARD_AMONG, repository, tag, digests)
}

/// Conflicts when the tag points at one of `digests`.
pub fn guard_not_among(repository: Uuid, tag: &Tag, digests: &[Digest]) -> Statement {
    among(GUARD_NOT_AMONG, repository, tag, digests)
}

fn among(text: &'static str, repository: Uuid, tag: &Tag, digests: &[Digest]) -> Statement {
    let list = Value::List(digests.iter().map(Value::from).collect());
    Statement::new(text, vec![repository.into(), tag.as_str().into(), list])
}

/// Conflicts when the repository keeps its tags where they are and one of `tags` points elsewhere than at `to`.
fn guard_movable<'a>(repository: Uuid, tags: impl IntoIterator<Item = &'a Tag>, to: Value) -> Statement {
    Statement::new(GUARD_FIXED, vec![repository.into(), names(tags), to])
}

fn names<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> Value {
    Value::List(tags.into_iter().map(|tag| tag.as_str().into()).collect())
}

/// Of `tags` those that cannot move, because the repository keeps its tags where they are, and where they point.
pub async fn fixed<'a>(
    sql: &dyn Sql,
    repository: Uuid,
    tags: impl IntoIterator<Item = &'a Tag>,
) -> Result<Vec<(String, Digest)>, QueryError> {
    let question = Statement::new(FIXED, vec![repository.into(), names(tags)]);
    let rows = sql.query(Freshness::Latest, question).await?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.digest(1)?))).collect()
}

/// A tag that holds on to a manifest, because the repository keeps its tags where they are.
pub async fn fixed_to(sql: &dyn Sql, repository: Uuid, digest: &Digest) -> Result<Option<String>, QueryError> {
    let question = Statement::new(FIXED_TO, vec![repository.into(), digest.into()]);
    let rows = sql.query(Freshness::Latest, question).await?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// Removes a tag, not what it points at; conflicts when there is none, or when the repository keeps its tags.
pub fn delete(repository: Uuid, tag: &Tag, at: Millis) -> [Statement; 5] {
    let (id, name) = (repository, tag.as_str());
    [
        guard(id, tag),
        // Nothing has this digest.
        guard_movable(id, [tag], Value::Blob(Vec::new())),
        untagged::let_go_by_tags(id, [tag], None, at),
        Statement::new(RECORD_DELETION, vec![at.into(), id.into(), name.into()]),
        Statement::new(DELETE, vec![id.into(), name.into()]),
    ]
}

/// Removes every tag that points at a manifest; conflicts when there are some and the repository keeps its tags.
pub fn untag(repository: Uuid, digest: &Digest, at: Millis) -> [Statement; 3] {
    [
        Statement::new(GUARD_FIXED_TO, vec![repository.into(), digest.into()]),
        Statement::new(RECORD_UNTAGGING, vec![at.into(), repository.into(), digest.into()]),
        Statement::new(UNTAG, vec![repository.into(), digest.into()]),
    ]
}

/// Tags of the repository called `name` in ASCII order after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, name: &str, after: &str, limit: i64) -> Result<Vec<String>, QueryError> {
    let statement = Statement::new(PAGE, vec![name.into(), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, statement).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}
