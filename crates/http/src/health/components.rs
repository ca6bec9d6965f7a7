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
            Err(error) if error.kind() == ErrorKind::Full => Finding::ReadOnly(error.to_string()),
            Err(error) => Finding::Failed(error.to_string()),
        }
    }
}
