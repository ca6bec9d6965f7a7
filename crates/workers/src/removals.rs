//! What removed repositories held goes, one bounded batch in a step.
//!
//! Since its removal a repository is gone for everybody (`records::removal`): nothing is put into it any more, and it
//! stands in metadata until the last of it went. Each step looks anew what is left, so that a process that was cut short
//! leaves nothing behind that the next one does not find. Blobs are left to the collector.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::records::removal;
use roadstead_registry::Registry;

use crate::{Progress, StepError, Worker, commit};

/// Takes apart what removed repositories held.
#[derive(Debug)]
pub struct RemoveRepositories {
    registry: Arc<Registry>,
}

impl RemoveRepositories {
    /// Works on the metadata of `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

#[async_trait]
impl Worker for RemoveRepositories {
    fn name(&self) -> &'static str {
        "remove_repositories"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn step(&self) -> Result<Progress, StepError> {
        let sql = &**self.registry.sql();
        let Some(removing) = removal::next(sql).await? else { return Ok(Progress::IDLE) };
        let part = removal::part(sql, &removing, self.registry.clock().now()).await?;
        commit(&self.registry, part.statements).await?;
        if part.last {
            tracing::info!(
                repository = removing.name,
                "nothing is left of a removed repository but what the collector takes"
            );
        }
        Ok(Progress { done: 1, more: true, oldest: Some(removing.at), ..Progress::default() })
    }
}
