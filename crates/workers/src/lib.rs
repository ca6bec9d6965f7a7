//! Background reconcilers and their supervisor.
//!
//! A worker brings the world closer to what metadata says, one unit per step: it has no input, a step may be repeated
//! and may run on several instances at once. Deliberately absent: queues in memory. What is to be done stands in
//! metadata and in the stores, so a restart loses nothing.

mod audit;
mod collect;
mod collection;
mod credentials;
mod instances;
mod operations;
mod reap;
mod removals;
mod scrub;
mod status;
mod steady;
mod supervisor;
mod temporary;
mod uploads;
mod worker;

use std::time::Duration;

use roadstead_metadata::{Batch, Millis, Statement, commit_once};
use roadstead_registry::Registry;
use uuid::Uuid;

pub use audit::{AuditLog, AuditOptions, AuditPage, AuditRetention, AuditSpool, AuditUpload};
pub use collect::Collect;
pub use collection::{Collection, Totals, Turn};
pub use credentials::PurgeCredentials;
pub use instances::{InstanceStatus, Instances, Lease};
pub use operations::PurgeOperations;
pub use reap::Reaper;
pub use removals::RemoveRepositories;
pub use scrub::{DamageCount, DamagedObject, Scrub, ScrubState};
pub use status::{WorkerState, WorkerStatus};
pub use supervisor::Supervisor;
pub use temporary::SweepTemporary;
pub use uploads::PurgeUploads;
pub use worker::{Progress, StepError, Worker};

/// How long a commit without an answer is retried within a step.
const PATIENCE: Duration = Duration::from_secs(10);

/// Commits one step's changes.
async fn commit(registry: &Registry, statements: impl IntoIterator<Item = Statement>) -> Result<(), StepError> {
    let mut batch = Batch::new(Uuid::now_v7(), registry.clock().now());
    batch.extend(statements);
    commit_once(&**registry.sql(), batch, PATIENCE).await?;
    Ok(())
}

/// A duration as the difference of two times.
fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
