//! Probes each component once a second, each in a task of its own so that one that hangs delays no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Finding, Health, Probe};

/// Time between two probes of a component.
const PERIOD: Duration = Duration::from_secs(1);
/// A probe that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(2);

/// Probing; stops when dropped.
#[derive(Debug)]
pub struct Prober {
    _tasks: JoinSet<()>,
}

impl Health {
    /// Starts probing. Must be called within a Tokio runtime.
    pub fn probe_every_second(&self) -> Prober {
        let mut tasks = JoinSet::new();
        for (index, watched) in self.0.watched.iter().enumerate() {
            tasks.spawn(watch(self.clone(), index, Arc::clone(&watched.component.probe)));
        }
        Prober { _tasks: tasks }
    }
}

async fn watch(health: Health, index: usize, probe: Arc<dyn Probe>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let finding = timeout(LIMIT, probe.probe())
            .await
            .unwrap_or_else(|_| Finding::Failed(format!("no answer within {} s", LIMIT.as_secs())));
        health.observe(index, &finding);
    }
}
