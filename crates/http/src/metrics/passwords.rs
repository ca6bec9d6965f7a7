//! What logging in costs: how many slow hashes were computed, as it is at each scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

struct Passwords<F>(F);

pub(super) fn register(registry: &mut Registry, computed: impl Fn() -> u64 + Send + Sync + 'static) {
    registry.register_collector(Box::new(Passwords(computed)));
}

/// Without what counts.
impl<F> fmt::Debug for Passwords<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Collector for Passwords<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Hashes of passwords that were computed: of right ones, wrong ones and new ones";
        let encoder = encoder.encode_descriptor("roadstead_password_hashes", help, None, MetricType::Counter)?;
        ConstCounter::new((self.0)()).encode(encoder)
    }
}
