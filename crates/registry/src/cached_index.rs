//! Keeps the answers of an index in memory, for as long as nothing can have changed them.
//!
//! An answer is kept with the revision of metadata under which it was asked for ([`Sql::revision`]) and counts only
//! under that same one. So it is never older than an answer from metadata would be, whatever it is about: what a tag
//! names, whether a repository links a blob, where the bytes are. Where metadata has no revision, because other
//! processes commit too, nothing is kept. That something is absent is not kept either: there is no end of what is not
//! there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use roadstead_metadata::Sql;
use roadstead_metadata::records::blob::Places;
use roadstead_metadata::records::manifest::{ManifestRecord, ManifestStat};
use roadstead_oci::{Digest, Reference, RepositoryName};

use crate::{Index, Result};

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
    /// The revision that something was last kept under.
    newest: AtomicU64,
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
    /// Keeps answers of `inner`, which asks `sql`: `bytes` of them at most, with what it takes to keep them.
    pub(crate) fn new(inner: I, sql: Arc<dyn Sql>, bytes: u64) -> Self {
        let kept = Cache::with_weighter(bytes as usize / USUAL, bytes, Bytes);
        Self { inner, sql, kept, newest: AtomicU64::new(0) }
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
            // None of those under another revision will ever count again: where much is pushed they would be all there is.
            if self.newest.swap(revision, Ordering::Relaxed) != revision {
                self.kept.clear();
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Statement, Status};

    use crate::Limits;

    use super::*;
    use crate::SqlIndex;

    /// Metadata that has a revision and nothing else.
    #[derive(Debug)]
    struct Revised(AtomicU64);

    #[async_trait]
    impl Sql for Revised {
        async fn query_many(&self, _: Freshness, _: Vec<Statement>) -> std::result::Result<Vec<Rows>, QueryError> {
            Err(QueryError::Failed("nothing is asked".to_owned()))
        }

        async fn commit(&self, _: Batch) -> std::result::Result<Committed, CommitError> {
            Err(CommitError::Unavailable("nothing is committed".to_owned()))
        }

        fn status(&self) -> Status {
            Status::Writable
        }

        fn revision(&self) -> Option<u64> {
            Some(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn what_can_never_count_again_is_not_kept() {
        let sql = Arc::new(Revised(AtomicU64::new(1)));
        let index = CachedIndex::new(SqlIndex::new(sql.clone()), sql.clone(), Limits::KEPT);
        let keep = |tag: &str| {
            let question = Question::Manifest("a/b".parse().unwrap(), tag.parse().unwrap());
            let stat = ManifestStat {
                digest: Digest::of(roadstead_oci::Algorithm::Sha256, tag.as_bytes()),
                media_type: "x/y".to_owned(),
                size: 1,
                untagged_since: None,
            };
            index.keep(sql.revision(), question, Answer::Stat(Arc::new(stat)));
        };
        ["one", "two", "three"].iter().for_each(|tag| keep(tag));
        assert_eq!(index.kept.len(), 3);
        sql.0.store(2, Ordering::Relaxed);
        keep("four");
        assert_eq!(index.kept.len(), 1);
    }
}
