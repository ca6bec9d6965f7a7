//! The supervisor: runs every worker, restarts what panics, stops all of them within a deadline.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roadstead_registry::Clock;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::status::{Record, Rest};
use crate::{Lease, Progress, Worker, WorkerStatus};

/// How often a worker looks whether its lease has come to this process.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// Runs workers, each in a task of its own.
///
/// Dropping it aborts them where they are, as a crash would; [`Supervisor::stop`] lets their steps end.
#[derive(Debug)]
pub struct Supervisor {
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    running: Mutex<Vec<Running>>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    record: Arc<Record>,
    wake: Arc<Notify>,
    task: Option<AbortOnDropHandle<()>>,
}

impl Supervisor {
    /// A supervisor without workers; `clock` dates their statuses.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, stop: CancellationToken::new(), running: Mutex::default() }
    }

    /// Starts a worker: its first step follows at once.
    pub fn spawn(&self, worker: Arc<dyn Worker>) {
        self.start(worker, None);
    }

    /// Starts a worker that takes steps only while this process holds `lease`.
    pub fn spawn_leased(&self, worker: Arc<dyn Worker>, lease: Lease) {
        self.start(worker, Some(lease));
    }

    fn start(&self, worker: Arc<dyn Worker>, lease: Option<Lease>) {
        let name = worker.name();
        let record = Arc::new(Record::new(name, self.clock.now()));
        let wake = Arc::new(Notify::new());
        let parts = Parts { worker, lease, record: record.clone(), wake: wake.clone(), clock: self.clock.clone() };
        let run = run(parts, self.stop.clone());
        let task = Some(AbortOnDropHandle::new(tokio::spawn(run)));
        self.running.lock().push(Running { name, record, wake, task });
    }

    /// Wakes a worker from its rest; one that is in a step takes another after it. `false` when there is none of
    /// that name.
    pub fn wake(&self, name: &str) -> bool {
        let running = self.running.lock();
        let found = running.iter().find(|worker| worker.name == name);
        found.inspect(|worker| worker.wake.notify_one()).is_some()
    }

    /// Every worker's status, in the order they were started.
    pub fn statuses(&self) -> Vec<WorkerStatus> {
        self.running.lock().iter().map(|worker| worker.record.get()).collect()
    }

    /// Stops all workers: none begins another step, and those in one have `within` to end it. Answers the names of
    /// those that had to be aborted.
    pub async fn stop(&self, within: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        let tasks: Vec<_> = {
            let mut running = self.running.lock();
            running.iter_mut().filter_map(|w| Some((w.name, w.record.clone(), w.task.take()?))).collect()
        };
        let deadline = tokio::time::Instant::now() + within;
        let mut aborted = Vec::new();
        for (name, record, task) in tasks {
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                tracing::warn!(worker = name, "worker aborted: its step did not end before the deadline");
                aborted.push(name);
            }
            record.stopped(self.clock.now());
        }
        aborted
    }
}

/// What the task of a worker has.
struct Parts {
    worker: Arc<dyn Worker>,
    lease: Option<Lease>,
    record: Arc<Record>,
    wake: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

async fn run(Parts { worker, lease, record, wake, clock }: Parts, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if lease.as_ref().is_some_and(|lease| !lease.held()) {
            record.elsewhere(clock.now());
            if stop.run_until_cancelled(sleep(ELSEWHERE)).await.is_none() {
                return;
            }
            continue;
        }
        record.begin(clock.now());
        let result = step(worker.clone()).await;
        let rest = record.end(clock.now(), result);
        let rested = async {
            match rest {
                Rest::None => {}
                // Either way it is time: the period ended, or somebody woke it.
                Rest::Period => drop(timeout(worker.period(), wake.notified()).await),
                Rest::Backoff(pause) => sleep(pause).await,
            }
        };
        if stop.run_until_cancelled(rested).await.is_none() {
            return;
        }
    }
}

/// One step in a task of its own, so that a panic ends the step and not the worker.
async fn step(worker: Arc<dyn Worker>) -> Result<Progress, String> {
    let step = AbortOnDropHandle::new(tokio::spawn(async move { worker.step().await }));
    match step.await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(ended) => Err(match ended.try_into_panic() {
            Ok(panic) => format!("panicked: {}", message(&*panic)),
            Err(cancelled) => cancelled.to_string(),
        }),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
