//! The staged bytes of one attempt: opened where the session stands, made durable step by step.

use std::sync::Arc;

use futures::future::BoxFuture;
use roadstead_metadata::records::upload::StagedPart;
use roadstead_storage::{Engine, ObjectKey, Part, Writer};
use uuid::Uuid;

use crate::Result;
use crate::ingest::abandon;

/// Where the staged objects of all sessions are.
pub fn staging_prefix() -> &'static str {
    "uploads/"
}

/// The session that a staged object belongs to, by its key: `uploads/<session>-<part>`, both ids without hyphens.
pub fn staged_session(key: &ObjectKey) -> Option<Uuid> {
    let rest = key.as_str().strip_prefix(staging_prefix())?;
    Uuid::try_parse(rest.split_once('-')?.0).ok()
}

/// The parts of a session while one attempt adds to them.
pub(super) struct Stage {
    engine: Arc<dyn Engine>,
    session: Uuid,
    incarnation: Uuid,
    /// Parts whose length will not change by this attempt.
    settled: Vec<StagedPart>,
    open: Option<OpenPart>,
}

struct OpenPart {
    key: ObjectKey,
    /// Bytes of it that stood before this attempt.
    before: u64,
    writer: Box<dyn Writer>,
}

impl Stage {
    pub(super) fn new(engine: Arc<dyn Engine>, session: Uuid, incarnation: Uuid, parts: Vec<StagedPart>) -> Self {
        Self { engine, session, incarnation, settled: parts, open: None }
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
            return Ok(OpenPart { key, before: 0, writer });
        };
        let own = self.settled.pop_if(|last| last.made_by == self.incarnation);
        let (key, before) = match own {
            Some(part) => (ObjectKey::new(part.key)?, part.length),
            None => (self.new_key()?, 0),
        };
        let writer = extend.append(&key, before).await?;
        Ok(OpenPart { key, before, writer })
    }

    fn new_key(&self) -> Result<ObjectKey> {
        Ok(ObjectKey::new(format!("{}{}-{}", staging_prefix(), self.session.simple(), Uuid::now_v7().simple()))?)
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

    /// Gives up what this attempt wrote and nobody acknowledged. Returns only when no write is under way any more:
    /// the next attempt may open the same object. An extended object is closed as it is, since earlier steps of this
    /// attempt may count; what stands beyond its acknowledged length is discarded when it is next opened.
    pub(super) async fn abort(&mut self) {
        let Some(open) = self.open.take() else { return };
        if self.engine.extend().is_none() {
            abandon(open.writer).await;
        } else if let Err(error) = open.writer.finish().await {
            tracing::debug!(%error, "staged object closed after a failed attempt");
        }
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
