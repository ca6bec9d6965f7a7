//! One request that adds bytes to a session.
//!
//! The attempt runs on a task of its own: when the client's connection breaks, what arrived is still made durable and
//! acknowledged in the row. Every [`Limits::step`](crate::Limits::step) bytes, or more where that would make too many
//! objects, a step ends: its fsync runs, or its object is made, while the next one arrives, and as soon as that is done
//! the offset, the hash and the parts are committed, however slowly the client goes on. After any other failure no
//! staged byte stays that the row does not name.

use std::sync::Arc;

use roadstead_metadata::records::upload::{self, UploadRecord};
use roadstead_oci::{Hasher, RepositoryName};
use roadstead_storage::Location;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;

use super::sessions::Turn;
use super::stage::Stage;
use super::{Chunk, Session, UploadProgress};
use crate::ingest::{check_announced, check_not_beyond, step_within};
use crate::pump::Pump;
use crate::{Action, BodyError, ByteStream, Caller, Error, Registry, Result};

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
        let name = self.access(caller, Action::Push, name).await?;
        self.writable()?;
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
    pub(super) turn: Turn,
    pub(super) session: Session,
    pub(super) location: Location,
    pub(super) stage: Stage,
    /// Runs over all bytes of the session, acknowledged or not.
    pub(super) hasher: Hasher,
    /// Where the session stood when the attempt began.
    began_at: u64,
    /// Where what the stage has open begins to be of this attempt.
    opened_at: u64,
    /// A step that is being made durable, and the row to commit once it is.
    pending: Option<(JoinHandle<Durable>, UploadRecord)>,
}

/// How the task ended that made a step durable.
type Durable = std::result::Result<(), roadstead_storage::Error>;

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
        let (engine, clock, most) = (location.engine.clone(), registry.clock.clone(), registry.limits.pieces);
        let stage = Stage::new(engine, clock, id, registry.incarnation, parts, most);
        let began_at = session.received();
        Ok(Self { registry, turn, session, location, stage, hasher, began_at, opened_at: began_at, pending: None })
    }

    /// Takes the body in. On an error nothing beyond the last committed step counts, except after a body that broke
    /// off: [`Attempt::end`] then keeps what arrived. Of a body that is longer than announced no more is taken, and no
    /// step is committed once that is known.
    pub(super) async fn run(&mut self, chunk: &Chunk, body: ByteStream) -> Result<()> {
        let announced = chunk.announced();
        let mut pump = Pump::new(body, self.turn.stop.clone());
        loop {
            let step = step_within(announced, self.taken(), self.stage.step(self.registry.limits.step));
            // What is wrong with the step before comes first: the row may name it, and then nothing of it may go.
            let pumped = self.advance(&mut pump, step).await?;
            check_not_beyond(announced, self.taken())?;
            self.registry.check_size(self.hasher.length())?;
            if !pumped? {
                return check_announced(announced, self.taken());
            }
            self.step().await?;
        }
    }

    /// Takes in about `step` bytes more, and meanwhile commits the step before as soon as it is durable. When that
    /// fails, with the outer error, the body is not waited for. No write and no commit is under way afterwards.
    async fn advance(&mut self, pump: &mut Pump, step: u64) -> Result<Result<bool>> {
        let Self { registry, turn, session, stage, hasher, pending, .. } = self;
        let mut moving = std::pin::pin!(async {
            // What ends with the last piece that there can be is not too much.
            if stage.is_full() && pump.is_over().await? {
                return Ok(false);
            }
            pump.advance(hasher, stage.writer().await?, step).await
        });
        let ended = match pending {
            None => return Ok(moving.await),
            Some((durable, _)) => tokio::select! {
                biased;
                moved = &mut moving => return Ok(moved),
                ended = durable => ended,
            },
        };
        let committing = async {
            let committed = match (check_durable(ended), pending.take()) {
                (Ok(()), Some((_, row))) => commit(registry, session, row).await,
                (checked, _) => checked,
            };
            if committed.is_err() {
                turn.stop.cancel();
            }
            committed
        };
        let (moved, committed) = futures::join!(moving, committing);
        committed.map(|()| moved)
    }

    /// Bytes of the body that have been taken.
    fn taken(&self) -> u64 {
        self.hasher.length() - self.began_at
    }

    /// Bytes this attempt has added to what the stage has open.
    fn written(&self) -> u64 {
        self.hasher.length() - self.opened_at
    }

    /// Commits the step before, and starts making this one durable.
    async fn step(&mut self) -> Result<()> {
        self.commit_pending().await?;
        let row = self.row();
        if let Some(durable) = self.stage.sync(self.written()) {
            self.pending = Some((tokio::spawn(durable), row));
        }
        if !self.stage.is_open() {
            self.opened_at = self.hasher.length();
        }
        Ok(())
    }

    async fn commit_pending(&mut self) -> Result<()> {
        if let Some((durable, row)) = self.pending.take() {
            check_durable(durable.await)?;
            commit(self.registry, &mut self.session, row).await?;
        }
        Ok(())
    }

    /// Ends the attempt: acknowledges what arrived, also of a body that broke off.
    pub(super) async fn end(mut self, outcome: Result<()>) -> Result<UploadProgress> {
        match outcome {
            Ok(()) => match self.acknowledge().await {
                Ok(()) => Ok(self.session.progress()),
                Err(error) => Err(self.give_up(error).await),
            },
            Err(Error::Body(BodyError::Superseded)) => Err(self.give_up(Error::UploadBusy).await),
            Err(Error::Body(error)) => {
                if self.taken() > 0
                    && let Err(lost) = self.acknowledge().await
                {
                    let lost = self.give_up(lost).await;
                    tracing::warn!(error = %lost, "bytes of a broken upload request are not kept");
                }
                Err(Error::Body(error))
            }
            Err(error) => Err(self.give_up(error).await),
        }
    }

    /// Frees what this attempt wrote and the row does not name. A commit that may have happened may name it: then it
    /// stays. What to answer: a writer that failed because the session ended under it is no fault of ours.
    async fn give_up(&mut self, error: Error) -> Error {
        if let Some((durable, _)) = self.pending.take() {
            // However it ends, it is not committed; but what it makes must not come after it was removed.
            let _ = durable.await;
        }
        if error.nothing_happened() {
            let named = self.session.row.as_ref().map_or(&[][..], |row| &row.parts);
            self.stage.roll_back(named).await;
        } else {
            self.stage.close().await;
        }
        if !matches!(error, Error::Internal(_) | Error::Damaged(_)) {
            return error;
        }
        match self.registry.session(&self.session.name, &self.session.text).await {
            Err(Error::UploadUnknown) => Error::UploadUnknown,
            Ok(now) if now.received() != self.session.received() => Error::UploadBusy,
            _ => error,
        }
    }

    async fn acknowledge(&mut self) -> Result<()> {
        self.settle().await?;
        let row = self.row();
        commit(self.registry, &mut self.session, row).await
    }

    /// Makes everything of this attempt durable, without committing it.
    pub(super) async fn settle(&mut self) -> Result<()> {
        // First, since it waits for writes under way: whatever fails afterwards, nothing is written behind our back.
        let settled = self.stage.settle(self.written()).await;
        if settled.is_ok() {
            self.opened_at = self.hasher.length();
        }
        // The step before is whole, whatever became of the last bytes.
        self.commit_pending().await?;
        settled
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
}

fn check_durable(ended: std::result::Result<Durable, JoinError>) -> Result<()> {
    Ok(ended.map_err(|e| Error::Internal(format!("task of a step: {e}")))??)
}

/// Commits the session's row, which must not have changed since it was read.
async fn commit(registry: &Registry, session: &mut Session, row: UploadRecord) -> Result<()> {
    let mut batch = registry.batch();
    match &session.row {
        Some(before) => batch.extend(upload::advance(before, &row)),
        None => batch.push(upload::create(&row)),
    };
    if !registry.try_commit(batch).await? {
        return Err(Error::UploadBusy);
    }
    session.row = Some(row);
    Ok(())
}
