//! The removal of a repository, in two parts.
//!
//! The first is one commit, after which it is gone for everybody: it gives up its name and its namespace, and what was granted
//! on it goes. A push that had found it by its name conflicts with that ([`super::repository::guard_named`]) and looks again.
//! The second takes away what it held, one bounded batch after the other, each found anew in metadata: where somebody was cut
//! short the next goes on. Blobs that no repository links any more are the collector's after their grace, which begins then.
//!
//! A repository that is being removed is called `~`, an id in which the time of its removal stands, `/` and what it was
//! called. No name that can be asked for begins so, and every such name sorts before ([`super::visible::Range::all`]).

use super::access::raise;
use super::{repository, sql, untagged};
use crate::{Freshness, Millis, QueryError, Row, Rows, Sql, Statement, Value};
use roadstead_oci::Digest;
use uuid::Uuid;

/// Rows removed in one batch.
pub const ROWS: i64 = 500;
/// Manifests removed in one batch: each may have 64 KiB of content.
pub const MANIFESTS: i64 = 50;

sql! {
    PARK = "INSERT INTO namespace (id, name, kind, created_at) VALUES ($1, '~', 0, $2) ON CONFLICT (name) DO NOTHING";
    UNNAME = "UPDATE repository SET name = $1, visibility = 0, namespace_id = (SELECT id FROM namespace WHERE name = '~') WHERE id = $2";
    DROP_GRANTS = "DELETE FROM repository_grant WHERE repository_id = $1 AND subject_id > ''";
    NEXT = "SELECT id, name FROM repository WHERE name >= '~' ORDER BY name LIMIT 1";
    UPLOADS = "SELECT id FROM upload WHERE closed_at IS NULL AND updated_at >= $1 AND repository = $2 AND created_at <= $3 \
        ORDER BY updated_at LIMIT $4";
    CLOSE_UPLOADS = "UPDATE upload SET closed_at = $1, updated_at = $2 WHERE id IN ($3) AND closed_at IS NULL";
    TAGS = "SELECT name FROM tag WHERE repository_id = $1 AND name > '' ORDER BY name LIMIT 1";
    DROP_TAGS = "DELETE FROM tag WHERE repository_id = $1 AND name IN \
        (SELECT name FROM tag WHERE repository_id = $2 AND name > '' ORDER BY name LIMIT $3)";
    HISTORY = "SELECT name FROM tag_history WHERE repository_id = $1 AND name > '' ORDER BY name LIMIT 1";
    DROP_HISTORY = "DELETE FROM tag_history WHERE repository_id = $1 AND (name, version) IN \
        (SELECT name, version FROM tag_history WHERE repository_id = $2 AND name > '' ORDER BY name, version LIMIT $3)";
    CHILDREN = "SELECT manifest FROM manifest_child WHERE repository_id = $1 AND manifest > '' ORDER BY manifest LIMIT 1";
    DROP_CHILDREN = "DELETE FROM manifest_child WHERE repository_id = $1 AND (manifest, child) IN \
        (SELECT manifest, child FROM manifest_child WHERE repository_id = $2 AND manifest > '' ORDER BY manifest, child LIMIT $3)";
    NAMED = "SELECT manifest FROM manifest_blob WHERE repository_id = $1 AND manifest > '' ORDER BY manifest LIMIT 1";
    DROP_NAMED = "DELETE FROM manifest_blob WHERE repository_id = $1 AND (manifest, blob) IN \
        (SELECT manifest, blob FROM manifest_blob WHERE repository_id = $2 AND manifest > '' ORDER BY manifest, blob LIMIT $3)";
    MANIFESTS_OF = "SELECT digest FROM manifest WHERE repository_id = $1 AND digest > '' ORDER BY digest LIMIT $2";
    DROP_MANIFESTS = "DELETE FROM manifest WHERE repository_id = $1 AND digest IN ($2)";
    LINKS = "SELECT digest FROM repository_blob WHERE repository_id = $1 AND digest > '' ORDER BY digest LIMIT $2";
    DROP_LINKS = "DELETE FROM repository_blob WHERE repository_id = $1 AND digest IN ($2)";
    DOOM = "UPDATE blob SET doomed_at = $1 WHERE digest IN ($2) AND doomed_at IS NULL \
        AND NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.digest = blob.digest)";
    FORGET = "DELETE FROM repository WHERE id = $1 AND name >= '~'";
}

/// What keys off a manifest or a tag and goes first: whether there is some, and what removes some of it.
const ROWS_OF: [(&str, &str); 4] =
    [(TAGS, DROP_TAGS), (HISTORY, DROP_HISTORY), (CHILDREN, DROP_CHILDREN), (NAMED, DROP_NAMED)];

/// A repository that is gone for everybody and still holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removing {
    /// Its id.
    pub id: Uuid,
    /// What it was called.
    pub name: String,
    /// When it was removed.
    pub at: Millis,
}

/// What is next to go of a repository that is being removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// To be committed at once. What has gone already they leave alone.
    pub statements: Vec<Statement>,
    /// After these nothing of it is left.
    pub last: bool,
}

/// A repository is gone from this commit on; conflicts when there is none of this id and name. `removal` is a new id, which
/// tells when.
pub fn remove(id: Uuid, name: &str, removal: Uuid, at: Millis) -> [Statement; 5] {
    let gone = format!("~{}/{name}", removal.simple());
    [
        repository::guard_named(id, name),
        Statement::new(PARK, vec![removal.into(), at.into()]),
        Statement::new(UNNAME, vec![gone.into(), id.into()]),
        Statement::new(DROP_GRANTS, vec![id.into()]),
        raise(),
    ]
}

/// Of the repositories that are being removed the one for the longest.
pub async fn next(sql: &dyn Sql) -> Result<Option<Removing>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(NEXT, vec![])).await?;
    rows.first().map(read).transpose()
}

fn read(row: &Row) -> Result<Removing, QueryError> {
    let text = row.text(1)?;
    let parts = text.strip_prefix('~').and_then(|rest| rest.split_once('/'));
    let read =
        parts.and_then(|(removal, name)| Some((Uuid::try_parse(removal).ok()?.get_timestamp()?.to_unix(), name)));
    let Some(((seconds, nanoseconds), name)) = read else {
        return Err(QueryError::Failed(format!(
            "repository {text:?} is being removed, and its name does not tell which"
        )));
    };
    let at = seconds as Millis * 1000 + Millis::from(nanoseconds / 1_000_000);
    Ok(Removing { id: row.id(0)?, name: name.to_owned(), at })
}

/// What is to go next: sessions that write to it, then tags, what manifests name, manifests, links, itself.
pub async fn part(sql: &dyn Sql, of: &Removing, now: Millis) -> Result<Part, QueryError> {
    let id = || Value::from(of.id);
    let uploads = vec![Millis::MIN.into(), of.name.as_str().into(), of.at.into(), ROWS.into()];
    let mut questions = vec![
        Statement::new(UPLOADS, uploads),
        Statement::new(MANIFESTS_OF, vec![id(), MANIFESTS.into()]),
        Statement::new(LINKS, vec![id(), ROWS.into()]),
    ];
    questions.extend(ROWS_OF.map(|(some, _)| Statement::new(some, vec![id()])));
    let answers = sql.query_many(Freshness::Latest, questions).await?;
    let [uploads, manifests, links, rows @ ..] = &answers[..] else {
        return Err(QueryError::Failed(format!("{} answers about what a repository holds", answers.len())));
    };
    let first = ROWS_OF.iter().zip(rows).find(|(_, found)| !found.is_empty()).map(|((_, drop), _)| drop);
    let statements = if !uploads.is_empty() {
        let ids = uploads.iter().map(|row| row.id(0).map(Value::from)).collect::<Result<_, _>>()?;
        vec![Statement::new(CLOSE_UPLOADS, vec![now.into(), now.into(), Value::List(ids)])]
    } else if let Some(drop) = first {
        vec![Statement::new(drop, vec![id(), id(), ROWS.into()])]
    } else if !manifests.is_empty() {
        let digests = digests(manifests)?;
        let list = Value::List(digests.iter().map(Value::from).collect());
        vec![Statement::new(DROP_MANIFESTS, vec![id(), list]), untagged::drop_content(&digests)]
    } else if !links.is_empty() {
        let list = Value::List(digests(links)?.iter().map(Value::from).collect());
        vec![Statement::new(DROP_LINKS, vec![id(), list.clone()]), Statement::new(DOOM, vec![now.into(), list])]
    } else {
        return Ok(Part { statements: vec![Statement::new(FORGET, vec![id()])], last: true });
    };
    Ok(Part { statements, last: false })
}

fn digests(rows: &Rows) -> Result<Vec<Digest>, QueryError> {
    rows.iter().map(|row| row.digest(0)).collect()
}
