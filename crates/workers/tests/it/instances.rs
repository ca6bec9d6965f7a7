//! Processes over one metadata: who is alive, and who does the work for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roadstead_metadata::records::{instance, lease};
use roadstead_metadata::{
    Batch, CommitError, Committed, Fault, Freshness, Memory, Millis, QueryError, Rows, Sql, Statement, Status, migrate,
    schema,
};
use roadstead_registry::{Clock, Everyone, Limits, Parts, Registry};
use roadstead_storage::{Location, Locations, Memory as MemoryStore, Scope};
use roadstead_workers::{InstanceStatus, Instances, Lease, Progress, StepError, Supervisor, Worker, WorkerState};
use tokio::time::{advance, sleep};
use uuid::Uuid;

use crate::clock::TestClock;

const BEAT: Duration = Duration::from_secs(3);

struct Process {
    instances: Arc<Instances>,
    collect: Lease,
    clock: Arc<TestClock>,
}

impl Process {
    async fn start(metadata: &Arc<Memory>, address: &str) -> Self {
        Self::over(metadata.clone(), address).await
    }

    async fn over(sql: Arc<dyn Sql>, address: &str) -> Self {
        let clock = Arc::new(TestClock::new());
        let engine = Arc::new(MemoryStore::new());
        let location = Location { name: "eu".into(), id: Uuid::from_u128(1), scope: Scope::Shared, engine };
        let registry = Registry::start(Parts {
            sql,
            locations: Locations::single(location),
            clock: clock.clone(),
            policy: Arc::new(Everyone),
            limits: Limits::default(),
        });
        let instances = Instances::new(registry.await.unwrap(), true, "1.2.3", "eu");
        instances.listens(address.into());
        let collect = instances.lease("collect");
        Self { instances, collect, clock }
    }

    async fn step(&self) {
        self.instances.step().await.unwrap();
    }

    async fn status(&self, of: &str) -> InstanceStatus {
        let all = self.instances.list().await.unwrap();
        all.into_iter().find(|status| status.address == of).unwrap()
    }
}

/// Takes commits, and at times answers no question.
#[derive(Debug)]
struct Deaf {
    inner: Arc<Memory>,
    deaf: AtomicBool,
}

#[async_trait::async_trait]
impl Sql for Deaf {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        match self.deaf.load(Ordering::SeqCst) {
            true => Err(QueryError::Unavailable("deaf".into())),
            false => self.inner.query_many(freshness, statements).await,
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.inner.commit(batch).await
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn revision(&self) -> Option<u64> {
        self.inner.revision()
    }
}

async fn metadata() -> Arc<Memory> {
    let metadata = Arc::new(Memory::open().unwrap());
    migrate(&*metadata, schema::MIGRATIONS, 0).await.unwrap();
    metadata
}

/// All of them give signs of life for so long.
async fn live(processes: &[&Process], seconds: u64) {
    for _ in 0..seconds / BEAT.as_secs() {
        for process in processes {
            process.step().await;
        }
        advance(BEAT).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_did_another_does_later_and_never_at_once() {
    let metadata = metadata().await;
    let (a, b) = (Process::start(&metadata, "a:1").await, Process::start(&metadata, "b:1").await);
    live(&[&a, &b], 60).await;
    assert!(a.collect.held() && !b.collect.held());
    assert_eq!(b.status("a:1").await.leases, ["collect"]);
    assert!(!b.status("a:1").await.silent);

    // The first is killed, as far as anybody can see.
    let mut passed = 0;
    while !b.collect.held() {
        b.step().await;
        advance(Duration::from_secs(1)).await;
        passed += 1;
        assert!(!(a.collect.held() && b.collect.held()), "both after {passed} s");
        assert!(passed < 30, "nobody took over");
    }
    assert!(passed >= 12, "taken over from one that may only be slow, after {passed} s");
    assert!(b.status("a:1").await.silent);
    assert_eq!(b.status("b:1").await.leases, ["collect"]);

    // It was not dead after all: it learns that it lost the work, and is one of them again.
    a.step().await;
    b.step().await;
    assert!(!a.collect.held() && b.collect.held());
    assert!(!b.status("a:1").await.silent);
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_leaves_its_work_at_once() {
    let metadata = metadata().await;
    let (a, b) = (Process::start(&metadata, "a:1").await, Process::start(&metadata, "b:1").await);
    live(&[&a, &b], 6).await;
    a.instances.leave().await.unwrap();
    assert!(!a.collect.held());
    b.step().await;
    assert!(b.collect.held());
    assert_eq!(b.instances.list().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_from_the_metadata_stops_in_time() {
    let metadata = metadata().await;
    let a = Process::start(&metadata, "a:1").await;
    live(&[&a], 6).await;
    metadata.set_status(Status::Down("gone".into()));
    sleep(Duration::from_secs(5)).await;
    assert!(a.collect.held(), "a hiccup costs it its work");
    sleep(Duration::from_secs(1)).await;
    assert!(!a.collect.held());
    metadata.set_status(Status::Writable);
    a.step().await;
    assert!(a.collect.held());
}

#[tokio::test(start_paused = true)]
async fn whose_clock_differs_from_most_gives_its_work_to_one_whose_clock_does_not() {
    let metadata = metadata().await;
    let a = Process::start(&metadata, "a:1").await;
    a.step().await;
    let (b, c) = (Process::start(&metadata, "b:1").await, Process::start(&metadata, "c:1").await);
    for jump in [60_000, -120_000] {
        live(&[&a, &b, &c], 15).await;
        assert!(a.collect.held() && a.collect.clock_agrees());
        a.clock.jump(jump);
        live(&[&a, &b, &c], 15).await;
        assert!(!a.collect.held() && !a.collect.clock_agrees());
        assert!(b.collect.held() && b.collect.clock_agrees() && c.collect.clock_agrees());
        assert!(c.status("a:1").await.clock_differs && !c.status("b:1").await.clock_differs);
        // Its clock is set right, and the work comes back when the other ends.
        a.clock.jump(-jump);
        live(&[&a, &b, &c], 15).await;
        assert!(a.collect.clock_agrees() && !a.collect.held());
        b.instances.leave().await.unwrap();
        a.step().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_clocks_that_differ_nobody_knows_which_is_right() {
    let metadata = metadata().await;
    let (a, b) = (Process::start(&metadata, "a:1").await, Process::start(&metadata, "b:1").await);
    live(&[&a, &b], 15).await;
    b.clock.jump(6_000);
    live(&[&a, &b], 15).await;
    assert!(!a.collect.held() && !b.collect.held());
    b.clock.jump(-4_000);
    live(&[&a, &b], 15).await;
    assert!(a.collect.held() || b.collect.held(), "2 s are nothing");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_frozen_believes_in_nothing_before_it_looked() {
    let metadata = metadata().await;
    let deaf = Arc::new(Deaf { inner: metadata.clone(), deaf: AtomicBool::new(false) });
    let (a, b) = (Process::over(deaf.clone(), "a:1").await, Process::start(&metadata, "b:1").await);
    live(&[&a, &b], 6).await;
    live(&[&b], 30).await;
    assert!(b.collect.held());
    // Its sign of life arrives, and what it asks then is not answered.
    deaf.deaf.store(true, Ordering::SeqCst);
    a.instances.step().await.unwrap_err();
    assert!(!a.collect.held() && b.collect.held());
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_that_may_have_been_seen_is_not_given_twice() {
    let metadata = metadata().await;
    let (a, b) = (Process::start(&metadata, "a:1").await, Process::start(&metadata, "b:1").await);
    live(&[&a, &b], 6).await;
    let seen = |rows: Vec<roadstead_metadata::Row>| rows[0].integer(0).unwrap();
    let question = || Statement::new("SELECT beat FROM instance WHERE address = 'a:1'", vec![]);
    let before = seen(metadata.query(Freshness::Latest, question()).await.unwrap());
    metadata.fail_next_commit(Fault::UnavailableBefore);
    a.instances.step().await.unwrap_err();
    a.step().await;
    assert_eq!(seen(metadata.query(Freshness::Latest, question()).await.unwrap()), before + 2);
}

fn entered(id: u128, beat: i64, beat_at: Millis) -> Statement {
    let (address, version, region) = ("x:1".to_owned(), "1".to_owned(), String::new());
    instance::beat(&instance::Instance {
        id: Uuid::from_u128(id),
        address,
        version,
        region,
        started_at: 0,
        beat,
        beat_at,
    })
}

async fn commit(metadata: &Memory, statements: impl IntoIterator<Item = Statement>) -> Result<(), CommitError> {
    let mut batch = Batch::new(Uuid::now_v7(), 0);
    batch.extend(statements);
    metadata.commit(batch).await.map(|_| ())
}

#[tokio::test]
async fn of_two_that_take_a_lease_over_one_wins_and_of_the_living_nobody_takes_it() {
    let metadata = metadata().await;
    let [me, other, dead] = [1, 2, 3].map(Uuid::from_u128);
    commit(&metadata, [entered(1, 1, 0), entered(2, 1, 0), entered(3, 7, 0)]).await.unwrap();
    commit(&metadata, lease::take("w", dead, 0)).await.unwrap();
    let conflicts = |result: Result<(), CommitError>| matches!(result, Err(CommitError::Conflict(_)));
    assert!(conflicts(commit(&metadata, lease::take("w", me, 0)).await), "it has an owner");
    commit(&metadata, [entered(3, 8, 0)]).await.unwrap();
    assert!(conflicts(commit(&metadata, lease::take_over("w", me, dead, 7, 0)).await), "its owner lives");
    commit(&metadata, lease::take_over("w", me, dead, 8, 0)).await.unwrap();
    assert!(conflicts(commit(&metadata, lease::take_over("w", other, dead, 8, 0)).await), "it is another's now");
    // Only the owner itself can end while it owns something.
    assert!(conflicts(commit(&metadata, [instance::leave(me)]).await));
    commit(&metadata, [instance::forget(1)]).await.unwrap();
    let (left, _) = instance::with_leases(&*metadata).await.unwrap();
    assert_eq!(left.iter().map(|instance| instance.id).collect::<Vec<_>>(), [me]);
}

#[derive(Debug)]
struct Counting(tokio::sync::watch::Sender<u32>);

#[async_trait::async_trait]
impl Worker for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn step(&self) -> Result<Progress, StepError> {
        self.0.send_modify(|steps| *steps += 1);
        Ok(Progress::IDLE)
    }
}

#[tokio::test(start_paused = true)]
async fn a_leased_worker_works_where_its_lease_is() {
    let metadata = metadata().await;
    let (a, b) = (Process::start(&metadata, "a:1").await, Process::start(&metadata, "b:1").await);
    a.step().await;
    let supervisor = Supervisor::new(b.clock.clone() as Arc<dyn Clock>);
    let (sender, mut steps) = tokio::sync::watch::channel(0);
    supervisor.spawn(b.instances.clone());
    supervisor.spawn_leased(Arc::new(Counting(sender)), b.collect.clone());
    for _ in 0..4 {
        a.step().await;
        sleep(BEAT).await;
    }
    assert_eq!(*steps.borrow(), 0);
    assert_eq!(supervisor.statuses()[1].state, WorkerState::Elsewhere);
    a.instances.leave().await.unwrap();
    steps.wait_for(|steps| *steps > 1).await.unwrap();
    assert_ne!(supervisor.statuses()[1].state, WorkerState::Elsewhere);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_its_metadata_for_itself_does_everything() {
    let metadata = metadata().await;
    let process = Process::start(&metadata, "a:1").await;
    let registry = crate::rig::Rig::new().await.registry;
    let alone = Instances::new(registry, false, "1.2.3", "");
    let lease = alone.lease("collect");
    alone.step().await.unwrap();
    assert!(lease.held());
    let listed = alone.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].answers, listed[0].leases.len()), (1, true, 1));
    // Nothing is written where nobody reads it, nor before the process can be reached.
    assert!(process.instances.list().await.unwrap().is_empty());
}
