//! The seam under all reads of a pull: what is where.
//!
//! A registry answers from metadata ([`SqlIndex`]); a cache will answer from its store. Nothing here writes:
//! a pull never needs a metadata write.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use roadstead_metadata::records::blob::Places;
use roadstead_metadata::records::manifest::{ManifestRecord, ManifestStat};
use roadstead_metadata::records::{blob, manifest, repository};
use roadstead_metadata::{Batch, CommitError, Committed, Dialect, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_oci::{Digest, Reference, RepositoryName};

use crate::Result;

/// The questions of a pull.
#[async_trait]
pub trait Index: Debug + Send + Sync + 'static {
    /// A manifest with its content.
    async fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<Option<ManifestRecord>>;
    /// A manifest without it.
    async fn manifest_stat(&self, name: &RepositoryName, reference: &Reference) -> Result<Option<ManifestStat>>;
    /// Size and copies of a blob.
    async fn places(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Places>>;
    /// The same, asked where it is newest: after copies were not where [`Index::places`] said.
    async fn newest_places(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Places>>;
    /// Whether there is such a repository.
    async fn exists(&self, name: &RepositoryName) -> Result<bool>;
}

/// Answers from metadata. What a digest names never changes, so the local answer is asked first and only a miss is
/// asked again where it is newest; what a tag names is always asked there.
#[derive(Debug)]
pub struct SqlIndex {
    sql: Arc<dyn Sql>,
}

impl SqlIndex {
    /// An index over metadata.
    pub fn new(sql: Arc<dyn Sql>) -> Self {
        Self { sql: at_hand(sql) }
    }
}

/// `sql` for what is read only to be told: see [`AtHand`].
pub(crate) fn at_hand(sql: Arc<dyn Sql>) -> Arc<dyn Sql> {
    Arc::new(AtHand(sql))
}

/// Metadata that answers with what is at hand while it is read-only and what is newest cannot be had. Then nobody
/// acknowledges anything either, so that it is the same but for what the primary alone had when it went.
#[derive(Debug)]
struct AtHand(Arc<dyn Sql>);

#[async_trait]
impl Sql for AtHand {
    async fn query_many(
        &self,
        freshness: Freshness,
        statements: Vec<Statement>,
    ) -> std::result::Result<Vec<Rows>, QueryError> {
        // A copy of a few values is kept only where it may be needed.
        let again = matches!(self.0.status(), Status::ReadOnly(_)).then(|| statements.clone());
        match (self.0.query_many(freshness, statements).await, again) {
            (Err(QueryError::Unavailable(_)), Some(statements)) if freshness == Freshness::Latest => {
                self.0.query_many(Freshness::Local, statements).await
            }
            (answer, _) => answer,
        }
    }

    async fn commit(&self, batch: Batch) -> std::result::Result<Committed, CommitError> {
        self.0.commit(batch).await
    }

    fn dialect(&self) -> Dialect {
        self.0.dialect()
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn revision(&self) -> Option<u64> {
        self.0.revision()
    }
}

fn first(reference: &Reference) -> &'static [Freshness] {
    match reference {
        Reference::Tag(_) => &[Freshness::Latest],
        Reference::Digest(_) => &[Freshness::Local, Freshness::Latest],
    }
}

#[async_trait]
impl Index for SqlIndex {
    async fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<Option<ManifestRecord>> {
        for fresh in first(reference) {
            if let Some(found) = manifest::get(&*self.sql, *fresh, name.as_str(), reference).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn manifest_stat(&self, name: &RepositoryName, reference: &Reference) -> Result<Option<ManifestStat>> {
        for fresh in first(reference) {
            if let Some(found) = manifest::stat(&*self.sql, *fresh, name.as_str(), reference).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn places(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Places>> {
        for fresh in [Freshness::Local, Freshness::Latest] {
            if let Some(found) = blob::places(&*self.sql, fresh, name.as_str(), digest).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn newest_places(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Places>> {
        Ok(blob::places(&*self.sql, Freshness::Latest, name.as_str(), digest).await?)
    }

    async fn exists(&self, name: &RepositoryName) -> Result<bool> {
        Ok(repository::find(&*self.sql, Freshness::Latest, name.as_str()).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A standby: what is newest cannot be had from it.
    #[derive(Debug)]
    struct Standby(Status);

    #[async_trait]
    impl Sql for Standby {
        async fn query_many(
            &self,
            fresh: Freshness,
            asked: Vec<Statement>,
        ) -> std::result::Result<Vec<Rows>, QueryError> {
            match fresh {
                Freshness::Local => Ok(vec![Rows::new(); asked.len()]),
                Freshness::Latest => Err(QueryError::Unavailable("no primary".into())),
            }
        }

        async fn commit(&self, _: Batch) -> std::result::Result<Committed, CommitError> {
            Err(CommitError::Unavailable("no primary".into()))
        }

        fn status(&self) -> Status {
            self.0.clone()
        }

        fn revision(&self) -> Option<u64> {
            None
        }
    }

    #[tokio::test]
    async fn pulls_by_tag_go_on_while_there_is_only_a_standby() {
        let (name, tag) = ("library/app".parse().unwrap(), Reference::Tag("latest".parse().unwrap()));
        let ask = async |status| SqlIndex::new(Arc::new(Standby(status))).manifest(&name, &tag).await;
        assert_eq!(ask(Status::ReadOnly("no primary".into())).await.unwrap(), None);
        // With a primary that fails to answer the newest is not known.
        ask(Status::Writable).await.unwrap_err();
    }
}
