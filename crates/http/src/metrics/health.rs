//! How this instance and its components stand, as health knows it at each scrape: what alerts are made of, because health
//! itself answers 200 as long as this instance can pull.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::health::{Condition, Health};

struct Conditions(Health);

const CONDITIONS: [Condition; 4] = [Condition::Starting, Condition::Healthy, Condition::ReadOnly, Condition::Unhealthy];

pub(super) fn register(registry: &mut Registry, health: Health) {
    registry.register_collector(Box::new(Conditions(health)));
}

impl Collector for Conditions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let verdict = self.0.verdict();
        let name = "roadstead_health_serving";
        let help = "Whether health answers 200";
        let serving = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(verdict.serving)).encode(serving)?;
        let name = "roadstead_component_condition";
        let help = "1 for the condition that a component is in";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (component, found, _) in &verdict.components {
            for condition in CONDITIONS {
                let labels = [("component", component.as_str()), ("condition", condition.as_str())];
                ConstGauge::new(i64::from(*found == condition)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conditions").finish_non_exhaustive()
    }
}
