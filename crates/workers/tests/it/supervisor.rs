use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_metadata::QueryError;
use roadstead_workers::{Progress, StepError, Supervisor, Worker, WorkerState};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::clock::{START, TestClock};

const PERIOD: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Act {
    Do(Progress),
    Fail(&'static str),
    Panic,
    /// Never ends.
    Hang,
}

const NOTHING: Act = Act::Do(Progress::IDLE);

/// Does one act per step, the last one for ever, and keeps when each step began.
#[derive(Debug)]
struct Actor {
    name: &'static str,
    acts: Mutex<Vec<Act>>,
    began: Mutex<Vec<Instant>>,
    steps: Semaphore,
}

impl Actor {
    fn new(name: &'static str, acts: impl IntoIterator<Item = Act>) -> Arc<Self> {
        let mut acts: Vec<_> = acts.into_iter().collect();
        acts.reverse();
        Arc::new(Self { name, acts: Mutex::new(acts), began: Mutex::default(), steps: Semaphore::new(0) })
    }

    /// Waits until so many more steps have begun.
    async fn steps(&self, count: u32) {
        self.steps.acquire_many(count).await.unwrap().forget();
    }

    /// When its steps began, in seconds since `start`.
    fn began(&self, start: Instant) -> Vec<u64> {
        self.began.lock().iter().map(|at| at.duration_since(start).as_secs()).collect()
    }
}

#[async_trait]
impl Worker for Actor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn step(&self) -> Result<Progress, StepError> {
        self.began.lock().push(Instant::now());
        self.steps.add_permits(1);
        let act = {
            let mut acts = self.acts.lock();
            if acts.len() > 1 { acts.pop().unwrap() } else { acts[0] }
        };
        match act {
            Act::Do(progress) => Ok(progress),
            Act::Fail(why) => Err(QueryError::Unavailable(why.into()).into()),
            Act::Panic => panic!("on purpose"),
            Act::Hang => std::future::pending().await,
        }
    }
}

fn supervise(actor: &Arc<Actor>) -> Supervisor {
    let supervisor = Supervisor::new(Arc::new(TestClock::new()));
    supervisor.spawn(actor.clone());
    supervisor
}

/// Lets every task run until it waits.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn steps_at_once_and_then_once_per_period() {
    let start = Instant::now();
    let actor = Actor::new("actor", [NOTHING]);
    let _supervisor = supervise(&actor);
    actor.steps(3).await;
    assert_eq!(actor.began(start), [0, 600, 1200]);
}

#[tokio::test(start_paused = true)]
async fn more_to_do_is_done_at_once_but_only_after_progress() {
    let start = Instant::now();
    let more = |done| Act::Do(Progress { done, more: true, backlog: Some(7), ..Progress::default() });
    let actor = Actor::new("actor", [more(2), more(3), more(0), NOTHING]);
    let supervisor = supervise(&actor);
    actor.steps(3).await;
    settle().await;
    let status = &supervisor.statuses()[0];
    assert_eq!((status.done_total, status.backlog, status.runs), (5, Some(7), 3));
    actor.steps(1).await;
    assert_eq!(actor.began(start), [0, 0, 0, 600], "a step that did nothing is followed by a rest");
}

#[tokio::test(start_paused = true)]
async fn a_woken_worker_steps_at_once_also_when_woken_during_a_step() {
    let start = Instant::now();
    let actor = Actor::new("actor", [NOTHING]);
    let supervisor = supervise(&actor);
    actor.steps(1).await;
    settle().await;
    assert!(supervisor.wake("actor"));
    actor.steps(1).await;
    // Woken before it rests: the wish is kept.
    assert!(supervisor.wake("actor"));
    actor.steps(1).await;
    assert_eq!(actor.began(start), [0, 0, 0]);
    assert!(!supervisor.wake("nobody"));
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_with_growing_pauses_and_forgotten_after_success() {
    let start = Instant::now();
    let fails = std::iter::repeat_n(Act::Fail("no leader"), 8);
    let actor = Actor::new("actor", fails.chain([NOTHING]));
    let supervisor = supervise(&actor);
    actor.steps(1).await;
    settle().await;
    // A signal does not shorten the pause, or an outage would become a busy loop.
    supervisor.wake("actor");
    actor.steps(7).await;
    settle().await;
    let status = &supervisor.statuses()[0];
    assert_eq!((status.state, status.failures, status.runs), (WorkerState::Failing, 8, 8));
    assert!(status.last_error.as_ref().unwrap().contains("no leader"));
    assert_eq!(actor.began(start), [0, 1, 3, 7, 15, 31, 63, 123]);
    actor.steps(1).await;
    settle().await;
    let status = &supervisor.statuses()[0];
    assert_eq!((status.state, status.failures, status.last_error.clone()), (WorkerState::Waiting, 0, None));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_reported_and_the_worker_goes_on() {
    let actor = Actor::new("actor", [Act::Panic, NOTHING]);
    let supervisor = supervise(&actor);
    actor.steps(1).await;
    settle().await;
    let status = &supervisor.statuses()[0];
    assert_eq!((status.state, status.last_error.as_deref()), (WorkerState::Failing, Some("panicked: on purpose")));
    actor.steps(1).await;
    settle().await;
    assert_eq!(supervisor.statuses()[0].state, WorkerState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn statuses_name_every_worker_and_date_its_last_run() {
    let idle = Actor::new("idle", [NOTHING]);
    let hanging = Actor::new("hanging", [Act::Hang]);
    let supervisor = supervise(&idle);
    supervisor.spawn(hanging.clone());
    idle.steps(2).await;
    settle().await;
    let [idle, hanging] = &supervisor.statuses()[..] else { panic!("two workers") };
    assert_eq!((idle.name, idle.state, idle.runs), ("idle", WorkerState::Waiting, 2));
    assert_eq!(idle.last_run, Some(START + PERIOD.as_millis() as i64));
    assert_eq!((hanging.name, hanging.state, hanging.last_run), ("hanging", WorkerState::Running, None));
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_steps_and_aborts_only_what_hangs() {
    let start = Instant::now();
    let idle = Actor::new("idle", [NOTHING]);
    let failing = Actor::new("failing", [Act::Fail("down")]);
    let hanging = Actor::new("hanging", [Act::Hang]);
    let supervisor = supervise(&idle);
    supervisor.spawn(failing.clone());
    supervisor.spawn(hanging.clone());
    for actor in [&idle, &failing, &hanging] {
        actor.steps(1).await;
    }
    assert_eq!(supervisor.stop(5 * SECOND).await, ["hanging"]);
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert!(supervisor.statuses().iter().all(|status| status.state == WorkerState::Stopped));
    sleep(10 * PERIOD).await;
    for actor in [&idle, &failing, &hanging] {
        assert_eq!(actor.began.lock().len(), 1, "{} stepped after the stop", actor.name);
        assert_eq!(Arc::strong_count(actor), 1, "{} is still held by its task", actor.name);
    }
    assert_eq!(supervisor.stop(SECOND).await, Vec::<&str>::new(), "stopping twice is harmless");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_supervisor_aborts_the_steps() {
    let hanging = Actor::new("hanging", [Act::Hang]);
    let supervisor = supervise(&hanging);
    hanging.steps(1).await;
    drop(supervisor);
    settle().await;
    assert_eq!(Arc::strong_count(&hanging), 1);
}
