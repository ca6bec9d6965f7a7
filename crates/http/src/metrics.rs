//! What the process counts, and its text form for Prometheus.
//!
//! Labels come from fixed sets: routes, methods, statuses, configured locations, operations. Never repository names,
//! digests or clients, whose number nobody bounds.

mod audit;
mod damage;
mod engines;
mod health;
mod http;
mod passwords;
mod process;
mod sources;
mod tls;
mod workers;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use engines::EngineMetrics;
pub(crate) use http::{HttpMetrics, Sample};

/// Media type of [`Metrics::text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds for the time of anything that waits for a disk, a network or a client.
pub(crate) const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

struct Inner {
    registry: Mutex<Registry>,
    http: HttpMetrics,
    engines: EngineMetrics,
}

/// The metrics of one process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl Metrics {
    /// All metrics at zero. `version` is that of the program, for `roadstead_build_info`.
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::default();
        registry.register("roadstead_build", "Version of the running program", Info::new(Build { version }));
        process::register(&mut registry);
        let http = HttpMetrics::register(&mut registry);
        let engines = EngineMetrics::register(&mut registry);
        Self(Arc::new(Inner { registry: Mutex::new(registry), http, engines }))
    }

    /// Adds a metric of another part of the program. Its name should start with `roadstead_`; counters get `_total`
    /// appended in the text.
    pub fn register(&self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.0.registry.lock().register(name, help, metric);
    }

    /// What a metered storage engine of the location of this name tells of its operations.
    pub fn storage_recorder(&self, location: &str) -> Arc<dyn roadstead_storage::Recorder> {
        self.0.engines.storage(location)
    }

    /// What a metered metadata engine tells of its operations.
    pub fn metadata_recorder(&self) -> Arc<dyn roadstead_metadata::Recorder> {
        Arc::new(self.0.engines.clone())
    }

    /// Shows the workers of `supervisor`, read at each scrape.
    pub fn show_workers(&self, supervisor: Arc<roadstead_workers::Supervisor>) {
        workers::register(&mut self.0.registry.lock(), supervisor);
    }

    /// Shows how health stands.
    pub(crate) fn show_health(&self, health: crate::Health) {
        health::register(&mut self.0.registry.lock(), health);
    }

    /// Shows until when the certificate is good.
    pub(crate) fn show_certificate(&self, tls: crate::Tls) {
        tls::register(&mut self.0.registry.lock(), tls);
    }

    /// Shows what is wrong with the stores, as `damaged` counts it at each scrape.
    pub fn show_damage(&self, damaged: impl Fn() -> Vec<roadstead_workers::DamageCount> + Send + Sync + 'static) {
        damage::register(&mut self.0.registry.lock(), damaged);
    }

    /// Shows who else vouches for users, and whether what each answers by is what there is, as `current` says.
    pub fn show_sources(&self, current: impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static) {
        sources::register(&mut self.0.registry.lock(), current);
    }

    /// Shows what the audit noted, lost, and has still to store.
    pub fn show_audit(&self, log: Arc<roadstead_workers::AuditLog>) {
        audit::register(&mut self.0.registry.lock(), log);
    }

    /// Shows how many hashes of passwords were computed, as `computed` counts them.
    pub fn show_password_hashes(&self, computed: impl Fn() -> u64 + Send + Sync + 'static) {
        passwords::register(&mut self.0.registry.lock(), computed);
    }

    /// Shows how many lines of the log were lost, as `lost` counts them.
    pub fn show_lost_log_lines(&self, lost: impl Fn() -> u64 + Send + Sync + 'static) {
        process::register_log(&mut self.0.registry.lock(), lost);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail; a collector that cannot read its source leaves its metrics out.
        if let Err(error) = encode(&mut text, &self.0.registry.lock()) {
            tracing::error!(%error, "cannot write metrics as text");
        }
        text
    }

    pub(crate) fn http(&self) -> &HttpMetrics {
        &self.0.http
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use roadstead_metadata as metadata;
    use roadstead_storage::{ErrorKind, Operation};

    use super::*;

    #[test]
    fn engines_tell_of_their_operations() {
        let metrics = Metrics::new("1.2.3");
        let took = Duration::from_millis(3);
        let storage = metrics.storage_recorder("eu");
        storage.record(Operation::Body, Ok(()), 100, took);
        storage.record(Operation::Read, Err(ErrorKind::NotFound), 0, took);
        metrics.metadata_recorder().record(metadata::Operation::Commit, metadata::Outcome::Conflict, took);
        let text = metrics.text();
        for line in [
            "roadstead_storage_operations_total{location=\"eu\",operation=\"body\",outcome=\"ok\"} 1",
            "roadstead_storage_operations_total{location=\"eu\",operation=\"read\",outcome=\"not_found\"} 1",
            "roadstead_storage_bytes_total{location=\"eu\",operation=\"body\"} 100",
            "roadstead_storage_operation_duration_seconds_bucket{le=\"0.005\",location=\"eu\",operation=\"body\"} 1",
            "roadstead_metadata_operations_total{operation=\"commit\",outcome=\"conflict\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }
}
