//! What the audit has noted, and what it lost.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use roadstead_workers::AuditLog;

#[derive(Debug)]
struct Audit(Arc<AuditLog>);

pub(super) fn register(registry: &mut Registry, log: Arc<AuditLog>) {
    registry.register_collector(Box::new(Audit(log)));
}

impl Collector for Audit {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let audit = self.0.audit();
        for (name, help, value) in [
            ("roadstead_audit_events", "Events that were noted for the audit", audit.noted()),
            ("roadstead_audit_dropped", "Events of the audit that were lost for want of room", audit.dropped()),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let help = "Bytes of the audit that wait to go to the store";
        let metric = encoder.encode_descriptor("roadstead_audit_spool_bytes", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.0.waiting() as f64).encode(metric)
    }
}
