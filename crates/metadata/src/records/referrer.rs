//! Referrers: manifests that name a subject, which may be absent.

use super::sql;
use crate::{Freshness, QueryError, Sql, Statement};
use roadstead_oci::Digest;
use uuid::Uuid;

sql! {
    ADD = "INSERT INTO referrer (repository_id, subject, digest, artifact_type, annotations) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (repository_id, subject, digest) DO NOTHING";
    PAGE = "SELECT f.digest, m.media_type, m.size, f.artifact_type, f.annotations FROM repository r \
        JOIN referrer f ON f.repository_id = r.id JOIN manifest m ON m.repository_id = f.repository_id AND m.digest = f.digest \
        WHERE r.name = $1 AND f.subject = $2 AND f.digest > $3 ORDER BY f.digest LIMIT $4";
    PAGE_OF_TYPE = "SELECT f.digest, m.media_type, m.size, f.artifact_type, f.annotations FROM repository r \
        JOIN referrer f ON f.repository_id = r.id JOIN manifest m ON m.repository_id = f.repository_id AND m.digest = f.digest \
        WHERE r.name = $1 AND f.subject = $2 AND f.artifact_type = $3 AND f.digest > $4 ORDER BY f.digest LIMIT $5";
}

/// One referrer, with what its descriptor shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrerRecord {
    /// The referring manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its artifact type; empty when it has none.
    pub artifact_type: String,
    /// Its annotations, as a JSON object.
    pub annotations: String,
}

/// Makes a manifest of the same batch a referrer of `subject`.
pub fn add(repository: Uuid, subject: &Digest, digest: &Digest, artifact_type: &str, annotations: &str) -> Statement {
    Statement::new(
        ADD,
        vec![repository.into(), subject.into(), digest.into(), artifact_type.into(), annotations.into()],
    )
}

/// Which page of the referrers of `subject` in the repository called `name` is wanted.
#[derive(Debug)]
pub struct ReferrersPage<'a> {
    /// The repository's name.
    pub name: &'a str,
    /// The subject.
    pub subject: &'a Digest,
    /// Only those of this artifact type.
    pub artifact_type: Option<&'a str>,
    /// Only those whose digest is greater, in the order of the stored form.
    pub after: Option<&'a Digest>,
    /// At most so many.
    pub limit: i64,
}

/// A page of referrers, in the order of their digests.
pub async fn page(sql: &dyn Sql, page: &ReferrersPage<'_>) -> Result<Vec<ReferrerRecord>, QueryError> {
    let after = page.after.map(Digest::to_vec).unwrap_or_default();
    let mut params = vec![page.name.into(), page.subject.into()];
    let text = match page.artifact_type {
        Some(artifact_type) => {
            params.push(artifact_type.into());
            PAGE_OF_TYPE
        }
        None => PAGE,
    };
    params.extend([after.into(), page.limit.into()]);
    let rows = sql.query(Freshness::Latest, Statement::new(text, params)).await?;
    rows.iter()
        .map(|row| {
            Ok(ReferrerRecord {
                digest: row.digest(0)?,
                media_type: row.text(1)?.to_owned(),
                size: row.integer(2)? as u64,
                artifact_type: row.text(3)?.to_owned(),
                annotations: row.text(4)?.to_owned(),
            })
        })
        .collect()
}
