//! Scrub: compares what metadata says with what the stores hold, both ways, and names what is damaged.
//!
//! A run goes through known damage, then through the placements of a location, then through its objects, in pages whose
//! end is committed, so that it goes on where it stood in any process. A deep run reads and hashes, at a limited rate.
//! Between runs scrub clears away what damage no longer needs, and looks at once at copies that a pull met damaged.
//!
//! No finding is trusted at once. Before anything is committed the store must have shown that it is there and ours, and
//! the object must have been found bad twice. Nothing that may still be wanted is deleted here: a damaged object is
//! quarantined under its key until its blob has a whole copy again or is gone, and an object that nothing names is left
//! for a grace after it was first seen, and longer when there are many.

mod brake;
mod damage;
mod look;
mod objects;
mod placements;
mod report;
mod restored;
mod suspects;
mod tidy;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_metadata::records::damage::Kind;
use roadstead_metadata::records::scrub::{self, Phase, Run};
use roadstead_metadata::records::{damage as records, placement};
use roadstead_metadata::{CommitError, Millis, Sql, Statement};
use roadstead_registry::Registry;
use roadstead_storage::Location;
use uuid::Uuid;

use crate::steady::Steady;
use crate::{Lease, Progress, StepError, Worker, commit, millis};
pub use report::DamagedObject;
use suspects::Begun;
use tidy::Upkeep;
use turn::{Pace, Turn};

/// How often a whole pass begins by itself, unless configured.
const INTERVAL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes read in a second, unless configured.
const RATE: u64 = 20 << 20;
/// How often it is looked whether a pass is due, and whether something can be cleared away.
const PERIOD: Duration = Duration::from_secs(60);
/// For how long the wall clock must have gone steadily before an age is believed, unless the grace is shorter.
const STEADY: Duration = Duration::from_secs(10 * 60);

/// Finds damage.
#[derive(Debug)]
pub struct Scrub {
    registry: Arc<Registry>,
    interval: Duration,
    deep: bool,
    rate: u64,
    steady: Steady,
    pace: Pace,
    begun: Mutex<Option<Begun>>,
    upkeep: Mutex<BTreeMap<Uuid, Upkeep>>,
    damaged: Mutex<Vec<DamageCount>>,
    /// When that was counted, unless it has changed since.
    counted: Mutex<Option<Duration>>,
    /// Copies that each location should have, as counted for a run of it.
    placements: Mutex<BTreeMap<Uuid, (Option<Uuid>, u64)>>,
    /// Among several processes, that to go through the locations for all.
    lease: Option<Lease>,
}

/// How many objects of a location are recorded as being of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageCount {
    /// The location's name.
    pub location: String,
    /// What is wrong with them.
    pub kind: Kind,
    /// How many.
    pub objects: u64,
}

/// What is known of the scrub of one location.
#[derive(Debug, Clone)]
pub struct ScrubState {
    /// The location's name.
    pub location: String,
    /// Its id.
    pub id: Uuid,
    /// Copies it should have.
    pub placements: u64,
    /// Objects that nothing names and that are kept because they are many; 0 when they are few, or were let go.
    pub held: u64,
    /// Its last run.
    pub last: Option<Run>,
}

impl Scrub {
    /// Works on the locations that `registry` is configured with.
    pub fn new(registry: Arc<Registry>) -> Self {
        let (begun, upkeep, damaged) = Default::default();
        let (counted, placements) = Default::default();
        let (steady, pace) = (Steady::default(), Pace::default());
        Self {
            registry,
            interval: INTERVAL,
            deep: true,
            rate: RATE,
            steady,
            pace,
            begun,
            upkeep,
            damaged,
            counted,
            placements,
            lease: None,
        }
    }

    /// Of several processes, goes through locations only while it holds `lease`. What its own pulls met it looks at anyway.
    pub fn with_lease(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Begins a whole pass every `interval` in place of every week.
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Whether passes that begin by themselves read and hash, as they do unless told otherwise.
    pub fn with_deep(self, deep: bool) -> Self {
        Self { deep, ..self }
    }

    /// Reads `rate` bytes in a second in place of 20 MiB.
    pub fn with_rate(self, rate: u64) -> Self {
        Self { rate, ..self }
    }

    /// Asks for a run over all locations; its id, or `None` while one is under way. Whoever asks wakes the worker.
    pub async fn begin(&self, deep: bool, rate: Option<u64>) -> Result<Option<Uuid>, StepError> {
        self.begin_run(deep, rate, true).await
    }

    async fn begin_run(&self, deep: bool, rate: Option<u64>, by_hand: bool) -> Result<Option<Uuid>, StepError> {
        let (run, at) = (Uuid::now_v7(), self.registry.clock().now());
        let locations = self.registry.locations().iter();
        let begun = self.try_commit(locations.flat_map(|l| scrub::begin(l.id, run, deep, rate, by_hand, at))).await?;
        Ok(begun.then_some(run))
    }

    /// Stops the run that is under way, if there is one.
    pub async fn stop(&self) -> Result<(), StepError> {
        let at = self.registry.clock().now();
        commit(&self.registry, self.registry.locations().iter().map(|location| scrub::stop(location.id, at))).await
    }

    /// The last run of each location.
    pub async fn state(&self) -> Result<Vec<ScrubState>, StepError> {
        let mut states = Vec::new();
        for location in self.registry.locations().iter() {
            let last = scrub::get(self.sql(), location.id).await?.and_then(|history| history.last);
            let placements = self.placements(location, last.as_ref().map(|run| run.run)).await?;
            let held = self.held(location).await?.filter(|held| held.let_go.is_none()).map_or(0, |held| held.orphans);
            states.push(ScrubState { location: location.name.clone(), id: location.id, placements, held, last });
        }
        Ok(states)
    }

    /// Copies that a location should have: counting them reads an index to its end, which is done once for each run.
    async fn placements(&self, location: &Location, run: Option<Uuid>) -> Result<u64, StepError> {
        let counted = self.placements.lock().get(&location.id).copied();
        if let Some((_, count)) = counted.filter(|(of, _)| of.is_some() && *of == run) {
            return Ok(count);
        }
        let count = placement::count(self.sql(), location.id).await?;
        self.placements.lock().insert(location.id, (run, count));
        Ok(count)
    }

    /// How many objects are damaged or orphans, as last counted; every kind of every location.
    pub fn damaged(&self) -> Vec<DamageCount> {
        self.damaged.lock().clone()
    }

    fn sql(&self) -> &dyn Sql {
        &**self.registry.sql()
    }

    /// Commits, `false` when others changed what it was about.
    async fn try_commit(&self, statements: impl IntoIterator<Item = Statement>) -> Result<bool, StepError> {
        self.counted.lock().take();
        self.try_save(statements).await
    }

    /// Commits what changes the counts.
    async fn commit(&self, statements: impl IntoIterator<Item = Statement>) -> Result<(), StepError> {
        self.counted.lock().take();
        commit(&self.registry, statements).await
    }

    /// Commits what changes no counts, `false` when others changed what it was about.
    async fn try_save(&self, statements: impl IntoIterator<Item = Statement>) -> Result<bool, StepError> {
        match commit(&self.registry, statements).await {
            Err(StepError::Commit(CommitError::Conflict(why))) => {
                tracing::debug!(why, "what scrub found has changed meanwhile");
                Ok(false)
            }
            committed => committed.map(|()| true),
        }
    }

    /// Orphans first seen no later than this may be nobody's; `None` while the clock cannot be believed.
    fn orphaned_before(&self) -> Option<Millis> {
        let now = self.believed_now()?;
        let grace = self.registry.limits().grace;
        Some(now - millis(grace))
    }

    /// The wall clock, when it has gone steadily for long enough to judge an age.
    fn believed_now(&self) -> Option<Millis> {
        self.steady.now(&**self.registry.clock(), STEADY.min(self.registry.limits().grace))
    }

    /// One unit of work at a location.
    async fn at(&self, location: &Location) -> Result<Work, StepError> {
        let history = scrub::get(self.sql(), location.id).await?;
        let Some(history) = history else { return Ok(Work::default()) };
        match history.running() {
            Some(run) => {
                let work = self.advance(location, run).await?;
                self.tidy_now_and_then(location).await;
                Ok(work)
            }
            None => {
                let last = history.last.as_ref().and_then(|run| run.ended_at).unwrap_or(history.since);
                let ago = self.registry.clock().now().saturating_sub(last);
                // A last run that is yet to come was dated by a clock that has been set back since.
                let due = ago >= millis(self.interval) || ago < -millis(PERIOD);
                Ok(Work { due, done: self.tidy(location).await?, ..Work::default() })
            }
        }
    }

    /// Moves a run on and saves how far it came, also when it came to a failure.
    async fn advance(&self, location: &Location, was: &Run) -> Result<Work, StepError> {
        let mut run = was.clone();
        let rate = run.rate.unwrap_or(self.rate);
        let mut turn = Turn::begin(&**self.registry.clock(), Some((&self.pace, rate)));
        let result = match run.phase {
            Phase::Damage => self.look_at_damage(location, &mut run, &mut turn).await,
            Phase::Placements => self.look_at_placements(location, &mut run, &mut turn).await,
            Phase::Objects => self.look_at_objects(location, &mut run, &turn).await,
        };
        run.counts.bytes += turn.bytes;
        let saved = run == *was || self.try_save(scrub::save(location.id, &run, self.registry.clock().now())).await?;
        result?;
        if saved && run.ended_at.is_some() {
            self.counted.lock().take();
            tell(location, &run);
        }
        let done = (run.counts.objects - was.counts.objects).max(1);
        Ok(Work { running: true, done, bytes: turn.bytes, due: false })
    }

    /// How much is damaged: counted, for the metrics too, after changes and at most a period ago.
    async fn count(&self) -> Result<u64, StepError> {
        let now = self.registry.clock().monotonic();
        let fresh = self.counted.lock().is_some_and(|counted| now.saturating_sub(counted) < PERIOD);
        if !fresh {
            let all = self.count_all().await?;
            *self.damaged.lock() = all;
            *self.counted.lock() = Some(now);
        }
        let damaged = self.damaged.lock();
        Ok(damaged.iter().filter(|count| count.kind != Kind::Orphan).map(|count| count.objects).sum())
    }

    async fn count_all(&self) -> Result<Vec<DamageCount>, StepError> {
        let mut all = Vec::new();
        for location in self.registry.locations().iter() {
            let counts = records::counts(self.sql(), location.id).await?;
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Reaped) {
                let objects = counts.iter().find(|(found, _)| *found == kind).map_or(0, |(_, count)| *count);
                all.push(DamageCount { location: location.name.clone(), kind, objects });
            }
        }
        Ok(all)
    }
}

/// What was done in one step.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    /// Whether a run is under way.
    running: bool,
    /// Whether one is due.
    due: bool,
    done: u64,
    bytes: u64,
}

#[async_trait]
impl Worker for Scrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn period(&self) -> Duration {
        // Not much later than an orphan's grace ends.
        PERIOD.min(self.interval).min(self.registry.limits().grace.max(Duration::from_secs(1)))
    }

    /// Fails only when no location made progress, so that one that is away does not slow down the others.
    async fn step(&self) -> Result<Progress, StepError> {
        let (mut all, mut failed) = self.look_at_suspects().await;
        let ours = self.lease.as_ref().is_none_or(Lease::held);
        for location in self.registry.locations().iter().filter(|_| ours) {
            match self.at(location).await {
                Ok(work) => {
                    all.running |= work.running;
                    all.due |= work.due;
                    all.done += work.done;
                    all.bytes += work.bytes;
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if all.due && !all.running && failed.is_none() && self.begin_run(self.deep, None, false).await?.is_some() {
            all.done += 1;
        }
        let backlog = Some(self.count().await?);
        match failed {
            Some(error) if all.done == 0 => Err(error),
            _ => Ok(Progress { done: all.done, more: true, backlog, bytes: all.bytes, oldest: None }),
        }
    }
}

fn tell(location: &Location, run: &Run) {
    let counts = run.counts;
    tracing::info!(
        location = location.name,
        deep = run.deep,
        objects = counts.objects,
        bytes = counts.bytes,
        missing = counts.missing,
        wrong_size = counts.wrong_size,
        wrong_hash = counts.wrong_hash,
        unreadable = counts.unreadable,
        orphans = counts.orphans,
        repaired = counts.repaired,
        "scrub ended"
    );
}
