//! What scrub found wrong with the stores, as it last counted.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use roadstead_workers::DamageCount;

struct Damage<F>(F);

impl<F> fmt::Debug for Damage<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Damage").finish_non_exhaustive()
    }
}

pub(super) fn register(registry: &mut Registry, damaged: impl Fn() -> Vec<DamageCount> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Damage(damaged)));
}

impl<F: Fn() -> Vec<DamageCount> + Send + Sync + 'static> Collector for Damage<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = (self.0)();
        if counts.is_empty() {
            return Ok(());
        }
        let help = "Objects that are missing or not what they should be, and objects that nothing names";
        let mut family = encoder.encode_descriptor("roadstead_damaged_objects", help, None, MetricType::Gauge)?;
        for count in &counts {
            let labels = [("location", count.location.as_str()), ("kind", count.kind.as_str())];
            ConstGauge::new(count.objects as f64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
