//! Commits of an upload whose answer was lost, and which land when its client has already begun again.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_registry::{ByteStream, Chunk, Error, Registry};
use roadstead_storage::{Engine, Filesystem};
use tempfile::TempDir;

use crate::rig::{ME, Rig, body, length, name, noise, sha256};
use crate::steps::{REPO, received, small_steps, start};
use crate::store::Forgetful;

/// What becomes of the commits.
#[derive(Debug)]
enum Mail {
    Prompt,
    /// Their answers are lost, and of the first it is not decided yet whether it happens.
    Lost(Option<Batch>),
    /// This one happens just before the next.
    Overdue(Batch),
}

/// Metadata that lets a commit happen late.
#[derive(Debug)]
struct Tardy {
    inner: Arc<dyn Sql>,
    mail: Mutex<Mail>,
}

impl Tardy {
    fn lose(&self) {
        *self.mail.lock() = Mail::Lost(None);
    }

    /// What was lost happens before the next commit.
    fn remember(&self) {
        let mut mail = self.mail.lock();
        if let Mail::Lost(Some(batch)) = std::mem::replace(&mut *mail, Mail::Prompt) {
            *mail = Mail::Overdue(batch);
        }
    }

    /// What was lost happens now.
    async fn land(&self) {
        let mail = std::mem::replace(&mut *self.mail.lock(), Mail::Prompt);
        if let Mail::Overdue(batch) = mail {
            self.inner.commit(batch).await.unwrap();
        }
    }
}

#[async_trait]
impl Sql for Tardy {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        self.inner.query_many(freshness, statements).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        if let Mail::Lost(first) = &mut *self.mail.lock() {
            first.get_or_insert(batch);
            return Err(CommitError::Unknown("no answer".into()));
        }
        self.land().await;
        self.inner.commit(batch).await
    }

    fn status(&self) -> Status {
        Status::Writable
    }

    fn revision(&self) -> Option<u64> {
        None
    }
}

/// A session of 500 bytes, 1000 more of which it is not known whether they count.
struct Doubt {
    rig: Rig,
    registry: Arc<Registry>,
    sql: Arc<Tardy>,
    session: String,
    content: Vec<u8>,
}

impl Doubt {
    async fn over(store: Arc<dyn Engine>) -> Self {
        let rig = Rig::with(store, small_steps()).await;
        let sql = Arc::new(Tardy { inner: rig.sql.clone(), mail: Mutex::new(Mail::Prompt) });
        let registry = rig.restarted_over(sql.clone()).await;
        let (session, content) = (start(&rig).await, noise(7, 1500));
        let doubt = Self { rig, registry, sql, session, content };
        doubt.append(body(&doubt.content[..500])).await.unwrap();
        doubt.sql.lose();
        let lost = doubt.append(body(&doubt.content[500..])).await;
        assert!(matches!(lost, Err(Error::Uncertain(_))), "{lost:?}");
        doubt.sql.remember();
        assert_eq!(received(&doubt.rig, &doubt.session).await, 500);
        doubt
    }

    /// Over all kinds of stores: what cannot be extended, what can, and a directory.
    async fn everywhere() -> Vec<(Self, Option<TempDir>)> {
        let directory = tempfile::tempdir().unwrap();
        let disk = Filesystem::open(directory.path()).unwrap();
        vec![
            (Self::over(Arc::new(Forgetful::new(false))).await, None),
            (Self::over(Arc::new(Forgetful::new(true))).await, None),
            (Self::over(Arc::new(disk)).await, Some(directory)),
        ]
    }

    async fn append(&self, bytes: ByteStream) -> roadstead_registry::Result<u64> {
        let chunk = Chunk::default();
        let moved = self.registry.append_upload(&ME, &name(REPO), &self.session, chunk, bytes).await?;
        Ok(moved.received)
    }

    async fn finish(&self, content: &[u8]) -> roadstead_registry::Result<()> {
        let digest = sha256(content);
        self.registry.finish_upload(&ME, &name(REPO), &self.session, digest, length(b""), body(b"")).await
    }

    /// The first commit counted, and the session goes on with what it named.
    async fn is_whole(&self, case: &str) {
        assert_eq!(received(&self.rig, &self.session).await, 1500, "{case}");
        self.finish(&self.content).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(self.rig.pull(REPO, &sha256(&self.content)).await.unwrap(), self.content, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lands_after_its_client_began_again_finds_its_bytes() {
    for (doubt, _directory) in Doubt::everywhere().await {
        let again = doubt.append(body(&doubt.content[500..900])).await;
        assert!(matches!(again, Err(Error::UploadBusy)), "{again:?}");
        doubt.is_whole("another chunk").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lands_after_other_bytes_came_and_died_finds_its_own() {
    for (doubt, _directory) in Doubt::everywhere().await {
        let other = futures::stream::iter(
            noise(8, 1000).chunks(100).map(|chunk| Ok(chunk.to_vec().into())).collect::<Vec<_>>(),
        );
        let dies = other.chain(futures::stream::poll_fn(|_| panic!("a fault of the registry")));
        let died = doubt.append(dies.boxed()).await;
        assert!(matches!(died, Err(Error::Internal(_))), "{died:?}");
        doubt.sql.land().await;
        doubt.is_whole("other bytes").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lands_while_its_session_is_finished_without_it_finds_its_bytes() {
    for (doubt, _directory) in Doubt::everywhere().await {
        let short = doubt.finish(&doubt.content[..500]).await;
        assert!(matches!(short, Err(Error::UploadBusy)), "{short:?}");
        doubt.is_whole("finished too early").await;
    }
}

/// What did not happen is sent again, and the session goes on as if nothing had been.
#[tokio::test(start_paused = true)]
async fn a_session_goes_on_when_what_was_lost_never_lands() {
    for (doubt, _directory) in Doubt::everywhere().await {
        *doubt.sql.mail.lock() = Mail::Prompt;
        assert_eq!(doubt.append(body(&doubt.content[500..900])).await.unwrap(), 900);
        assert_eq!(doubt.append(body(&doubt.content[900..])).await.unwrap(), 1500);
        doubt.is_whole("sent again").await;
        doubt.registry.settled().await;
        let parts = doubt.rig.objects("uploads/").await;
        assert!(parts.len() <= 1, "{parts:?}");
    }
}
