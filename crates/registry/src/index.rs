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
use roadstead_metadata::{Freshness, Sql};
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
        Self { sql }
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
