//! Operation ids are forgotten a day after their batch: nothing is retried for longer than an hour.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::{Freshness, base};
use roadstead_registry::Registry;

use crate::{Progress, StepError, Worker, commit};

/// Ids forgotten in one step.
const STEP: i64 = 500;

/// Forgets old operation ids.
#[derive(Debug)]
pub struct PurgeOperations {
    registry: Arc<Registry>,
}

impl PurgeOperations {
    /// Works on the metadata of `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

#[async_trait]
impl Worker for PurgeOperations {
    fn name(&self) -> &'static str {
        "purge_operations"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10 * 60)
    }

    async fn step(&self) -> Result<Progress, StepError> {
        let before = self.registry.clock().now() - base::OPERATION_KEPT;
        // Asked first: an installation at rest must not write to its log every few minutes.
        let old = self.registry.sql().query(Freshness::Latest, base::old_operations(before, STEP)).await?.len();
        if old == 0 {
            return Ok(Progress::IDLE);
        }
        commit(&self.registry, [base::purge_operations(before, STEP)]).await?;
        Ok(Progress { done: old as u64, more: true, ..Progress::default() })
    }
}
