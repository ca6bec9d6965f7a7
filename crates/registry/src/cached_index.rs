//! Keeps the answers of an index in memory, for as long as nothing can have changed them.
//!
//! An answer is kept with the revision of metadata under which it was asked for ([`Sql::revision`]) and counts only
//! under that same one. So it is never older than an answer from metadata would be, whatever it is about: what a tag
//! names, whether a repository links a blob, where the bytes are. Where metadata has no revision, because other
//! processes commit too, nothing is kept. That something is absent is not kept either: there is no end of what is not
//! there.

use std::sync::Arc;

use async_trait::async_trait;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use roadstead_metadata::Sql;
use roadstead_metadata::records::blob::Places;
use roadstead_metadata::records::manifest::{ManifestRecord, ManifestStat};
use roadstead_oci::{Digest, Reference, RepositoryName};

use crate::{Index, Result};

/// Bytes kept at most, with what it takes to keep them.
const BYTES: u64 = 32 << 20;
/// What an entry takes beside its texts and bytes, roughly.
const ENTRY: u64 = 400;
/// A guess at the size of an entry, from which the cache derives how many it prepares for.
const USUAL: usize = 1024;

/// An index that keeps answers.
#[derive(Debug)]
pub(crate) struct CachedIndex<I> {
    inner: I,
    sql: Arc<dyn Sql>,
    kept: Cache<Question, Kept, Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Manifest(RepositoryName, Reference),
    Places(RepositoryName, Digest),
}

#[derive(Debug, Clone)]
struct Kept {
    revision: u64,
    answer: Answer,
}

#[derive(Debug, Clone)]
enum Answer {
    Manifest(Arc<ManifestRecord>),
    Stat(Arc<ManifestStat>),
    Places(Arc<Places>),
}

/// Weighs entries in bytes.
#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Question, Kept> for Bytes {
    fn weight(&self, _: &Question, kept: &Kept) -> u64 {
        let content = match &kept.answer {
            Answer::Manifest(record) => record.bytes.as_ref().map_or(0, |bytes| bytes.len()),
            Answer::Stat(_) => 0,
            Answer::Places(places) => places.copies.iter().map(|(_, key)| key.len() + 40).sum(),
        };
        ENTRY + content as u64
    }
}

impl<I: Index> CachedIndex<I> {
    /// Keeps answers of `inner`, which asks `sql`.
    pub(crate) fn new(inner: I, sql: Arc<dyn Sql>) -> Self {
        Self { inner, sql, kept: Cache::with_weighter(BYTES as usize / USUAL, BYTES, Bytes) }
    }

    /// What is known and still holds.
    fn find(&self, question: &Question) -> Option<Answer> {
        let revision = self.sql.revision()?;
        self.kept.get(question).filter(|kept| kept.revision == revision).map(|kept| kept.answer)
    }

    /// Keeps an answer that was asked for when the revision was `before`, unless that has changed meanwhile: then the
    /// answer may be from either side of the change.
    fn keep(&self, before: Option<u64>, question: Question, answer: Answer) {
        if let Some(revision) = before
            && self.sql.revision() == before
        {
            self.kept.insert(question, Kept { revision, answer });
        }
    }
}

#[async_trait]
impl<I: Index> Index for CachedIndex<I> {
    async fn manifest(&self, name: &RepositoryName, reference: &Reference) -> Result<Option<ManifestRecord>> {
        let question = Question::Manifest(name.clone(), reference.clone());
        if let Some(Answer::Manifest(record)) = self.find(&question) {
            return Ok(Some((*record).clone()));
        }
        let before = self.sql.revision();
        let found = self.inner.manifest(name, reference).await?;
        if let Some(record) = &found {
            self.keep(before, question, Answer::Manifest(Arc::new(record.clone())));
        }
        Ok(found)
    }

    async fn manifest_stat(&self, name: &RepositoryName, reference: &Reference) -> Result<Option<ManifestStat>> {
        let question = Question::Manifest(name.clone(), reference.clone());
        match self.find(&question) {
            Some(Answer::Manifest(record)) => return Ok(Some(record.stat.clone())),
            Some(Answer::Stat(stat)) => return Ok(Some((*stat).clone())),
            _ => {}
        }
        let before = self.sql.revision();
        let found = self.inner.manifest_stat(name, reference).await?;
        if let Some(stat) = &found {
            self.keep(before, question, Answer::Stat(Arc::new(stat.clone())));
        }
        Ok(found)
    }

    async fn places(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Places>> {
        let question = Question::Places(name.clone(), *digest);
        if let Some(Answer::Places(places)) = self.find(&question) {
            return Ok(Some((*places).clone()));
        }
        let before = self.sql.revision();
        let found = self.inner.places(name, digest).await?;
        if let Some(places) = &found {
            self.keep(before, question, Answer::Places(Arc::new(places.clone())));
        }
        Ok(found)
    }

    async fn newest_places(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Places>> {
        self.inner.newest_places(name, digest).await
    }

    async fn exists(&self, name: &RepositoryName) -> Result<bool> {
        self.inner.exists(name).await
    }
}
