//! Who else vouches for users, and whether what that answers by is what there is.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

struct Sources<F>(F);

impl<F> fmt::Debug for Sources<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

pub(super) fn register(registry: &mut Registry, current: impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static) {
    registry.register_collector(Box::new(Sources(current)));
}

impl<F: Fn() -> Vec<(String, bool)> + Send + Sync + 'static> Collector for Sources<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sources = (self.0)();
        if sources.is_empty() {
            return Ok(());
        }
        let help = "1 while who vouches for users answers by what there is now, 0 while by what was read before";
        let name = "roadstead_identity_source_current";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (source, current) in &sources {
            ConstGauge::new(i64::from(*current)).encode(family.encode_family(&[("source", source.as_str())])?)?;
        }
        Ok(())
    }
}
