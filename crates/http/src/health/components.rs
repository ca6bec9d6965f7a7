//! The components every registry has, as probes.

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_metadata::{Sql, Status};
use roadstead_storage::{Engine, ErrorKind};

use super::{Component, Finding, Probe};

impl Component {
    /// The metadata engine, under the name `metadata`. Without it this instance cannot pull.
    pub fn metadata(sql: Arc<dyn Sql>) -> Self {
        Self { name: "metadata".to_owned(), needed_to_pull: true, probe: Arc::new(MetadataProbe(sql)) }
    }

    /// A location, under the name `storage NAME`. `needed_to_pull` is for a location that only this instance sees:
    /// when a shared one is down another instance could not pull from it either.
    pub fn storage(name: &str, engine: Arc<dyn Engine>, needed_to_pull: bool) -> Self {
        Self { name: format!("storage {name}"), needed_to_pull, probe: Arc::new(StorageProbe(engine)) }
    }
}

struct MetadataProbe(Arc<dyn Sql>);

#[async_trait]
impl Probe for MetadataProbe {
    async fn probe(&self) -> Finding {
        let found = match self.0.status() {
            Status::Writable => Finding::Well,
            Status::ReadOnly(why) => Finding::ReadOnly(why),
            Status::Down(why) => return Finding::Failed(why),
        };
        // What an engine says of itself is about its writes. Whoever pulls asks a question; so does this, and one that
        // hangs has failed when the prober's limit is over.
        match self.0.ping().await {
            Ok(()) => found,
            Err(error) => Finding::Failed(error.to_string()),
        }
    }
}

struct StorageProbe(Arc<dyn Engine>);

#[async_trait]
impl Probe for StorageProbe {
    async fn probe(&self) -> Finding {
        match self.0.probe().await {
            Ok(()) => Finding::Well,
            // What it has can still be read.
            Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::ReadOnly) => {
                Finding::ReadOnly(error.to_string())
            }
            Err(error) => Finding::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use roadstead_metadata::{self as metadata, Batch, CommitError, Committed, Freshness, QueryError, Rows, Statement};
    use roadstead_storage::{Faults, Faulty, Identity, Memory, Operation};
    use uuid::Uuid;

    use super::super::Health;
    use super::*;

    #[tokio::test]
    async fn metadata_is_as_it_says() {
        let sql = Arc::new(metadata::Memory::open().unwrap());
        let component = Component::metadata(sql.clone());
        assert_eq!((component.probe.probe().await, component.needed_to_pull), (Finding::Well, true));
        sql.set_status(Status::ReadOnly("no quorum".into()));
        assert_eq!(component.probe.probe().await, Finding::ReadOnly("no quorum".into()));
        sql.set_status(Status::Down("stopped".into()));
        assert_eq!(component.probe.probe().await, Finding::Failed("stopped".into()));
    }

    /// Says that all is well, and answers nothing.
    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl Sql for Silent {
        async fn query_many(&self, _: Freshness, _: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
            std::future::pending().await
        }

        async fn commit(&self, _: Batch) -> Result<Committed, CommitError> {
            Err(CommitError::Unavailable("not asked for".to_owned()))
        }

        fn status(&self) -> Status {
            Status::Writable
        }

        fn revision(&self) -> Option<u64> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn metadata_that_answers_no_question_is_not_healthy() {
        let health = Health::new(vec![Component::metadata(Arc::new(Silent))]);
        let _prober = health.probe_every_second();
        // Three that take two seconds each, a second apart at most.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let verdict = health.verdict();
        assert_eq!((verdict.serving, verdict.state), (false, "unhealthy"), "{}", verdict.error);
    }

    #[tokio::test]
    async fn a_store_that_takes_nothing_is_read_only_and_one_that_does_not_answer_has_failed() {
        let faults = Faults::new();
        faults.refuse(Operation::Probe, 1, ErrorKind::Full);
        faults.refuse(Operation::Probe, 2, ErrorKind::ReadOnly);
        faults.refuse(Operation::Probe, 3, ErrorKind::Unavailable);
        let engine = Arc::new(Faulty::new(Memory::new(), faults));
        Identity::claim(&*engine, &Identity::new(Uuid::from_u128(1), Uuid::from_u128(2))).await.unwrap();
        let component = Component::storage("eu", engine, false);
        assert!(matches!(component.probe.probe().await, Finding::ReadOnly(_)));
        assert!(matches!(component.probe.probe().await, Finding::ReadOnly(_)));
        assert!(matches!(component.probe.probe().await, Finding::Failed(_)));
        assert_eq!(component.probe.probe().await, Finding::Well);
        assert_eq!((component.name.as_str(), component.needed_to_pull), ("storage eu", false));
    }
}
