//! Manifests: their content, the rows of a repository, and what they reference.

use super::{blob, repository, sql, untagged};
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use bytes::Bytes;
use roadstead_oci::{Digest, Reference};
use uuid::Uuid;

/// Manifests up to this many bytes stand in metadata; larger ones are kept as a blob.
pub const INLINE_BYTES: usize = 64 << 10;

sql! {
    PUT_CONTENT = "INSERT INTO manifest_content (digest, size, encoding, bytes) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (digest) DO NOTHING";
    PUT = "INSERT INTO manifest (repository_id, digest, media_type, size, subject, pushed_at, untagged_since) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (repository_id, digest) DO UPDATE \
        SET media_type = excluded.media_type, pushed_at = excluded.pushed_at, untagged_since = excluded.untagged_since";
    CLEAR_BLOBS = "DELETE FROM manifest_blob WHERE repository_id = $1 AND manifest = $2";
    CLEAR_CHILDREN = "DELETE FROM manifest_child WHERE repository_id = $1 AND manifest = $2";
    PUT_BLOBS = "INSERT INTO manifest_blob (repository_id, manifest, blob) SELECT $1, $2, digest \
        FROM repository_blob WHERE repository_id = $3 AND digest IN ($4) \
        AND EXISTS (SELECT 1 FROM placement p WHERE p.digest = repository_blob.digest)";
    PUT_CHILDREN = "INSERT INTO manifest_child (repository_id, manifest, child) SELECT $1, $2, digest \
        FROM manifest WHERE repository_id = $3 AND digest IN ($4)";
    GUARD_BLOBS = "INSERT INTO guard (ok) SELECT 0 WHERE $1 <> \
        (SELECT count(*) FROM manifest_blob WHERE repository_id = $2 AND manifest = $3)";
    GUARD_CHILDREN = "INSERT INTO guard (ok) SELECT 0 WHERE $1 <> \
        (SELECT count(*) FROM manifest_child WHERE repository_id = $2 AND manifest = $3)";
    TOUCH_BLOBS = "UPDATE repository_blob SET touched_at = $1 WHERE repository_id = $2 AND digest IN \
        (SELECT blob FROM manifest_blob WHERE repository_id = $3 AND manifest = $4) AND touched_at < $5";
    USE_BLOBS = "UPDATE repository_blob SET unused_since = NULL WHERE repository_id = $1 AND digest IN \
        (SELECT blob FROM manifest_blob WHERE repository_id = $2 AND manifest = $3) AND unused_since IS NOT NULL";
    FREE_BLOBS = "UPDATE repository_blob SET unused_since = $1 WHERE repository_id = $2 AND digest IN \
        (SELECT blob FROM manifest_blob WHERE repository_id = $3 AND manifest = $4) \
        AND NOT EXISTS (SELECT 1 FROM manifest_blob o WHERE o.repository_id = repository_blob.repository_id \
        AND o.blob = repository_blob.digest AND o.manifest <> $5)";
    DELETE = "DELETE FROM manifest WHERE repository_id = $1 AND digest = $2";
    GUARD_EXISTS = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM manifest WHERE repository_id = $1 AND digest = $2)";
    GUARD_ABSENT = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM manifest WHERE repository_id = $1 AND digest = $2)";
    DROP_CONTENT = "DELETE FROM manifest_content WHERE digest = $1 \
        AND NOT EXISTS (SELECT 1 FROM manifest m WHERE m.digest = manifest_content.digest)";
    BY_DIGEST = "SELECT m.digest, m.media_type, m.size, m.untagged_since, c.encoding, c.bytes FROM repository r \
        JOIN manifest m ON m.repository_id = r.id JOIN manifest_content c ON c.digest = m.digest \
        WHERE r.name = $1 AND m.digest = $2";
    BY_TAG = "SELECT m.digest, m.media_type, m.size, m.untagged_since, c.encoding, c.bytes FROM repository r \
        JOIN tag t ON t.repository_id = r.id JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = t.digest \
        JOIN manifest_content c ON c.digest = m.digest WHERE r.name = $1 AND t.name = $2";
    STAT_BY_DIGEST = "SELECT m.digest, m.media_type, m.size, m.untagged_since FROM repository r \
        JOIN manifest m ON m.repository_id = r.id WHERE r.name = $1 AND m.digest = $2";
    STAT_BY_TAG = "SELECT m.digest, m.media_type, m.size, m.untagged_since FROM repository r \
        JOIN tag t ON t.repository_id = r.id JOIN manifest m ON m.repository_id = t.repository_id AND m.digest = t.digest \
        WHERE r.name = $1 AND t.name = $2";
    PRESENT = "SELECT m.digest FROM repository r JOIN manifest m ON m.repository_id = r.id \
        WHERE r.name = $1 AND m.digest IN ($2)";
    PARENT = "SELECT manifest FROM manifest_child WHERE repository_id = $1 AND child = $2 ORDER BY manifest LIMIT 1";
}

/// How manifest bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they came.
    Plain,
    /// zstd.
    Zstd,
    /// As a blob of the same digest.
    Blob,
}

impl Encoding {
    fn code(self) -> i64 {
        match self {
            Encoding::Plain => 0,
            Encoding::Zstd => 1,
            Encoding::Blob => 2,
        }
    }

    fn of(code: i64) -> Result<Self, QueryError> {
        match code {
            0 => Ok(Encoding::Plain),
            1 => Ok(Encoding::Zstd),
            2 => Ok(Encoding::Blob),
            other => Err(QueryError::Failed(format!("manifest content of unknown encoding {other}"))),
        }
    }
}

/// The row that says what and how large a manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestStat {
    /// Its digest.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Since when nothing may hold it, neither a tag nor an index nor a subject: a hint. `None` while something does.
    pub untagged_since: Option<Millis>,
}

/// A manifest with its content, or where that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRecord {
    /// What it is.
    pub stat: ManifestStat,
    /// Its bytes; `None` when they are kept as a blob.
    pub bytes: Option<Bytes>,
}

/// What a pushed manifest adds to a repository.
#[derive(Debug)]
pub struct NewManifest<'a> {
    /// The repository.
    pub repository: Uuid,
    /// Its digest, media type and size; and now as `untagged_since`, unless the same batch points a tag at it.
    pub stat: &'a ManifestStat,
    /// The digest of its subject, present or not.
    pub subject: Option<Digest>,
    /// Distinct blobs that it names and that must be linked.
    pub blobs: &'a [Digest],
    /// Distinct manifests that it names and that must be present.
    pub children: &'a [Digest],
}

/// The bytes, compressed when that makes them smaller; `None` (kept as a blob) from [`INLINE_BYTES`] on.
pub fn put_content(digest: &Digest, bytes: &[u8]) -> Statement {
    let (encoding, stored) = if bytes.len() > INLINE_BYTES {
        (Encoding::Blob, Value::Null)
    } else {
        match zstd::bulk::compress(bytes, 3) {
            Ok(small) if small.len() < bytes.len() => (Encoding::Zstd, small.into()),
            _ => (Encoding::Plain, bytes.to_vec().into()),
        }
    };
    Statement::new(PUT_CONTENT, vec![digest.into(), (bytes.len() as i64).into(), encoding.code().into(), stored])
}

/// The rows of a manifest, after its content; conflicts unless everything it names is there.
///
/// The digests stand in the batch once: a manifest may name thousands. What was found is inserted, and the guard
/// counts that; whatever an earlier push of the same manifest left is cleared first, so that the count is exact.
pub fn put(new: &NewManifest<'_>, at: Millis) -> Vec<Statement> {
    let repository = || Value::from(new.repository);
    let digest = || Value::from(&new.stat.digest);
    let mut statements = vec![Statement::new(
        PUT,
        vec![
            repository(),
            digest(),
            new.stat.media_type.as_str().into(),
            (new.stat.size as i64).into(),
            new.subject.as_ref().map(Value::from).unwrap_or(Value::Null),
            at.into(),
            new.stat.untagged_since.map_or(Value::Null, Value::from),
        ],
    )];
    // What an earlier push found under a name may be something else now.
    statements.push(free_blobs(new.repository, &new.stat.digest, at));
    statements.push(untagged::let_go_by_index(new.repository, &new.stat.digest, at));
    for (named, clear, put, guard) in
        [(new.blobs, CLEAR_BLOBS, PUT_BLOBS, GUARD_BLOBS), (new.children, CLEAR_CHILDREN, PUT_CHILDREN, GUARD_CHILDREN)]
    {
        statements.push(Statement::new(clear, vec![repository(), digest()]));
        if !named.is_empty() {
            let (count, list) = (named.len() as i64, Value::List(named.iter().map(Value::from).collect()));
            statements.push(Statement::new(put, vec![repository(), digest(), repository(), list]));
            statements.push(Statement::new(guard, vec![count.into(), repository(), digest()]));
        }
    }
    if !new.blobs.is_empty() {
        let touch = vec![at.into(), repository(), repository(), digest(), at.into()];
        statements.push(Statement::new(TOUCH_BLOBS, touch));
        statements.push(Statement::new(USE_BLOBS, vec![repository(), repository(), digest()]));
    }
    statements
}

/// Conflicts unless the repository has the manifest.
pub fn guard(repository: Uuid, digest: &Digest) -> Statement {
    Statement::new(GUARD_EXISTS, vec![repository.into(), digest.into()])
}

/// Conflicts when the repository has the manifest.
pub fn guard_absent(repository: Uuid, digest: &Digest) -> Statement {
    Statement::new(GUARD_ABSENT, vec![repository.into(), digest.into()])
}

/// Removes a manifest and what it references; conflicts when it is absent, tagged, or named by an index. Blobs that it
/// alone named are the collector's after their grace.
pub fn delete(repository: Uuid, digest: &Digest, at: Millis) -> [Statement; 6] {
    [
        guard(repository, digest),
        free_blobs(repository, digest, at),
        untagged::let_go_by_index(repository, digest, at),
        untagged::let_go_by_subject(repository, digest, at),
        Statement::new(DELETE, vec![repository.into(), digest.into()]),
        Statement::new(DROP_CONTENT, vec![digest.into()]),
    ]
}

/// Blobs that the manifest alone names are in nobody's use, unless it names them again.
fn free_blobs(repository: Uuid, digest: &Digest, at: Millis) -> Statement {
    let values = vec![at.into(), repository.into(), repository.into(), digest.into(), digest.into()];
    Statement::new(FREE_BLOBS, values)
}

fn stat_of(row: &Row) -> Result<ManifestStat, QueryError> {
    let untagged_since = row.given(3, Row::integer)?;
    let (digest, media_type) = (row.digest(0)?, row.text(1)?.to_owned());
    Ok(ManifestStat { digest, media_type, size: row.integer(2)? as u64, untagged_since })
}

fn question(by_tag: &'static str, by_digest: &'static str, name: &str, reference: &Reference) -> Statement {
    match reference {
        Reference::Tag(tag) => Statement::new(by_tag, vec![name.into(), tag.as_str().into()]),
        Reference::Digest(digest) => Statement::new(by_digest, vec![name.into(), digest.into()]),
    }
}

/// A manifest of the repository called `name`, with its content: one question.
pub async fn get(
    sql: &dyn Sql,
    fresh: Freshness,
    name: &str,
    reference: &Reference,
) -> Result<Option<ManifestRecord>, QueryError> {
    let rows = sql.query(fresh, question(BY_TAG, BY_DIGEST, name, reference)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let stat = stat_of(row)?;
    let bytes = match Encoding::of(row.integer(4)?)? {
        Encoding::Plain => Some(Bytes::copy_from_slice(row.blob(5)?)),
        Encoding::Blob => None,
        Encoding::Zstd => {
            let bytes = zstd::bulk::decompress(row.blob(5)?, stat.size as usize);
            let damaged = |e| QueryError::Failed(format!("content of manifest {}: {e}", stat.digest));
            Some(bytes.map_err(damaged)?.into())
        }
    };
    Ok(Some(ManifestRecord { stat, bytes }))
}

/// The same without its content.
pub async fn stat(
    sql: &dyn Sql,
    fresh: Freshness,
    name: &str,
    reference: &Reference,
) -> Result<Option<ManifestStat>, QueryError> {
    let rows = sql.query(fresh, question(STAT_BY_TAG, STAT_BY_DIGEST, name, reference)).await?;
    rows.first().map(stat_of).transpose()
}

/// What a repository has of what a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Had {
    /// Its id, if there is one.
    pub repository: Option<Uuid>,
    /// Those that are manifests of it.
    pub manifests: Vec<Digest>,
    /// Those that are blobs that it links and some location has a copy of, with their sizes.
    pub blobs: Vec<(Digest, u64)>,
}

/// What the repository called `name` has of these manifests and blobs: one round trip.
pub async fn had(sql: &dyn Sql, name: &str, manifests: &[Digest], blobs: &[Digest]) -> Result<Had, QueryError> {
    let list = Value::List(manifests.iter().map(Value::from).collect());
    let present = Statement::new(PRESENT, vec![name.into(), list]);
    let questions = vec![repository::named(name), present, blob::copied(name, blobs)];
    let answers = sql.query_many(Freshness::Latest, questions).await?;
    let [of_repository, of_manifests, of_blobs] = &answers[..] else {
        return Err(QueryError::Failed(format!("{} answers to three questions", answers.len())));
    };
    let manifests = of_manifests.iter().map(|row| row.digest(0)).collect::<Result<_, _>>()?;
    Ok(Had { repository: repository::id(of_repository)?, manifests, blobs: blob::sizes(of_blobs)? })
}

/// One index of the repository that names the manifest, if any.
pub async fn parent(sql: &dyn Sql, repository: Uuid, child: &Digest) -> Result<Option<Digest>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(PARENT, vec![repository.into(), child.into()])).await?;
    rows.first().map(|row| row.digest(0)).transpose()
}
