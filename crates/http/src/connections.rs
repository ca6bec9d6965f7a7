//! The connections of one listener while they are served: each a task with its pulse, ended in order.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Weak};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::listener::{Accepted, Arrival, Listener};
use crate::metrics::HttpMetrics;
use crate::opening::Opening;
use crate::pulse::{Patience, Pulse};
use crate::served::{Protocols, Served};
use crate::settings::Settings;

/// How many connections that rest are known by one look at all of them.
const RESTING: usize = 64;

/// The connections being served.
pub(crate) struct Connections {
    tasks: JoinSet<()>,
    pulses: HashMap<tokio::task::Id, Arc<Pulse>>,
    /// Some that rested when it was last looked, the longest last.
    resting: Vec<(Instant, Weak<Pulse>)>,
    drain: CancellationToken,
    opening: Arc<Opening>,
    protocols: Arc<Protocols>,
    patience: Patience,
    app: App,
}

impl Connections {
    /// None yet, of a listener for `app`. Once `drain` is cancelled they end when nothing is in flight.
    pub(crate) fn new(settings: &Settings, opening: Opening, app: App, drain: CancellationToken) -> Self {
        let patience =
            Patience { head: settings.header_timeout, idle: settings.idle_timeout, write: settings.body_timeout };
        let protocols = Arc::new(Protocols::new(settings, app.metrics().http()));
        Self {
            tasks: JoinSet::new(),
            pulses: HashMap::new(),
            resting: Vec::new(),
            drain,
            opening: Arc::new(opening),
            protocols,
            patience,
            app,
        }
    }

    /// Accepts and serves until `until` answers.
    pub(crate) async fn accept_until<T>(&mut self, listener: &mut Listener, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        loop {
            tokio::select! {
                biased;
                answer = until.as_mut() => return answer,
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    self.pulses.remove(&id);
                }
                arrival = listener.accept() => match arrival {
                    Arrival::Accepted(accepted) => self.spawn(accepted),
                    Arrival::Full(first) => self.make_room(first),
                },
            }
        }
    }

    fn spawn(&mut self, accepted: Accepted) {
        let Accepted { stream, remote, permit } = accepted;
        let open = Open::new(self.app.metrics().http(), permit);
        let served = Served {
            app: self.app.clone(),
            opening: Arc::clone(&self.opening),
            drain: self.drain.clone(),
            protocols: Arc::clone(&self.protocols),
            pulse: Pulse::new(self.patience),
        };
        let pulse = Arc::clone(&served.pulse);
        let task = self.tasks.spawn(async move {
            let _open = open;
            served.begin(stream, remote).await;
        });
        self.pulses.insert(task.id(), pulse);
    }

    /// Ends the connection that rests longest, if one does, for a newcomer. Who is being served is left alone.
    fn make_room(&mut self, first: bool) {
        if first {
            self.app.metrics().http().without_room.inc();
        }
        while let Some((since, pulse)) = self.resting.pop() {
            if pulse.upgrade().is_some_and(|pulse| pulse.give_way(since)) {
                return;
            }
        }
        let resting = |pulse: &Arc<Pulse>| Some((pulse.resting_since()?, Arc::downgrade(pulse)));
        self.resting = self.pulses.values().filter_map(resting).collect();
        // The longest last, and only some of them: others may have begun to rest when these are used up.
        self.resting.sort_unstable_by_key(|(since, _)| Reverse(*since));
        self.resting.drain(..self.resting.len().saturating_sub(RESTING));
        if let Some((since, pulse)) = self.resting.pop()
            && let Some(pulse) = pulse.upgrade()
        {
            pulse.give_way(since);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Waits until all have ended.
    pub(crate) async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Cuts off those that have not ended, and answers how many.
    pub(crate) async fn cut_off(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        let left = self.tasks.len();
        self.tasks.shutdown().await;
        left
    }
}

/// One open connection: its place among those that may be open, and its count.
struct Open {
    connections: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(metrics: &HttpMetrics, permit: OwnedSemaphorePermit) -> Self {
        metrics.accepted.inc();
        metrics.connections.inc();
        Self { connections: metrics.connections.clone(), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.dec();
    }
}
