//! The staged bytes of one attempt: opened where the session stands, made durable step by step.

use std::sync::Arc;

use futures::future::BoxFuture;
use roadstead_metadata::Millis;
use roadstead_metadata::records::upload::StagedPart;
use roadstead_storage::{Engine, ObjectKey, Part, Writer};
use uuid::Uuid;

use crate::clock::new_id;
use crate::ingest::abandon;
use crate::{Clock, Result};

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
    ) -> Self {
        Self { engine, clock, session, incarnation, settled: parts, open: None, touched: Vec::new() }
    }

    /// The writer to append to: of the last part when this incarnation made it and the engine can extend it, else
    /// of a new part.
    pub(super) async fn writer(&mut self) -> Result<&mut dyn Writer> {
        if self.open.is_none() {
            self.open = Some(self.open_part().await?);
        }
        match &mut self.open {
            Some(open) => Ok(&mut *open.writer),
            None => Err(crate::Error::Internal("stage without an open part".to_owned())),
        }
    }

    async fn open_part(&mut self) -> Result<OpenPart> {
        let Some(extend) = self.engine.extend() else {
            let key = self.new_key()?;
            let writer = self.engine.writer(&key).await?;
            self.touched.push(key.clone());
            return Ok(OpenPart { key, before: 0, writer });
        };
        let own = self.settled.pop_if(|last| last.made_by == self.incarnation);
        let (key, before) = match own {
            Some(part) => (ObjectKey::new(part.key)?, part.length),
            None => (self.new_key()?, 0),
        };
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

    /// Starts making durable what has been written; answers when it is. Only for engines that extend.
    pub(super) fn sync(&mut self) -> Option<BoxFuture<'static, std::result::Result<(), roadstead_storage::Error>>> {
        let open = self.open.as_mut()?;
        self.engine.extend().map(|_| open.writer.sync())
    }

    /// Makes durable and closes what this attempt wrote; `written` as for [`Stage::parts`].
    pub(super) async fn settle(&mut self, written: u64) -> Result<()> {
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

    /// Closes what is open as it is: the row may name it, or may not.
    pub(super) async fn close(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(error) = open.writer.finish().await
        {
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

    /// The parts as sources of a compose. Only what this incarnation made, and objects that cannot be extended by
    /// anybody, are sealed: another incarnation might still be writing beyond what it was acknowledged.
    pub(super) fn sources(&self) -> Result<Vec<Part>> {
        let immutable = self.engine.extend().is_none();
        let sources = self.settled.iter().filter(|part| part.length > 0).map(|part| {
            let sealed = immutable || part.made_by == self.incarnation;
            Ok(Part { key: ObjectKey::new(part.key.as_str())?, length: part.length, sealed })
        });
        sources.collect()
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
