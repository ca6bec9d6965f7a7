//! The audit: a spool in the data directory, and its workers.

use std::path::Path;
use std::sync::Arc;

use roadstead_registry::Registry;
use roadstead_registry::audit::Audit;
use roadstead_storage::{Engine, Filesystem, Memory};
use roadstead_workers::{AuditLog, AuditOptions, AuditRetention, AuditSpool, AuditUpload, Instances, Supervisor};

use super::ComposeError;
use crate::config::Settings;
use crate::config::audit::Kept;

/// The directory of the spool, beside the socket of the admin API.
const SPOOL: &str = "audit";
/// Bytes that may wait in memory, where there is no directory.
const IN_MEMORY: u64 = 8 << 20;

/// The audit while it is kept.
#[derive(Debug)]
pub(crate) struct Auditing {
    pub(crate) log: Arc<AuditLog>,
    /// No other process uses the spool while it lives.
    _lock: Option<std::fs::File>,
}

/// Where events are noted, and who keeps them. `None` when nothing is kept.
pub(super) async fn open(
    settings: &Settings,
    audit: Option<&Arc<Audit>>,
    registry: &Arc<Registry>,
    instances: &Arc<Instances>,
) -> Result<Option<Auditing>, ComposeError> {
    let (Some(kept), Some(audit)) = (settings.audit, audit) else { return Ok(None) };
    let directory = settings.admin_socket().with_file_name(SPOOL);
    let (engine, lock, spool): (Arc<dyn Engine>, _, _) = match on_disk(&directory).await {
        Ok((engine, lock)) => (Arc::new(engine), Some(lock), kept.spool),
        Err(error) => {
            tracing::warn!(
                path = %directory.display(), error,
                "the audit has no spool of its own on disk: what is not in the storage yet is lost when the process is killed"
            );
            (Arc::new(Memory::new()), None, kept.spool.min(IN_MEMORY))
        }
    };
    let options = AuditOptions { interval: kept.interval, spool };
    let log = AuditLog::open(audit.clone(), registry.clone(), engine, instances.id(), options).await?;
    Ok(Some(Auditing { log, _lock: lock }))
}

/// The spool, if no other process has it: several may run with one data directory when their metadata is elsewhere.
async fn on_disk(directory: &Path) -> Result<(Filesystem, std::fs::File), String> {
    let engine = Filesystem::open(directory).map_err(|error| error.to_string())?;
    let path = directory.join("lock");
    let file = tokio::fs::File::create(&path).await.map_err(|error| format!("{}: {error}", path.display()))?;
    let file = file.into_std().await;
    // What an earlier process left must be there to be read.
    engine.list("", None, 1).await.map_err(|error| error.to_string())?;
    file.try_lock().map_err(|_| "another instance uses this data directory; give each its own".to_owned())?;
    Ok((engine, file))
}

/// Starts what brings events from memory to the spool and to the storage, and what removes old ones.
pub(super) fn start(
    auditing: &Auditing,
    kept: &Kept,
    registry: &Arc<Registry>,
    instances: &Arc<Instances>,
    workers: &Arc<Supervisor>,
) {
    let log = &auditing.log;
    workers.spawn(Arc::new(AuditSpool::new(log.clone())));
    workers.spawn(Arc::new(AuditUpload::new(log.clone())));
    let lease = instances.lease("audit_retention");
    let retention = AuditRetention::new(registry.clone(), kept.retention).with_lease(lease.clone());
    workers.spawn_leased(Arc::new(retention), lease);
    // Not owned: the workers own the audit.
    let woken = Arc::downgrade(workers);
    log.audit().wake(move || {
        woken.upgrade().map(|workers| workers.wake("audit_spool"));
    });
}
