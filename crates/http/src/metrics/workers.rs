//! What the workers are doing, read from their supervisor at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use roadstead_workers::{Supervisor, WorkerState, WorkerStatus};

#[derive(Debug)]
struct Workers(Arc<Supervisor>);

pub(super) fn register(registry: &mut Registry, supervisor: Arc<Supervisor>) {
    registry.register_collector(Box::new(Workers(supervisor)));
}

/// A metric of every worker; `None` leaves a worker out.
type Read<T> = fn(&WorkerStatus) -> Option<T>;

const COUNTERS: [(&str, &str, Read<u64>); 3] = [
    ("roadstead_worker_runs", "Steps that workers took, failed ones included", |w| Some(w.runs)),
    ("roadstead_worker_done", "Things that workers did", |w| Some(w.done_total)),
    ("roadstead_worker_bytes", "Bytes of what workers did: of blobs removed, of objects read", |w| Some(w.bytes_total)),
];

const GAUGES: [(&str, &str, Read<f64>); 5] = [
    ("roadstead_worker_failures", "Steps that failed since the last one that succeeded", |w| Some(w.failures.into())),
    ("roadstead_worker_backlog", "Things that wait for a worker, as last counted", |w| w.backlog.map(|n| n as f64)),
    ("roadstead_worker_oldest_seconds", "Since when the thing that waits longest waits, since the Unix epoch", |w| {
        w.oldest.map(|at| at as f64 / 1000.0)
    }),
    ("roadstead_worker_last_run_seconds", "When a worker's last step ended, since the Unix epoch", |w| {
        w.last_run.map(|at| at as f64 / 1000.0)
    }),
    ("roadstead_worker_running_since_seconds", "When the step under way began, since the Unix epoch; 0 at rest", |w| {
        Some(if w.state == WorkerState::Running { w.since as f64 / 1000.0 } else { 0.0 })
    }),
];

impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let statuses = self.0.statuses();
        for (name, help, read) in COUNTERS {
            each(&mut encoder, name, help, &statuses, |status| read(status).map(ConstCounter::new))?;
        }
        for (name, help, read) in GAUGES {
            each(&mut encoder, name, help, &statuses, |status| read(status).map(ConstGauge::new))?;
        }
        Ok(())
    }
}

fn each<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    statuses: &[WorkerStatus],
    read: impl Fn(&WorkerStatus) -> Option<M>,
) -> Result<(), fmt::Error> {
    let metrics: Vec<_> = statuses.iter().filter_map(|status| Some((status.name, read(status)?))).collect();
    let Some((_, first)) = metrics.first() else { return Ok(()) };
    let mut family = encoder.encode_descriptor(name, help, None, first.metric_type())?;
    for (worker, metric) in &metrics {
        metric.encode(family.encode_family(&[("worker", *worker)])?)?;
    }
    Ok(())
}
