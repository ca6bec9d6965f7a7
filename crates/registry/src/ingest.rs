//! The door through which all bytes come in.
//!
//! Bytes before metadata: the object is published whole, verified and durable, and only then one batch makes it
//! known. A crash in between leaves an object nobody names, never a name without an object; scrub finds it, and a commit
//! that comes after it was given to the reaper is refused.

use std::sync::Arc;

use roadstead_metadata::Batch;
use roadstead_metadata::records::blob;
use roadstead_metadata::records::placement::{self, Placement};
use roadstead_metadata::records::upload::{self, UploadRecord};
use roadstead_oci::{Digest, Hasher};
use roadstead_storage::{Engine, ObjectKey, Writer};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::commit::ROUNDS;
use crate::pump::Pump;
use crate::{Admitted, ByteStream, Error, Registry, Result};

/// How many bytes a request announced, if it did.
pub(crate) type Announced = Option<u64>;

/// Bytes taken in before the size of a blob is judged again.
const LOOK: u64 = 64 << 20;

/// The upload session that a blob's commit ends.
#[derive(Clone, Copy)]
pub(crate) enum Ends<'a> {
    /// None: the blob came without one.
    Nothing,
    /// One whose bytes were staged; it must not have moved since.
    Staged(&'a UploadRecord),
    /// One without a row, by its id; it must have none yet.
    Fresh(Uuid),
}

impl Registry {
    /// Takes in a blob whose digest is known in advance: streams it straight to its final key, verifies, publishes,
    /// and links it to the repository.
    pub(crate) async fn ingest(
        &self,
        name: &Admitted,
        digest: Digest,
        announced: Announced,
        body: ByteStream,
    ) -> Result<()> {
        let placement = self.publish(digest, announced, body, CancellationToken::new()).await?;
        self.commit_blob(name, &placement, Ends::Nothing).await
    }

    /// Where an object of `digest` will be published; nothing is written yet.
    pub(crate) fn plan(&self, digest: Digest, size: u64) -> Result<Placement> {
        let object_key = new_object_key(&digest);
        Ok(Placement { digest, location: self.preferred().id, object_key, size })
    }

    /// Publishes verified bytes at the preferred location; metadata does not know of them yet. `stop` ends the body
    /// with [`BodyError::Superseded`](crate::BodyError::Superseded).
    pub(crate) async fn publish(
        &self,
        digest: Digest,
        announced: Announced,
        body: ByteStream,
        stop: CancellationToken,
    ) -> Result<Placement> {
        let planned = self.plan(digest, 0)?;
        let size = self.publish_as(&planned, announced, body, stop).await?;
        Ok(Placement { size, ..planned })
    }

    /// Publishes verified bytes where they were planned to be; how many they are.
    pub(crate) async fn publish_as(
        &self,
        planned: &Placement,
        announced: Announced,
        body: ByteStream,
        stop: CancellationToken,
    ) -> Result<u64> {
        let (location, digest) = (self.preferred(), planned.digest);
        let key = ObjectKey::new(planned.object_key.as_str())?;
        let mut writer = location.engine.writer(&key).await?;
        let pump = Pump::new(body, stop);
        let size = match self.fill(&mut *writer, &digest, announced, pump).await {
            Ok(size) => size,
            Err(error) => {
                abandon(writer).await;
                return Err(error);
            }
        };
        let published = writer.finish().await?;
        self.verified.note(location.id, &key, published.version);
        Ok(size)
    }

    async fn fill(
        &self,
        writer: &mut dyn Writer,
        expected: &Digest,
        announced: Announced,
        mut pump: Pump,
    ) -> Result<u64> {
        let mut hasher = Hasher::new(expected.algorithm());
        loop {
            let step = step_within(announced, hasher.length(), LOOK);
            let more = pump.advance(&mut hasher, writer, step).await?;
            self.check_size(hasher.length())?;
            check_not_beyond(announced, hasher.length())?;
            if !more {
                break;
            }
        }
        let size = hasher.length();
        check_announced(announced, size)?;
        verify(expected, hasher.finish())?;
        Ok(size)
    }

    /// A blob may not be larger than the configured limit.
    pub(crate) fn check_size(&self, size: u64) -> Result<()> {
        match self.limits.blob {
            Some(limit) if size > limit => Err(Error::TooLarge { limit }),
            _ => Ok(()),
        }
    }

    /// Makes a published object known: blob, placement, the repository's link, and the end of its upload session,
    /// in one batch.
    pub(crate) async fn commit_blob(&self, name: &Admitted, placement: &Placement, ends: Ends<'_>) -> Result<()> {
        let outcome = self.try_commit_blob(name, placement, ends).await;
        self.discard_unless_named(&outcome, placement).await;
        outcome
    }

    async fn try_commit_blob(&self, name: &Admitted, placement: &Placement, ends: Ends<'_>) -> Result<()> {
        // The bytes may have taken hours.
        let name = &self.access_again(name).await?;
        for _ in 0..ROUNDS {
            let target = self.push_target(name).await?;
            let mut batch = self.batch();
            let at = batch.at;
            target.ensure(self, name, &mut batch).await?;
            add_blob(&mut batch, target.id, placement);
            match ends {
                Ends::Nothing => {}
                Ends::Staged(session) => {
                    batch.push(upload::guard(session)).push(upload::close(session.id, at));
                }
                Ends::Fresh(id) => {
                    batch.push(upload::create_closed(id, name.as_str(), placement.location, at));
                }
            }
            if self.try_commit(batch).await? {
                return Ok(());
            }
            self.still(ends).await?;
        }
        Err(Error::Contended)
    }

    /// Fails when the session has moved on or ended since it was read.
    async fn still(&self, ends: Ends<'_>) -> Result<()> {
        let (id, was) = match ends {
            Ends::Nothing => return Ok(()),
            Ends::Staged(session) => (session.id, Some(session)),
            Ends::Fresh(id) => (id, None),
        };
        match (upload::get(&*self.sql, id).await?, was) {
            (None, None) => Ok(()),
            (Some(now), Some(was)) if now.closed_at.is_none() => {
                let unmoved = now.epoch == was.epoch && now.received == was.received;
                if unmoved { Ok(()) } else { Err(Error::UploadBusy) }
            }
            (Some(now), None) if now.closed_at.is_none() => Err(Error::UploadBusy),
            _ => Err(Error::UploadUnknown),
        }
    }

    /// Removes the object of a use case that failed, unless its commit may have happened all the same: that object
    /// may be named, and stays.
    pub(crate) async fn discard_unless_named<T>(&self, outcome: &Result<T>, placement: &Placement) {
        match outcome {
            Err(error) if error.nothing_happened() => self.discard(placement).await,
            _ => {}
        }
    }

    /// Removes an object that metadata surely does not name.
    async fn discard(&self, placement: &Placement) {
        let (Some(location), Ok(key)) =
            (self.locations.by_id(placement.location), ObjectKey::new(placement.object_key.as_str()))
        else {
            return;
        };
        if let Err(error) = location.engine.delete(&key).await {
            tracing::warn!(%error, digest = %placement.digest, "object of a refused push cannot be deleted and stays");
        }
    }
}

/// Blob, placement and link, in the order their foreign keys need.
pub(crate) fn add_blob(batch: &mut Batch, repository: Uuid, placement: &Placement) {
    let at = batch.at;
    batch.push(blob::arrive(&placement.digest, placement.size, at));
    batch.extend(placement::put(placement, at));
    batch.push(blob::link(repository, &placement.digest));
}

/// A new key for a blob's bytes: contains the digest, so that a store can be read without metadata, and is never
/// used twice, so that a late delete cannot hit a new push.
pub fn new_object_key(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{BLOBS}{}/{}/{hex}-{}", digest.algorithm(), &hex[..2], Uuid::now_v7().simple())
}

/// Where the objects of blobs are: their keys start with this.
pub const BLOBS: &str = "blobs/";

/// The blob whose object a key is, if it was made for one.
pub fn digest_in(object_key: &str) -> Option<Digest> {
    let (algorithm, rest) = object_key.strip_prefix(BLOBS)?.split_once('/')?;
    let (hex, _) = rest.split_once('/')?.1.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// How far a body is taken until it is looked at again: `step` bytes, or one more than was announced.
pub(crate) fn step_within(announced: Announced, taken: u64, step: u64) -> u64 {
    announced.map_or(step, |announced| step.min(announced.saturating_sub(taken).saturating_add(1)))
}

/// No more bytes may arrive than were announced; known before the body has ended.
pub(crate) fn check_not_beyond(announced: Announced, actual: u64) -> Result<()> {
    match announced {
        Some(stated) if actual > stated => check_announced(announced, actual),
        _ => Ok(()),
    }
}

/// The bytes that arrived must be those announced by length.
pub(crate) fn check_announced(announced: Announced, actual: u64) -> Result<()> {
    match announced {
        Some(stated) if stated != actual => Err(Error::SizeInvalid { what: "the request".to_owned(), stated, actual }),
        _ => Ok(()),
    }
}

/// The bytes that arrived must be those announced by digest.
pub(crate) fn verify(expected: &Digest, actual: Digest) -> Result<()> {
    if *expected == actual {
        Ok(())
    } else {
        Err(Error::DigestInvalid { expected: Box::new(*expected), actual: Box::new(actual) })
    }
}

/// Frees what a writer wrote; what a store cannot even free now, its sweep of temporary bytes finds.
pub(crate) async fn abandon(writer: Box<dyn Writer>) {
    if let Err(error) = writer.abort().await {
        tracing::warn!(%error, "bytes of a failed upload stay until temporary files are swept");
    }
}

/// Removes staged objects that nothing names any more, without anybody waiting for it: the answer is when.
pub(crate) fn forget_objects(tasks: &TaskTracker, engine: Arc<dyn Engine>, keys: Vec<String>) -> JoinHandle<()> {
    tasks.spawn(async move {
        for key in keys {
            let Ok(key) = ObjectKey::new(key) else { continue };
            if let Err(error) = engine.delete(&key).await {
                tracing::warn!(%error, %key, "staged object stays until the purge of upload sessions");
            }
        }
    })
}
