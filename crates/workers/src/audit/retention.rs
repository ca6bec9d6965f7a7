//! Segments of days that are no longer kept.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_registry::Registry;
use roadstead_registry::audit::Day;
use roadstead_storage::Listed;

use super::AUDIT;
use super::segment::day_of;
use crate::steady::Steady;
use crate::{Lease, Progress, StepError, Worker, millis};

/// Segments removed in one step.
const STEP: usize = 200;
/// For how long the clock must have gone steadily before a day is believed to be over.
const WATCHED: Duration = Duration::from_secs(600);

/// Removes the segments of days that ended longer ago than they are kept.
#[derive(Debug)]
pub struct AuditRetention {
    registry: Arc<Registry>,
    kept: Duration,
    lease: Option<Lease>,
    steady: Steady,
}

impl AuditRetention {
    /// Works on the locations of `registry`, where days are kept for so long after their end.
    pub fn new(registry: Arc<Registry>, kept: Duration) -> Self {
        Self { registry, kept, lease: None, steady: Steady::default() }
    }

    /// Removes nothing while the clock of this process differs from those of others.
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }
}

#[async_trait]
impl Worker for AuditRetention {
    fn name(&self) -> &'static str {
        "audit_retention"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(300)
    }

    /// Their keys begin with the day, so the oldest come first and what is to be kept is not looked at.
    async fn step(&self) -> Result<Progress, StepError> {
        let Some(now) = self.steady.now(&**self.registry.clock(), WATCHED) else { return Ok(Progress::IDLE) };
        if self.lease.as_ref().is_some_and(|lease| !lease.clock_agrees()) {
            return Ok(Progress::IDLE);
        }
        let first_kept = Day::of(now.saturating_sub(millis(self.kept)));
        let mut progress = Progress::IDLE;
        for location in self.registry.locations().iter() {
            let wrong = |source| StepError::Storage { location: location.name.clone(), source };
            let listed = location.engine.list(AUDIT, None, STEP).await.map_err(wrong)?;
            let over = |object: &&Listed| day_of(&object.key).is_some_and(|day| day < first_kept);
            for object in listed.iter().filter(over) {
                location.engine.delete(&object.key).await.map_err(wrong)?;
                progress.done += 1;
                progress.bytes += object.size;
            }
            progress.more |= listed.len() == STEP && listed.last().as_ref().is_some_and(over);
        }
        Ok(progress)
    }
}
