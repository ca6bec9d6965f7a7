//! A process that keeps an audit, on engines that fail as they are told to.

use std::sync::Arc;
use std::time::Duration;

use roadstead_registry::audit::{Actor, Audit, AuditAction, AuditOutcome, Event, Filter};
use roadstead_storage::{Engine, Faults, Faulty, Memory};
use roadstead_workers::{AuditLog, AuditOptions, AuditPage, AuditSpool, AuditUpload, Progress, StepError, Worker};
use uuid::Uuid;

use crate::rig::{REPOSITORY, Rig};

/// How long events wait for more.
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);

/// A process of an installation.
pub(crate) struct Process {
    pub(crate) audit: Arc<Audit>,
    pub(crate) log: Arc<AuditLog>,
    pub(crate) spool: Memory,
    /// Of its spool.
    pub(crate) faults: Faults,
}

impl Process {
    pub(crate) async fn start(rig: &Rig, number: u128) -> Self {
        Self::over(rig, number, Memory::new(), AuditOptions { interval: INTERVAL, ..AuditOptions::default() }).await
    }

    pub(crate) async fn over(rig: &Rig, number: u128, spool: Memory, options: AuditOptions) -> Self {
        let audit = Arc::new(Audit::new(rig.clock.clone()));
        let faults = Faults::new();
        let engine: Arc<dyn Engine> = Arc::new(Faulty::new(spool.clone(), faults.clone()));
        let id = Uuid::from_u128(number);
        let log = AuditLog::open(audit.clone(), rig.registry.clone(), engine, id, options).await.unwrap();
        Self { audit, log, spool, faults }
    }

    /// Somebody pulls a tag.
    pub(crate) fn pull(&self, actor: &str, tag: &str) {
        let mut event = Event::new(AuditAction::Pull, AuditOutcome::Ok, Actor::Claimed(actor.into()));
        event.repository = Some(REPOSITORY.parse().unwrap());
        event.tag = Some(tag.parse().unwrap());
        self.audit.note(event);
    }

    pub(crate) async fn spool(&self) -> Result<Progress, StepError> {
        AuditSpool::new(self.log.clone()).step().await
    }

    pub(crate) async fn upload(&self) -> Result<Progress, StepError> {
        AuditUpload::new(self.log.clone()).step().await
    }

    pub(crate) async fn spooled(&self) -> usize {
        self.spool.list("", None, 1000).await.unwrap().len()
    }

    pub(crate) async fn page(&self, filter: &Filter, limit: usize) -> AuditPage {
        self.log.page(filter, limit).await.unwrap()
    }

    /// The tags of what is found, newest first.
    pub(crate) async fn tags(&self, filter: &Filter) -> Vec<String> {
        tags(&self.page(filter, 1000).await)
    }
}

pub(crate) fn tags(page: &AuditPage) -> Vec<String> {
    let tag = |event: &serde_json::Value| event["tag"].as_str().unwrap_or("-").to_owned();
    page.events.iter().map(tag).collect()
}
