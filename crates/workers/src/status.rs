//! What an operator sees of a worker.

use std::time::Duration;

use parking_lot::Mutex;
use roadstead_metadata::Millis;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Progress;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Resting until its period is over or somebody wakes it.
    Waiting,
    /// In a step.
    Running,
    /// Its last step failed or panicked; it tries again after a pause.
    Failing,
    /// Another instance does this work, or for a moment none.
    Elsewhere,
    /// Stopped by a shutdown.
    Stopped,
}

/// A worker at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WorkerStatus {
    /// Its name.
    pub name: &'static str,
    /// What it is doing.
    pub state: WorkerState,
    /// Since when, by the wall clock: a step that has been running for long hangs.
    pub since: Millis,
    /// When its last step ended, by the wall clock.
    pub last_run: Option<Millis>,
    /// Why its last failed step failed; gone once a step succeeds.
    pub last_error: Option<String>,
    /// Steps taken since the start of the process, failed ones included.
    pub runs: u64,
    /// Failed steps since the last one that succeeded.
    pub failures: u32,
    /// Things done since the start of the process.
    pub done_total: u64,
    /// Things waiting, as last counted.
    pub backlog: Option<u64>,
    /// Bytes of what was done since the start of the process.
    pub bytes_total: u64,
    /// Since when the thing that waits longest has been waiting, as last seen; `None` when nothing waits.
    pub oldest: Option<Millis>,
}

/// The first pause after a failure; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Until when a worker rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Not at all.
    None,
    /// Until its period is over or it is woken.
    Period,
    /// So long, woken or not: whoever wakes it must not turn a failure into a busy loop.
    Backoff(Duration),
}

/// The status of one worker, as its task writes it and others read it.
#[derive(Debug)]
pub(crate) struct Record(Mutex<WorkerStatus>);

impl Record {
    pub(crate) fn new(name: &'static str, at: Millis) -> Self {
        Self(Mutex::new(WorkerStatus {
            name,
            state: WorkerState::Waiting,
            since: at,
            last_run: None,
            last_error: None,
            runs: 0,
            failures: 0,
            done_total: 0,
            backlog: None,
            bytes_total: 0,
            oldest: None,
        }))
    }

    pub(crate) fn get(&self) -> WorkerStatus {
        self.0.lock().clone()
    }

    pub(crate) fn begin(&self, at: Millis) {
        let mut status = self.0.lock();
        (status.state, status.since) = (WorkerState::Running, at);
    }

    /// Another process does the work.
    pub(crate) fn elsewhere(&self, at: Millis) {
        let mut status = self.0.lock();
        if status.state != WorkerState::Elsewhere {
            (status.state, status.since) = (WorkerState::Elsewhere, at);
            // What is left to do is counted there.
            (status.backlog, status.oldest) = (None, None);
        }
    }

    pub(crate) fn stopped(&self, at: Millis) {
        let mut status = self.0.lock();
        (status.state, status.since) = (WorkerState::Stopped, at);
    }

    /// A step ended; says how to rest now.
    pub(crate) fn end(&self, at: Millis, result: Result<Progress, String>) -> Rest {
        let mut status = self.0.lock();
        status.runs += 1;
        status.since = at;
        status.last_run = Some(at);
        match result {
            Ok(progress) => {
                if status.failures > 0 {
                    tracing::info!(worker = status.name, failures = status.failures, "worker recovered");
                }
                status.state = WorkerState::Waiting;
                status.failures = 0;
                status.last_error = None;
                status.done_total += progress.done;
                status.bytes_total += progress.bytes;
                if progress.backlog.is_some() {
                    (status.backlog, status.oldest) = (progress.backlog, progress.oldest);
                }
                if progress.more && progress.done > 0 { Rest::None } else { Rest::Period }
            }
            Err(error) => {
                status.state = WorkerState::Failing;
                status.failures += 1;
                let pause = pause(status.failures);
                // An outage fails every step in the same way; it is worth one line, not thousands.
                if status.last_error.as_ref() == Some(&error) {
                    tracing::debug!(worker = status.name, error, ?pause, "worker step failed again");
                } else {
                    tracing::warn!(worker = status.name, error, ?pause, "worker step failed, trying again");
                }
                status.last_error = Some(error);
                Rest::Backoff(pause)
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
}
