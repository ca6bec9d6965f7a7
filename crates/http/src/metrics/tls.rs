//! Until when the certificate is good, as it is at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::Tls;

#[derive(Debug)]
struct Certificate(Tls);

pub(super) fn register(registry: &mut Registry, tls: Tls) {
    registry.register_collector(Box::new(Certificate(tls)));
}

impl Collector for Certificate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let name = "roadstead_tls_certificate_not_after_seconds";
        let help = "End of the certificate that new connections get, since the Unix epoch";
        let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(self.0.not_after()).encode(encoder)
    }
}
