//! From the spool to the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use roadstead_storage::{Engine, Error, ErrorKind, Listed, ObjectKey};

use super::segment::{Segment, whole};
use super::{AUDIT, AuditLog, in_spool};
use crate::{Progress, StepError, Worker};

/// Segments of a spool looked at together; as many as its bytes make when each holds a few events.
const PAGE: usize = 10_000;

/// Takes what is whole in the spool to the store, oldest first.
#[derive(Debug)]
pub struct AuditUpload(Arc<AuditLog>);

impl AuditUpload {
    /// The worker of `log`.
    pub fn new(log: Arc<AuditLog>) -> Self {
        Self(log)
    }
}

#[async_trait]
impl Worker for AuditUpload {
    fn name(&self) -> &'static str {
        "audit_upload"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn step(&self) -> Result<Progress, StepError> {
        let log = &self.0;
        let _turn = log.uploading.lock().await;
        if log.waiting() == 0 {
            return Ok(Progress::IDLE);
        }
        let listed = log.spool.list(AUDIT, None, PAGE).await.map_err(in_spool)?;
        log.spooled.store(listed.iter().map(|object| object.size).sum(), Ordering::Relaxed);
        // Read after the list: what was closed meanwhile is whole, what was begun meanwhile is not in it.
        let open = log.open.lock().clone();
        let waiting: Vec<Listed> = listed.into_iter().filter(|object| Some(&object.key) != open.as_ref()).collect();
        let Some(first) = waiting.first() else { return Ok(Progress::IDLE) };
        log.upload(&first.key).await?;
        let backlog = waiting.len() as u64 - 1;
        Ok(Progress { done: 1, more: backlog > 0, backlog: Some(backlog), bytes: first.size, oldest: None })
    }
}

impl AuditLog {
    /// Takes one segment to the store, then out of the spool.
    async fn upload(&self, key: &ObjectKey) -> Result<(), StepError> {
        let Some(lines) = whole(&*self.spool, key).await.map_err(in_spool)? else { return Ok(()) };
        // A crash may have left half a line.
        let end = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = Bytes::from(lines).slice(..end);
        match Segment::of(key, &lines) {
            Some(segment) => {
                let store = self.registry.locations().preferred();
                let wrong = |source| StepError::Storage { location: store.name.clone(), source };
                publish(&*store.engine, &segment.key, lines).await.map_err(wrong)?;
            }
            None if lines.is_empty() => {}
            None => {
                tracing::warn!(%key, bytes = end, "a segment of the audit has no event that can be read; it is dropped")
            }
        }
        self.spool.delete(key).await.map_err(in_spool)
    }
}

/// Stores an object. One that is there is the same: an earlier try, whose answer was lost or that a crash cut short.
async fn publish(store: &dyn Engine, key: &ObjectKey, bytes: Bytes) -> Result<(), Error> {
    let mut writer = store.writer(key).await?;
    writer.write(vec![bytes]).await?;
    match writer.finish().await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        finished => finished.map(drop),
    }
}
