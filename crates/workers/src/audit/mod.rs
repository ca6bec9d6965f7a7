//! The audit: from memory to a local spool, from there to the store, and back to whoever asks.
//!
//! ```text
//! Audit (memory) -> AuditSpool, each second -> segment of the spool -> AuditUpload -> audit/<day>/<instance>/<segment>
//! ```
//!
//! A segment is JSON lines of one process and one day. It grows in the spool, and goes to the store when it is full or
//! old, or at the next start if the process was killed. The spool is bounded: when the store is away for long, new events
//! are dropped and counted, and the number is an event of its own. Which events are in the store, and which are not yet,
//! no metadata knows: the keys tell it all. A segment that is uploaded twice is the same object, and an event that is
//! found twice has the same id.

mod retention;
mod search;
mod segment;
mod spool;
mod upload;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roadstead_registry::Registry;
use roadstead_registry::audit::{Audit, Lines};
use roadstead_storage::{Engine, Error, ObjectKey};
use uuid::Uuid;

use crate::{StepError, Worker};

pub use retention::AuditRetention;
pub use search::AuditPage;
pub use spool::AuditSpool;
pub use upload::AuditUpload;

/// What of the keys of a store is the audit's.
const AUDIT: &str = "audit/";

/// Bounds that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditOptions {
    /// The oldest event that waits to go to the store.
    pub interval: Duration,
    /// Bytes of events that wait to go there.
    pub spool: u64,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), spool: 64 << 20 }
    }
}

/// The audit of this process, and what all of them have kept.
pub struct AuditLog {
    audit: Arc<Audit>,
    registry: Arc<Registry>,
    spool: Arc<dyn Engine>,
    instance: Uuid,
    options: AuditOptions,
    /// What is on its way into the spool; whoever has it writes there.
    state: tokio::sync::Mutex<spool::Spooling>,
    /// The segment that still grows. Everything else in the spool is the uploader's.
    open: Mutex<Option<ObjectKey>>,
    /// Whoever has it uploads.
    uploading: tokio::sync::Mutex<()>,
    /// Bytes in the spool.
    spooled: AtomicU64,
}

impl AuditLog {
    /// Keeps what is noted in `audit` in the preferred location of `registry`, by way of `spool`, which extends objects
    /// and which no other process uses. What an earlier process left there is kept, too. `instance` is a new id for each
    /// run of a process.
    pub async fn open(
        audit: Arc<Audit>,
        registry: Arc<Registry>,
        spool: Arc<dyn Engine>,
        instance: Uuid,
        options: AuditOptions,
    ) -> Result<Arc<Self>, Error> {
        let left: u64 = spool.list(AUDIT, None, 100_000).await?.iter().map(|object| object.size).sum();
        let state =
            spool::Spooling { lines: Lines::of(instance), batches: VecDeque::new(), told: 0, next: 0, open: None };
        Ok(Arc::new(Self {
            audit,
            registry,
            spool,
            instance,
            options,
            state: tokio::sync::Mutex::new(state),
            open: Mutex::default(),
            uploading: tokio::sync::Mutex::default(),
            spooled: AtomicU64::new(left),
        }))
    }

    /// Where events are noted.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Bytes that wait to go to the store.
    pub fn waiting(&self) -> u64 {
        self.spooled.load(Ordering::Relaxed)
    }

    /// The last of it: all that was noted goes to the spool, and from there to the store, as far as it takes it.
    pub async fn finish(self: &Arc<Self>) -> Result<(), StepError> {
        let spooled = self.to_spool().await;
        self.seal().await?;
        spooled?;
        let upload = AuditUpload::new(self.clone());
        while upload.step().await?.more {}
        Ok(())
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog")
            .field("instance", &self.instance)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What went wrong in the spool.
fn in_spool(source: Error) -> StepError {
    StepError::Storage { location: "audit spool".to_owned(), source }
}
