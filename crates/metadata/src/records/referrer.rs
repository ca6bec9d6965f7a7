//! Referrers: manifests that name a subject, which may be absent.

use super::sql;
use crate::{Freshness, QueryError, Row, Sql, Statement, Value};
use roadstead_oci::Digest;
use uuid::Uuid;

sql! {
    ADD = "INSERT INTO referrer (repository_id, subject, digest, artifact_type, annotations) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (repository_id, subject, digest) DO NOTHING";
    SIZES = "SELECT f.digest, octet_length(f.annotations) FROM repository r \
        JOIN referrer f ON f.repository_id = r.id \
        WHERE r.name = $1 AND f.subject = $2 AND f.digest > $3 ORDER BY f.digest LIMIT $4";
    SIZES_OF_TYPE = "SELECT f.digest, octet_length(f.annotations) FROM repository r \
        JOIN referrer f ON f.repository_id = r.id \
        WHERE r.name = $1 AND f.subject = $2 AND (f.artifact_type, f.digest) > ($3, $4) AND f.artifact_type <= $5 \
        ORDER BY f.artifact_type, f.digest LIMIT $6";
    PAGE = "SELECT f.digest, m.media_type, m.size, f.artifact_type, f.annotations FROM repository r \
        JOIN referrer f ON f.repository_id = r.id JOIN manifest m ON m.repository_id = f.repository_id AND m.digest = f.digest \
        WHERE r.name = $1 AND f.subject = $2 AND f.digest > $3 AND f.digest <= $4 ORDER BY f.digest LIMIT $5";
    PAGE_OF_TYPE = "SELECT f.digest, m.media_type, m.size, f.artifact_type, f.annotations FROM repository r \
        JOIN referrer f ON f.repository_id = r.id JOIN manifest m ON m.repository_id = f.repository_id AND m.digest = f.digest \
        WHERE r.name = $1 AND f.subject = $2 AND (f.artifact_type, f.digest) > ($3, $4) AND (f.artifact_type, f.digest) <= ($5, $6) \
        ORDER BY f.artifact_type, f.digest LIMIT $7";
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
    pub limit: usize,
    /// At most so many bytes of annotations, unless the first has more.
    pub bytes: u64,
}

impl ReferrersPage<'_> {
    /// A question for those after `after`, of any type or of one; `rest` is what its text has after that. Of one type
    /// it names type and digest together, so that SQLite takes the index that has both.
    fn question(&self, any: &'static str, of_type: &'static str, rest: impl IntoIterator<Item = Value>) -> Statement {
        let after = self.after.map(Digest::to_vec).unwrap_or_default();
        let mut params = vec![self.name.into(), self.subject.into()];
        params.extend(self.artifact_type.map(Value::from));
        params.push(after.into());
        params.extend(self.artifact_type.map(Value::from));
        params.extend(rest);
        Statement::new(if self.artifact_type.is_some() { of_type } else { any }, params)
    }
}

/// A page of referrers, in the order of their digests, and after which one the next begins, if others follow.
///
/// First only their sizes are asked for, then the rows that fit: memory is bounded by the page, not by what the rows
/// hold.
pub async fn page(
    sql: &dyn Sql,
    page: &ReferrersPage<'_>,
) -> Result<(Vec<ReferrerRecord>, Option<Digest>), QueryError> {
    let one_more = Value::from(page.limit as i64 + 1);
    let sizes = sql.query(Freshness::Latest, page.question(SIZES, SIZES_OF_TYPE, [one_more])).await?;
    let (mut last, mut count, mut bytes) = (None, 0, 0);
    for row in sizes.iter().take(page.limit) {
        bytes += row.integer(1)? as u64;
        if bytes > page.bytes && count > 0 {
            break;
        }
        (last, count) = (Some(row.digest(0)?), count + 1);
    }
    let Some(last) = last else { return Ok((Vec::new(), None)) };
    let rows = page.question(PAGE, PAGE_OF_TYPE, [Value::from(&last), (count as i64).into()]);
    let rows = sql.query(Freshness::Latest, rows).await?;
    let next = (count < sizes.len()).then_some(last);
    Ok((rows.iter().map(record).collect::<Result<_, _>>()?, next))
}

fn record(row: &Row) -> Result<ReferrerRecord, QueryError> {
    Ok(ReferrerRecord {
        digest: row.digest(0)?,
        media_type: row.text(1)?.to_owned(),
        size: row.integer(2)? as u64,
        artifact_type: row.text(3)?.to_owned(),
        annotations: row.text(4)?.to_owned(),
    })
}
