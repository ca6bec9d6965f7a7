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
        match self.0.status() {
            Status::Writable => Finding::Well,
            Status::ReadOnly(why) => Finding::ReadOnly(why),
            Status::Down(why) => Finding::Failed(why),
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
    use roadstead_metadata as metadata;
    use roadstead_storage::{Faults, Faulty, Identity, Memory, Operation};
    use uuid::Uuid;

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
