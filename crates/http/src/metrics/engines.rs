//! Operations of storage and metadata engines, as their `Metered` decorators tell of them.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use roadstead_metadata as metadata;
use roadstead_storage as storage;

use super::SECONDS;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StorageOutcome {
    location: Arc<str>,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StorageOperation {
    location: Arc<str>,
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MetadataOutcome {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MetadataOperation {
    operation: &'static str,
}

/// Counters of all engines.
#[derive(Debug, Clone)]
pub(super) struct EngineMetrics {
    storage: Family<StorageOutcome, Counter>,
    storage_seconds: Family<StorageOperation, Histogram>,
    storage_bytes: Family<StorageOperation, Counter>,
    metadata: Family<MetadataOutcome, Counter>,
    metadata_seconds: Family<MetadataOperation, Histogram>,
}

impl EngineMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let new = Self {
            storage: Family::default(),
            storage_seconds: Family::new_with_constructor(seconds),
            storage_bytes: Family::default(),
            metadata: Family::default(),
            metadata_seconds: Family::new_with_constructor(seconds),
        };
        registry.register("roadstead_storage_operations", "Operations of storage engines", new.storage.clone());
        registry.register(
            "roadstead_storage_operation_duration_seconds",
            "Time of operations of storage engines",
            new.storage_seconds.clone(),
        );
        registry.register(
            "roadstead_storage_bytes",
            "Bytes of objects moved by storage engines",
            new.storage_bytes.clone(),
        );
        registry.register("roadstead_metadata_operations", "Operations of the metadata engine", new.metadata.clone());
        registry.register(
            "roadstead_metadata_operation_duration_seconds",
            "Time of operations of the metadata engine",
            new.metadata_seconds.clone(),
        );
        new
    }

    /// The recorder of one location.
    pub(super) fn storage(&self, location: &str) -> Arc<dyn storage::Recorder> {
        Arc::new(StorageRecorder { metrics: self.clone(), location: location.into() })
    }
}

#[derive(Debug)]
struct StorageRecorder {
    metrics: EngineMetrics,
    location: Arc<str>,
}

impl storage::Recorder for StorageRecorder {
    fn record(&self, operation: storage::Operation, outcome: storage::Outcome, bytes: u64, took: Duration) {
        let operation = operation.name();
        let outcome = outcome.map_or_else(storage_error, |()| "ok");
        let location = &self.location;
        let labels = StorageOutcome { location: Arc::clone(location), operation, outcome };
        self.metrics.storage.get_or_create(&labels).inc();
        let labels = StorageOperation { location: Arc::clone(location), operation };
        self.metrics.storage_seconds.get_or_create(&labels).observe(took.as_secs_f64());
        if bytes > 0 {
            self.metrics.storage_bytes.get_or_create(&labels).inc_by(bytes);
        }
    }
}

impl metadata::Recorder for EngineMetrics {
    fn record(&self, operation: metadata::Operation, outcome: metadata::Outcome, took: Duration) {
        let (operation, outcome) = (operation.as_str(), outcome.as_str());
        self.metadata.get_or_create(&MetadataOutcome { operation, outcome }).inc();
        self.metadata_seconds.get_or_create(&MetadataOperation { operation }).observe(took.as_secs_f64());
    }
}

fn storage_error(kind: storage::ErrorKind) -> &'static str {
    use storage::ErrorKind;
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::InvalidRange => "invalid_range",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Full => "full",
        ErrorKind::Denied => "denied",
        ErrorKind::ReadOnly => "read_only",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Foreign => "foreign",
        ErrorKind::Other => "other",
    }
}
