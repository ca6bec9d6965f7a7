//! The processes over one metadata: their signs of life, and the leases by which they share background work.
//!
//! Every process gives a sign of life each [`BEAT`] and looks at those of the others. A process is silent when its beat
//! stayed the same for [`TERM`] on the clock of whoever looks, which does not jump; its leases may be taken then. A
//! process believes in its own only for [`HELD`] after a beat that was committed, so that one that is cut off from the
//! metadata stops working before another begins.
//!
//! Ages are judged by wall clocks, so a process whose clock differs from most others' gives up its leases. Of two that
//! differ nobody can say which is right, and neither removes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_metadata::records::instance::{self, Instance};
use roadstead_metadata::records::lease::{self, Lease as Owned};
use roadstead_metadata::{CommitError, Millis, QueryError, Statement};
use roadstead_registry::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::{Progress, StepError, Worker, commit, millis};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(3);
/// After a beat, for how long the leases of this process are believed to be its own.
const HELD: Duration = Duration::from_secs(9);
/// How long a beat must stay the same until leases may be taken from its process.
const TERM: Duration = Duration::from_secs(15);
/// What the wall clocks of two processes may differ by, beside the time since a beat that is not known better than to a
/// [`BEAT`]: so that 5 s are always noticed.
const CLOCKS: Duration = Duration::from_secs(2);
/// Silent for so long, a process is no longer listed.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// This process among the others.
#[derive(Debug)]
pub struct Instances {
    registry: Arc<Registry>,
    /// Whether there may be others.
    shared: bool,
    id: Uuid,
    version: String,
    region: String,
    started_at: Millis,
    /// What leases this process would have.
    wanted: Mutex<BTreeSet<&'static str>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where it listens, once it does.
    address: Option<String>,
    beat: i64,
    /// When the last beat began after which it was seen what this process owns, on the monotonic clock.
    renewed: Option<Duration>,
    owned: BTreeSet<String>,
    others: BTreeMap<Uuid, Other>,
    /// When the others were last looked at, on the monotonic clock.
    looked: Option<Duration>,
    differs: bool,
}

/// What was seen of another process.
#[derive(Debug, Clone, Copy)]
struct Other {
    beat: i64,
    /// When that beat was first seen, on the monotonic clock.
    since: Duration,
    /// Of its last beats, how many were dated by a clock that differs from ours: one alone may have been long on its way.
    strikes: u32,
}

impl Other {
    fn silent(self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= TERM
    }

    fn differs(self) -> bool {
        self.strikes > 1
    }
}

/// A process as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InstanceStatus {
    /// A new one for each run of a process.
    pub id: Uuid,
    /// Where it listens: `host:port`.
    pub address: String,
    /// The program's version.
    pub version: String,
    /// The region it is configured with; empty without one.
    pub region: String,
    /// When it started: milliseconds since the epoch, by its clock.
    pub started_at: Millis,
    /// Its last sign of life, likewise.
    pub beat_at: Millis,
    /// Whether it is the one that answers.
    pub answers: bool,
    /// Whether it gave no sign of life for so long that its work is taken over.
    pub silent: bool,
    /// Whether its wall clock differs from that of the one that answers by more than 5 s.
    pub clock_differs: bool,
    /// The background work that it does for all.
    pub leases: Vec<String>,
}

/// The right to do a kind of background work for all processes.
#[derive(Debug, Clone)]
pub struct Lease {
    name: &'static str,
    instances: Arc<Instances>,
}

impl Lease {
    /// Whether it is this process's now. Two may believe so for a moment after one of them was frozen.
    pub fn held(&self) -> bool {
        self.instances.holds(self.name)
    }

    /// Whether the wall clock of this process may be believed beside those of the others.
    pub fn clock_agrees(&self) -> bool {
        !self.instances.state.lock().differs
    }
}

impl Instances {
    /// This process over the metadata of `registry`, which others use too when it is `shared`. `region` may be empty.
    pub fn new(registry: Arc<Registry>, shared: bool, version: &str, region: &str) -> Arc<Self> {
        let (started_at, version, region) = (registry.clock().now(), version.to_owned(), region.to_owned());
        let (wanted, state) = Default::default();
        Arc::new(Self { registry, shared, id: Uuid::now_v7(), version, region, started_at, wanted, state })
    }

    /// Its id: a new one for each run of a process.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The process listens there, which begins its life among the others.
    pub fn listens(&self, address: String) {
        self.state.lock().address = Some(address);
    }

    /// The lease `name`, which this process tries to have from now on.
    pub fn lease(self: &Arc<Self>, name: &'static str) -> Lease {
        self.wanted.lock().insert(name);
        Lease { name, instances: self.clone() }
    }

    /// The process ends: others need not wait for its leases.
    pub async fn leave(&self) -> Result<(), StepError> {
        let entered = {
            let mut state = self.state.lock();
            state.renewed = None;
            state.beat > 0
        };
        if self.shared && entered {
            commit(&self.registry, [lease::release(self.id), instance::leave(self.id)]).await?;
        }
        Ok(())
    }

    /// All processes, oldest first.
    pub async fn list(&self) -> Result<Vec<InstanceStatus>, QueryError> {
        if !self.shared {
            let wanted = self.wanted.lock().iter().map(|name| (*name).to_owned()).collect();
            return Ok(vec![self.status(self.me(), wanted)]);
        }
        let (instances, leases) = instance::with_leases(&**self.registry.sql()).await?;
        let owned = |id: Uuid| leases.iter().filter(move |lease| lease.owner == id).map(|lease| lease.name.clone());
        Ok(instances
            .into_iter()
            .map(|instance| (owned(instance.id).collect(), instance))
            .map(|(owned, instance)| self.status(instance, owned))
            .collect())
    }

    fn status(&self, of: Instance, leases: Vec<String>) -> InstanceStatus {
        let now = self.registry.clock().monotonic();
        let other = self.state.lock().others.get(&of.id).copied();
        InstanceStatus {
            id: of.id,
            address: of.address,
            version: of.version,
            region: of.region,
            started_at: of.started_at,
            beat_at: of.beat_at,
            answers: of.id == self.id,
            silent: other.is_some_and(|other| other.beat == of.beat && other.silent(now)),
            clock_differs: other.is_some_and(Other::differs),
            leases,
        }
    }

    /// Itself, at its next beat.
    fn me(&self) -> Instance {
        let state = self.state.lock();
        Instance {
            id: self.id,
            address: state.address.clone().unwrap_or_default(),
            version: self.version.clone(),
            region: self.region.clone(),
            started_at: self.started_at,
            beat: state.beat + 1,
            beat_at: self.registry.clock().now(),
        }
    }

    fn holds(&self, name: &str) -> bool {
        if !self.shared {
            return true;
        }
        let (now, state) = (self.registry.clock().monotonic(), self.state.lock());
        let fresh = state.renewed.is_some_and(|renewed| now.saturating_sub(renewed) < HELD);
        fresh && !state.differs && state.owned.contains(name)
    }

    /// Gives a sign of life; how long that took.
    async fn beat(&self) -> Result<Duration, StepError> {
        let began = self.registry.clock().monotonic();
        let me = self.me();
        // Whatever becomes of it: a number that others may have seen must not be that of a later sign.
        self.state.lock().beat = me.beat;
        let forgotten = me.beat_at - millis(FORGOTTEN);
        commit(&self.registry, [instance::beat(&me), instance::forget(forgotten)]).await?;
        Ok(self.registry.clock().monotonic().saturating_sub(began))
    }

    /// Takes note of the others' signs of life and of their clocks, and of what this process owns at its own sign that
    /// began then. Theirs may have been on their way for as long as this one was: `on_its_way`.
    fn look(&self, began: Duration, on_its_way: Duration, instances: &[Instance], leases: &[Owned]) {
        let (now, wall) = (self.registry.clock().monotonic(), self.registry.clock().now());
        let mut state = self.state.lock();
        let since_last = state.looked.map(|looked| now.saturating_sub(looked));
        let mut others = BTreeMap::new();
        for instance in instances.iter().filter(|instance| instance.id != self.id) {
            let other = match state.others.get(&instance.id) {
                Some(known) if known.beat == instance.beat => *known,
                // A beat that was given between the last look and this one, by a clock that should tell the same.
                known => {
                    let (earliest, latest) =
                        (since_last.map(|ago| wall - millis(ago + on_its_way + CLOCKS)), wall + millis(CLOCKS));
                    let late = known.is_some() && earliest.is_some_and(|earliest| instance.beat_at < earliest);
                    let struck = known.map_or(0, |known| known.strikes);
                    let strikes = if late || instance.beat_at > latest { struck + 1 } else { 0 };
                    Other { beat: instance.beat, since: now, strikes }
                }
            };
            others.insert(instance.id, other);
        }
        let alive = others.values().filter(|other| !other.silent(now));
        let differing = alive.clone().filter(|other| other.differs()).count();
        let differs = 2 * differing > alive.count();
        if differs != state.differs {
            match differs {
                true => tracing::error!(
                    differing,
                    "the clock of this machine differs from that of most instances by more than 5 s: it does no \
                     background work until the clocks agree; is NTP running?"
                ),
                false => tracing::info!("the clock of this machine agrees with that of the other instances again"),
            }
        }
        state.owned = leases.iter().filter(|lease| lease.owner == self.id).map(|lease| lease.name.clone()).collect();
        (state.others, state.looked, state.differs) = (others, Some(now), differs);
        // Not before: one that was frozen may have lost what it believes to own.
        state.renewed = Some(began);
    }

    /// What is to be committed for a lease to be this process's; `None` while another has it.
    fn claim(&self, name: &'static str, leases: &[Owned]) -> Option<Vec<Statement>> {
        let (now, at) = (self.registry.clock().monotonic(), self.registry.clock().now());
        let Some(lease) = leases.iter().find(|lease| lease.name == name) else {
            return Some(lease::take(name, self.id, at).into());
        };
        let owner = *self.state.lock().others.get(&lease.owner)?;
        owner.silent(now).then(|| lease::take_over(name, self.id, lease.owner, owner.beat, at).into())
    }

    /// Takes what leases can be had; how many.
    async fn claim_all(&self, leases: &[Owned]) -> Result<u64, StepError> {
        let wanted = self.wanted.lock().clone();
        let mut taken = 0;
        for name in wanted {
            let Some(claim) = self.claim(name, leases) else { continue };
            match commit(&self.registry, claim).await {
                Ok(()) => {
                    tracing::info!(lease = name, "this instance does the work of a lease from now on");
                    self.state.lock().owned.insert(name.to_owned());
                    taken += 1;
                }
                // Another was first, or the owner is alive after all.
                Err(StepError::Commit(CommitError::Conflict(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Gives up all leases.
    async fn release(&self) -> Result<(), StepError> {
        let owned = std::mem::take(&mut self.state.lock().owned);
        if !owned.is_empty() {
            commit(&self.registry, [lease::release(self.id)]).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Worker for Instances {
    fn name(&self) -> &'static str {
        "instances"
    }

    fn period(&self) -> Duration {
        BEAT
    }

    /// A beat, a look at the others, and what leases can be had.
    async fn step(&self) -> Result<Progress, StepError> {
        if !self.shared || self.state.lock().address.is_none() {
            return Ok(Progress::IDLE);
        }
        let began = self.registry.clock().monotonic();
        let on_its_way = self.beat().await?;
        let (instances, leases) = instance::with_leases(&**self.registry.sql()).await?;
        self.look(began, on_its_way, &instances, &leases);
        let differs = self.state.lock().differs;
        let done = if differs {
            self.release().await?;
            0
        } else {
            self.claim_all(&leases).await?
        };
        Ok(Progress { done, ..Progress::IDLE })
    }
}
