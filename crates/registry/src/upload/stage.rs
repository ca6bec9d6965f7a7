//! The staged bytes of one attempt: opened where the session stands, made durable step by step.

use std::sync::Arc;

use futures::future::BoxFuture;
use roadstead_metadata::Millis;
use roadstead_metadata::records::upload::StagedPart;
use roadstead_storage::{Engine, ErrorKind, ObjectKey, Part, Writer};
use uuid::Uuid;

use crate::clock::new_id;
use crate::ingest::abandon;
use crate::{Clock, Error, Result};

/// Where objects cannot be extended each step makes one, and the row names them all: after so many of them the next
/// steps are twice as long. What is lost with a broken process grows with what had arrived.
const PIECES_OF_A_STEP: usize = 500;
/// Longer than this no step grows, which is enough for blobs of 1 TiB.
const LONGEST_STEP: u64 = 256 << 20;

/// Where the staged objects of all sessions are.
pub fn staging_prefix() -> &'static str {
    "uploads/"
}

/// The session that a staged object belongs to, by its key: `uploads/<session>-<part>`, both ids without hyphens.
pub fn staged_session(key: &ObjectKey) -> Option<Uuid> {
    let rest = key.as_str().strip_prefix(staging_prefix())?;
    Uuid::try_parse(rest.split_once('-')?.0).ok()
}

/// When a staged object was begun, by its key, as milliseconds since the Unix epoch.
pub fn staged_at(key: &ObjectKey) -> Option<Millis> {
    let part = key.as_str().strip_prefix(staging_prefix())?.split_once('-')?.1;
    let (seconds, nanoseconds) = Uuid::try_parse(part).ok()?.get_timestamp()?.to_unix();
    Millis::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(Millis::from(nanoseconds / 1_000_000))
}

/// The parts of a session while one attempt adds to them.
pub(super) struct Stage {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    session: Uuid,
    incarnation: Uuid,
    /// Parts whose length will not change by this attempt.
    settled: Vec<StagedPart>,
    open: Option<OpenPart>,
    /// How many parts there may be where none can be extended.
    most: usize,
    /// The objects that this attempt wrote to.
    touched: Vec<ObjectKey>,
}

struct OpenPart {
    key: ObjectKey,
    /// Bytes of it that stood before this attempt.
    before: u64,
    writer: Box<dyn Writer>,
}

impl Stage {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        session: Uuid,
        incarnation: Uuid,
        parts: Vec<StagedPart>,
        most: usize,
    ) -> Self {
        Self { engine, clock, session, incarnation, settled: parts, open: None, most, touched: Vec::new() }
    }

    /// Bytes until the next commit, where `first` are those of the first steps.
    pub(super) fn step(&self, first: u64) -> u64 {
        match self.engine.extend() {
            Some(_) => first,
            None => step_after(self.settled.len(), first),
        }
    }

    /// The writer to append to: of the last part when this incarnation made it, the engine can extend it and it has
    /// nothing beyond what is acknowledged, else of a new part.
    pub(super) async fn writer(&mut self) -> Result<&mut dyn Writer> {
        if self.open.is_none() {
            self.open = Some(self.open_part().await?);
        }
        match &mut self.open {
            Some(open) => Ok(&mut *open.writer),
            None => Err(Error::Internal("stage without an open part".to_owned())),
        }
    }

    /// Whether no piece can follow those that there are.
    pub(super) fn is_full(&self) -> bool {
        self.open.is_none() && self.engine.extend().is_none() && self.settled.len() >= self.most
    }

    async fn open_part(&mut self) -> Result<OpenPart> {
        let Some(extend) = self.engine.extend() else {
            if self.is_full() {
                return Err(Error::TooManyPieces { most: self.most });
            }
            let key = self.new_key()?;
            let writer = self.engine.writer(&key).await?;
            self.touched.push(key.clone());
            return Ok(OpenPart { key, before: 0, writer });
        };
        let (key, before) = match self.settled.last() {
            Some(last) if is_ours_alone(&*self.engine, self.incarnation, last).await? => {
                (ObjectKey::new(last.key.as_str())?, last.length)
            }
            _ => (self.new_key()?, 0),
        };
        self.settled.pop_if(|last| last.key == key.as_str());
        self.touched.push(key.clone());
        let writer = extend.append(&key, before).await?;
        Ok(OpenPart { key, before, writer })
    }

    fn new_key(&self) -> Result<ObjectKey> {
        let part = new_id(&*self.clock);
        Ok(ObjectKey::new(format!("{}{}-{}", staging_prefix(), self.session.simple(), part.simple()))?)
    }

    /// All parts, the open one with `written` bytes of this attempt.
    pub(super) fn parts(&self, written: u64) -> Vec<StagedPart> {
        let mut parts = self.settled.clone();
        if let Some(open) = &self.open {
            let length = open.before + written;
            parts.push(StagedPart { key: open.key.to_string(), length, made_by: self.incarnation });
        }
        parts
    }

    /// Starts making durable what has been written, `written` as for [`Stage::parts`]; answers when it is. Where objects
    /// cannot be extended the open one ends with that, and what comes next goes into another.
    pub(super) fn sync(
        &mut self,
        written: u64,
    ) -> Option<BoxFuture<'static, std::result::Result<(), roadstead_storage::Error>>> {
        if self.engine.extend().is_some() {
            return self.open.as_mut().map(|open| open.writer.sync());
        }
        let parts = self.parts(written);
        let OpenPart { writer, .. } = self.open.take()?;
        self.settled = parts;
        Some(Box::pin(async move { writer.finish().await.map(drop) }))
    }

    /// Whether bytes can be added to an object that has some.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Makes durable and closes what this attempt wrote; `written` as for [`Stage::parts`]. Where each step makes an
    /// object, one that nothing was written to is none: a chunk that ends with a step needs no other.
    pub(super) async fn settle(&mut self, written: u64) -> Result<()> {
        if written == 0
            && self.engine.extend().is_none()
            && let Some(open) = self.open.take()
        {
            self.touched.retain(|key| *key != open.key);
            abandon(open.writer).await;
        }
        let parts = self.parts(written);
        if let Some(open) = self.open.take() {
            open.writer.finish().await?;
        }
        self.settled = parts;
        Ok(())
    }

    /// Gives up what this attempt wrote and the session's row does not name, of which `named` are the parts: an object
    /// that it names shrinks to the length it names, any other goes. Returns only when no write is under way any more:
    /// the next attempt may open the same object.
    pub(super) async fn roll_back(&mut self, named: &[StagedPart]) {
        if let Some(open) = self.open.take() {
            match self.engine.extend() {
                // Aborting would also undo what earlier steps of this attempt acknowledged.
                Some(_) => drop(open.writer),
                None => abandon(open.writer).await,
            }
        }
        for key in std::mem::take(&mut self.touched) {
            let kept = named.iter().find(|part| part.key == key.as_str()).map_or(0, |part| part.length);
            if let Err(error) = cut(&*self.engine, &key, kept).await {
                tracing::warn!(%error, %key, "bytes of a failed upload request stay until the purge of upload sessions");
            }
        }
    }

    /// Closes what is open: the row may name what was made durable of it, or may not. Where objects cannot be extended
    /// it names only what was finished, and nothing counts on the open one.
    pub(super) async fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if self.engine.extend().is_none() {
            abandon(open.writer).await;
        } else if let Err(error) = open.writer.finish().await {
            tracing::debug!(%error, "staged object closed after a failed attempt");
        }
    }

    /// The session has ended: hands over the keys of all its objects, for their deletion.
    pub(super) fn into_keys(self) -> Vec<String> {
        let mut keys: Vec<String> = self.settled.into_iter().map(|part| part.key).collect();
        keys.extend(self.touched.into_iter().map(|key| key.to_string()));
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The parts as sources of a compose. Only objects that cannot be extended by anybody are sealed, and those that
    /// nobody counts on beyond what is acknowledged: an engine may cut what is sealed.
    pub(super) async fn sources(&mut self) -> Result<Vec<Part>> {
        let immutable = self.engine.extend().is_none();
        let mut sources = Vec::with_capacity(self.settled.len());
        for part in self.settled.iter().filter(|part| part.length > 0) {
            let sealed = immutable || is_ours_alone(&*self.engine, self.incarnation, part).await?;
            sources.push(Part { key: ObjectKey::new(part.key.as_str())?, length: part.length, sealed });
        }
        Ok(sources)
    }
}

/// Bytes of the step after so many pieces.
fn step_after(pieces: usize, first: u64) -> u64 {
    let doublings = u32::try_from(pieces / PIECES_OF_A_STEP).unwrap_or(u32::MAX).min(32);
    first.saturating_mul(1 << doublings).min(LONGEST_STEP.max(first))
}

/// Whether nobody counts on bytes of this part, which can be extended, beyond those that the row names. Where another
/// incarnation made it, that one might. Where there are more bytes, an attempt of this one left them: the answer to
/// its commit was lost, or it died. That commit may still happen, and then the row names them. Every other attempt that
/// failed took back what it wrote.
async fn is_ours_alone(engine: &dyn Engine, incarnation: Uuid, part: &StagedPart) -> Result<bool> {
    if part.made_by != incarnation {
        return Ok(false);
    }
    match engine.stat(&ObjectKey::new(part.key.as_str())?).await {
        Ok(stat) => Ok(stat.size <= part.length),
        // A part without bytes need not be there; of any other the engine says that it lacks some.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Leaves the first `length` bytes of a staged object, or nothing of it.
async fn cut(engine: &dyn Engine, key: &ObjectKey, length: u64) -> std::result::Result<(), roadstead_storage::Error> {
    match engine.extend() {
        _ if length == 0 => engine.delete(key).await,
        Some(extend) => extend.append(key, length).await?.finish().await.map(drop),
        // It has exactly the bytes that are named.
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use roadstead_metadata::records::upload::{UploadRecord, advance};
    use roadstead_metadata::{BATCH_BYTES, Batch};

    use super::*;
    use crate::Limits;

    #[test]
    fn an_upload_of_a_tebibyte_has_pieces_enough_and_its_row_fits_into_a_commit() {
        let limits = Limits::default();
        let (mut bytes, mut pieces) = (0, 0);
        while bytes < 1 << 40 {
            bytes += step_after(pieces, limits.step);
            pieces += 1;
        }
        assert!(pieces < limits.pieces, "{pieces} pieces");
        assert_eq!((step_after(499, 16 << 20), step_after(500, 16 << 20)), (16 << 20, 32 << 20));

        let id = Uuid::from_u128(u128::MAX);
        let key = format!("{}{}-{}", staging_prefix(), id.simple(), id.simple());
        let part = StagedPart { key, length: 1 << 40, made_by: id };
        let row = UploadRecord {
            id,
            repository: "r".repeat(255),
            location: id,
            epoch: i64::MAX,
            received: 1 << 60,
            hash_state: vec![255; 1_000],
            parts: vec![part; limits.pieces],
            created_at: Millis::MAX,
            updated_at: Millis::MAX,
            closed_at: None,
        };
        let mut batch = Batch::new(id, Millis::MAX);
        batch.extend(advance(&row, &row));
        batch.check().unwrap();
        assert!(batch.size() < BATCH_BYTES);
    }
}
