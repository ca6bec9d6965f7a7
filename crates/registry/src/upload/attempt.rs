//! One request that adds bytes to a session.
//!
//! The attempt runs on a task of its own: when the client's connection breaks, what arrived is still made durable and
//! acknowledged in the row. Every [`STEP`] bytes the offset, the hash and the parts are committed; the fsync of a step
//! runs while the next one arrives.

use std::sync::Arc;

use roadstead_metadata::records::upload::{self, UploadRecord};
use roadstead_oci::{Hasher, RepositoryName};
use roadstead_storage::Location;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::sessions::Turn;
use super::stage::Stage;
use super::{Chunk, Session, UploadProgress};
use crate::ingest::check_announced;
use crate::pump::Pump;
use crate::{Action, BodyError, ByteStream, Caller, Error, Registry, Result};

/// Bytes between two commits of the offset. One step is in flight while the next arrives, so that a crash loses
/// less than twice as much.
const STEP: u64 = 16 << 20;

impl Registry {
    /// Adds a chunk to a session (end-5): `RangeInvalid` when it does not start where the session stands. After an
    /// error the session stands at what was acknowledged, which [`Registry::upload_status`] tells.
    pub async fn append_upload(
        self: &Arc<Self>,
        caller: &Caller,
        name: &RepositoryName,
        session: &str,
        chunk: Chunk,
        body: ByteStream,
    ) -> Result<UploadProgress> {
        let name = self.access(caller, Action::Push, name)?;
        self.session(&name, session).await?.check(&chunk)?;
        let (registry, session) = (self.clone(), session.to_owned());
        on_its_own(&self.tasks, async move {
            let mut attempt = Attempt::begin(&registry, &name, &session, &chunk).await?;
            let outcome = attempt.run(&chunk, body).await;
            attempt.end(outcome).await
        })
        .await
    }
}

/// Runs on a task that a client cannot cancel by hanging up, and that [`Registry::settled`] waits for.
pub(crate) async fn on_its_own<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tasks.spawn(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Internal(format!("upload task: {error}"))),
    }
}

/// A session held by this request, and what it has added so far.
pub(super) struct Attempt<'a> {
    registry: &'a Registry,
    turn: Turn,
    pub(super) session: Session,
    pub(super) location: Location,
    pub(super) stage: Stage,
    /// Runs over all bytes of the session, acknowledged or not.
    pub(super) hasher: Hasher,
    /// Where the session stood when the attempt began.
    began_at: u64,
    /// A step whose fsync is under way, and the row to commit once it is done.
    pending: Option<(JoinHandle<std::result::Result<(), roadstead_storage::Error>>, UploadRecord)>,
}

impl<'a> Attempt<'a> {
    /// Takes the session over and opens it where it stands.
    pub(super) async fn begin(
        registry: &'a Registry,
        name: &RepositoryName,
        session: &str,
        chunk: &Chunk,
    ) -> Result<Self> {
        let id = registry.session(name, session).await?.token.id;
        let turn = registry.sessions.enter(id).await;
        let session = registry.session(name, session).await?;
        session.check(chunk)?;
        let location = match &session.row {
            None => registry.preferred().clone(),
            Some(row) => registry.locations.by_id(row.location).cloned().ok_or(Error::UploadUnknown)?,
        };
        let parts = session.row.as_ref().map(|row| row.parts.clone()).unwrap_or_default();
        let hasher = registry.running_hash(&session, &location).await?;
        let stage = Stage::new(location.engine.clone(), id, registry.incarnation, parts);
        let began_at = session.received();
        Ok(Self { registry, turn, session, location, stage, hasher, began_at, pending: None })
    }

    /// Takes the body in. On an error nothing beyond the last committed step counts, except after a body that broke
    /// off: [`Attempt::end`] then keeps what arrived.
    pub(super) async fn run(&mut self, chunk: &Chunk, body: ByteStream) -> Result<()> {
        let mut pump = Pump::new(body, self.turn.stop.clone());
        loop {
            let more = pump.advance(&mut self.hasher, self.stage.writer().await?, STEP).await?;
            self.registry.check_size(self.hasher.length())?;
            if !more {
                break;
            }
            self.step().await?;
        }
        let announced = chunk.length.or(chunk.range.map(|range| range.len()));
        check_announced(announced, self.written())
    }

    /// Bytes this attempt has added.
    fn written(&self) -> u64 {
        self.hasher.length() - self.began_at
    }

    /// Commits the step before, and starts making this one durable.
    async fn step(&mut self) -> Result<()> {
        self.commit_pending().await?;
        let row = self.row();
        match self.stage.sync() {
            Some(synced) => self.pending = Some((tokio::spawn(synced), row)),
            None => {
                self.stage.settle(self.written()).await?;
                self.began_at = self.hasher.length();
                self.commit(row).await?;
            }
        }
        Ok(())
    }

    async fn commit_pending(&mut self) -> Result<()> {
        if let Some((synced, row)) = self.pending.take() {
            synced.await.map_err(|e| Error::Internal(format!("fsync task: {e}")))??;
            self.commit(row).await?;
        }
        Ok(())
    }

    /// Ends the attempt: acknowledges what arrived, also of a body that broke off.
    pub(super) async fn end(mut self, outcome: Result<()>) -> Result<UploadProgress> {
        match outcome {
            Ok(()) => {
                self.acknowledge().await?;
                Ok(self.session.progress())
            }
            Err(Error::Body(BodyError::Superseded)) => {
                self.pending = None;
                self.stage.abort().await;
                Err(Error::UploadBusy)
            }
            Err(Error::Body(error)) => {
                if self.written() > 0
                    && let Err(lost) = self.acknowledge().await
                {
                    tracing::warn!(error = %lost, "bytes of a broken upload request are not kept");
                }
                Err(Error::Body(error))
            }
            Err(error) => {
                self.pending = None;
                self.stage.abort().await;
                Err(error)
            }
        }
    }

    async fn acknowledge(&mut self) -> Result<()> {
        self.settle().await?;
        let row = self.row();
        self.commit(row).await
    }

    /// Makes everything of this attempt durable, without committing it.
    pub(super) async fn settle(&mut self) -> Result<()> {
        // First, since it waits for writes under way: whatever fails afterwards, nothing is written behind our back.
        self.stage.settle(self.written()).await?;
        self.began_at = self.hasher.length();
        self.commit_pending().await
    }

    /// The session's row as it would be if all that has been written counted.
    fn row(&self) -> UploadRecord {
        let now = self.registry.clock.now();
        let before = self.session.row.as_ref();
        let parts = self.stage.parts(self.written());
        let foreign =
            before.is_some_and(|row| row.parts.last().is_some_and(|last| last.made_by != self.registry.incarnation));
        UploadRecord {
            id: self.session.token.id,
            repository: self.session.name.as_str().to_owned(),
            location: self.location.id,
            epoch: before.map_or(0, |row| row.epoch) + i64::from(foreign),
            received: self.hasher.length(),
            hash_state: self.hasher.save(),
            parts,
            created_at: before.map_or(now, |row| row.created_at),
            updated_at: now,
            closed_at: None,
        }
    }

    async fn commit(&mut self, row: UploadRecord) -> Result<()> {
        let mut batch = self.registry.batch();
        match &self.session.row {
            Some(before) => batch.extend(upload::advance(before, &row)),
            None => batch.push(upload::create(&row)),
        };
        if !self.registry.try_commit(batch).await? {
            return Err(Error::UploadBusy);
        }
        self.session.row = Some(row);
        Ok(())
    }
}
