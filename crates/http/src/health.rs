//! Whether this instance should get traffic, as load balancers, operators and metrics ask.
//!
//! 503 only when this instance cannot pull and another might (invariant 11): a component that is needed to pull has
//! failed three probes in a row, or never yet succeeded, or the instance drains. Everything else is 200 that says
//! what is wrong: metadata that is read-only, a location without which pulls go on.
//!
//! A component turns unhealthy after [`STRIKES`] failures in a row and healthy after one success. Draining skips the
//! strikes. The state machine here has no clock and no I/O; [`prober`] feeds it.
//!
//! Texts of errors stay in the log, since nobody has to authenticate to read this.

mod components;
mod page;
mod prober;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use parking_lot::Mutex;

pub(crate) use page::respond;
pub use prober::Prober;

use crate::tls::Tls;

/// Failures in a row that make a component unhealthy.
pub const STRIKES: u32 = 3;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It reads and writes.
    Well,
    /// It reads only; the text says why, for the log.
    ReadOnly(String),
    /// It does not work; the text says why, for the log.
    Failed(String),
}

/// Looks at one component. Called once a second; an answer later than the prober's limit counts as failed.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Looks now.
    async fn probe(&self) -> Finding;
}

/// A component to watch.
#[derive(Clone)]
pub struct Component {
    /// The name in bodies, log and metrics, such as `metadata` or `storage default`.
    pub name: String,
    /// Whether this instance cannot pull while the component is down. Only such a component turns health to 503.
    pub needed_to_pull: bool,
    /// How to look.
    pub probe: Arc<dyn Probe>,
}

/// How a component stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No probe has succeeded since the start.
    Starting,
    /// The last probe, or one of the two before it, succeeded.
    Healthy,
    /// The same, but it takes no writes.
    ReadOnly,
    /// [`STRIKES`] failures in a row.
    Unhealthy,
}

impl Condition {
    /// The condition as bodies, log and metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Starting => "starting",
            Condition::Healthy => "healthy",
            Condition::ReadOnly => "read-only",
            Condition::Unhealthy => "unhealthy",
        }
    }

    fn works(self) -> bool {
        matches!(self, Condition::Healthy | Condition::ReadOnly)
    }
}

/// The strikes of one component: a pure state machine.
#[derive(Debug)]
struct Tracker {
    condition: Condition,
    failures: u32,
}

impl Tracker {
    fn new() -> Self {
        Self { condition: Condition::Starting, failures: 0 }
    }

    /// Takes in a finding; answers the new condition if it changed.
    fn observe(&mut self, finding: &Finding) -> Option<Condition> {
        let next = match finding {
            Finding::Well => Condition::Healthy,
            Finding::ReadOnly(_) => Condition::ReadOnly,
            Finding::Failed(_) if self.failures + 1 >= STRIKES => Condition::Unhealthy,
            Finding::Failed(_) => self.condition,
        };
        self.failures = if matches!(finding, Finding::Failed(_)) { self.failures.saturating_add(1) } else { 0 };
        let changed = next != self.condition;
        self.condition = next;
        changed.then_some(next)
    }
}

struct Watched {
    component: Component,
    tracker: Mutex<Tracker>,
}

struct Inner {
    watched: Vec<Watched>,
    draining: AtomicBool,
    /// The certificate of the listener, if it has one.
    certificate: OnceLock<Tls>,
}

/// The health of this instance. Clones share it.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

/// The answer to "should this instance get traffic?".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether to answer 200.
    pub serving: bool,
    /// `healthy`, `read-only`, `degraded` (200); `starting`, `unhealthy`, `draining` (503).
    pub state: &'static str,
    /// What is wrong, naming the component; empty when nothing is.
    pub error: String,
    /// Each component: name, condition, whether it is needed to pull.
    pub components: Vec<(String, Condition, bool)>,
}

impl Health {
    /// Health of an instance made of `components`. It answers 503 `starting` until each one that is needed to pull
    /// was probed well once: start [`Health::probe_every_second`].
    pub fn new(components: Vec<Component>) -> Self {
        let watch = |component| Watched { component, tracker: Mutex::new(Tracker::new()) };
        let watched = components.into_iter().map(watch).collect();
        Self(Arc::new(Inner { watched, draining: AtomicBool::new(false), certificate: OnceLock::new() }))
    }

    /// Turns health to 503 for good, before anything else is shut.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Tells of this certificate, too: it changes no verdict, since another instance has no better one.
    pub(crate) fn show_certificate(&self, tls: &Tls) {
        let _ = self.0.certificate.set(tls.clone());
    }

    /// For how many days the certificate is good, if there is one.
    pub(crate) fn certificate_days(&self) -> Option<i64> {
        self.0.certificate.get().map(Tls::days_left)
    }

    /// Whether [`Health::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// The verdict now, from memory.
    pub fn verdict(&self) -> Verdict {
        let components: Vec<_> = self
            .0
            .watched
            .iter()
            .map(|w| (w.component.name.clone(), w.tracker.lock().condition, w.component.needed_to_pull))
            .collect();
        Verdict::of(components, self.is_draining())
    }

    /// Whether the component of this name works, read-only or not.
    pub fn works(&self, name: &str) -> bool {
        let named = self.0.watched.iter().find(|watched| watched.component.name == name);
        named.is_some_and(|watched| watched.tracker.lock().condition.works())
    }

    /// Whether the location of this name works, as [`Component::storage`] names it.
    pub fn location_works(&self, location: &str) -> bool {
        self.works(&format!("storage {location}"))
    }

    fn observe(&self, index: usize, finding: &Finding) {
        let Some(watched) = self.0.watched.get(index) else { return };
        let Some(condition) = watched.tracker.lock().observe(finding) else { return };
        let (component, condition) = (watched.component.name.as_str(), condition.as_str());
        match finding {
            Finding::Well => tracing::info!(component, condition, "component changed"),
            Finding::ReadOnly(why) | Finding::Failed(why) => {
                tracing::warn!(component, condition, why, "component changed");
            }
        }
    }
}

impl Verdict {
    fn of(components: Vec<(String, Condition, bool)>, draining: bool) -> Self {
        let named = |of: &dyn Fn(Condition) -> bool, needed: Option<bool>| -> Vec<&str> {
            let wanted = |(_, c, n): &&(String, Condition, bool)| of(*c) && needed.is_none_or(|want| want == *n);
            components.iter().filter(wanted).map(|(name, ..)| name.as_str()).collect()
        };
        let down = named(&|c| c == Condition::Unhealthy, Some(true));
        let starting = named(&|c| c == Condition::Starting, Some(true));
        let beside = named(&|c| !c.works(), Some(false));
        let read_only = named(&|c| c == Condition::ReadOnly, None);
        let (serving, state, error) = if draining {
            (false, "draining", "this instance is shutting down".to_owned())
        } else if !down.is_empty() {
            (false, "unhealthy", format!("not reachable: {}", down.join(", ")))
        } else if !starting.is_empty() {
            (false, "starting", format!("not ready yet: {}", starting.join(", ")))
        } else if !read_only.is_empty() {
            (true, "read-only", format!("pulls only, pushes are refused; read-only: {}", read_only.join(", ")))
        } else if !beside.is_empty() {
            (true, "degraded", format!("not reachable, pulls go on: {}", beside.join(", ")))
        } else {
            (true, "healthy", String::new())
        };
        Self { serving, state, error, components }
    }
}

#[cfg(test)]
mod tests;
