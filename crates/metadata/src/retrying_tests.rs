#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use super::*;
use crate::{Fault, Freshness, Memory, QueryError, Rows, Statement, Status};

const ADD: &str = "INSERT INTO schema_version(version, name, applied_at) VALUES ($1, 'x', 0)";
const ABORT: &str = "INSERT INTO guard(ok) SELECT 0";
const MINUTE: Duration = Duration::from_secs(60);

fn add(version: i64) -> Batch {
    let mut batch = Batch::new(Uuid::now_v7(), 0);
    batch.push(Statement::new(ADD, vec![version.into()]));
    batch
}

async fn count(sql: &dyn Sql) -> i64 {
    let ask = Statement::new("SELECT count(*) FROM schema_version", vec![]);
    sql.query(Freshness::Latest, ask).await.unwrap()[0].integer(0).unwrap()
}

/// Answers what it is told, and keeps what it was asked.
#[derive(Debug, Default)]
struct Script {
    answers: Mutex<Vec<Result<Committed, CommitError>>>,
    asked: Mutex<Vec<Batch>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<Committed, CommitError>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self { answers: Mutex::new(answers), asked: Mutex::default() }
    }
}

#[async_trait]
impl Sql for Script {
    async fn query_many(&self, _: Freshness, _: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        Err(QueryError::Failed("not in the script".into()))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.asked.lock().push(batch);
        let answer = self.answers.lock().pop();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    fn status(&self) -> Status {
        Status::Writable
    }

    fn revision(&self) -> Option<u64> {
        None
    }
}

const DONE: Result<Committed, CommitError> = Ok(Committed { replayed: false });
const DONE_BEFORE: Result<Committed, CommitError> = Ok(Committed { replayed: true });

fn unknown() -> Result<Committed, CommitError> {
    Err(CommitError::Unknown("lost".into()))
}
fn conflict() -> Result<Committed, CommitError> {
    Err(CommitError::Conflict("guard".into()))
}
fn unavailable() -> Result<Committed, CommitError> {
    Err(CommitError::Unavailable("no leader".into()))
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_happens_once() {
    let memory = Memory::open().unwrap();
    for (version, fault) in [(1, Fault::UnknownButDone), (2, Fault::UnknownNotDone)] {
        memory.fail_next_commit(fault);
        let committed = commit_once(&memory, add(version), MINUTE).await.unwrap();
        assert_eq!(committed.replayed, fault == Fault::UnknownButDone);
        assert_eq!(count(&memory).await, version);
    }
}

#[tokio::test(start_paused = true)]
async fn every_retry_carries_the_same_operation_id() {
    let script = Script::new([unknown(), unknown(), DONE]);
    let batch = add(1);
    commit_once(&script, batch.clone(), MINUTE).await.unwrap();
    let asked = script.asked.lock();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|a| a.operation == batch.operation && a.statements == batch.statements));
}

#[tokio::test(start_paused = true)]
async fn a_known_refusal_comes_back_at_once() {
    for refusal in [conflict(), unavailable()] {
        let script = Script::new([refusal, DONE]);
        assert!(commit_once(&script, add(1), MINUTE).await.is_err());
        assert_eq!(script.asked.lock().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn unavailable_after_unknown_is_still_unknown() {
    let script = Script::new([unknown(), unavailable(), DONE_BEFORE]);
    assert!(commit_once(&script, add(1), MINUTE).await.unwrap().replayed);
    let script = Script::new([unknown(), unavailable()]);
    assert!(matches!(commit_once(&script, add(1), MINUTE).await, Err(CommitError::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_after_unknown_is_final_once_the_operation_id_is_taken() {
    let script = Script::new([unknown(), conflict(), DONE]);
    let batch = add(1);
    assert!(matches!(commit_once(&script, batch.clone(), MINUTE).await, Err(CommitError::Conflict(_))));
    {
        let asked = script.asked.lock();
        assert_eq!(asked[2].operation, batch.operation);
        assert!(asked[2].statements.is_empty());
    }
    // The first attempt arrived between the retry and the sealing of its id: it happened after all.
    let script = Script::new([unknown(), conflict(), DONE_BEFORE]);
    assert!(commit_once(&script, add(1), MINUTE).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn a_late_first_attempt_does_nothing_after_a_reported_conflict() {
    let memory = Memory::open().unwrap();
    let mut batch = add(1);
    batch.push(Statement::new(ABORT, vec![]));
    memory.fail_next_commit(Fault::UnknownNotDone);
    assert!(matches!(commit_once(&memory, batch.clone(), MINUTE).await, Err(CommitError::Conflict(_))));
    // What would have made the guard hold happened meanwhile, and the first attempt arrives.
    batch.statements.pop();
    assert!(memory.commit(batch).await.unwrap().replayed);
    assert_eq!(count(&memory).await, 0);
}

#[tokio::test(start_paused = true)]
async fn gives_up_at_the_deadline_on_the_monotonic_clock() {
    let started = Instant::now();
    let silent = Script::new([]);
    assert!(matches!(commit_once(&silent, add(1), MINUTE).await, Err(CommitError::Unknown(_))));
    assert_eq!(started.elapsed(), MINUTE);

    let started = Instant::now();
    let silent = Script::new([unknown()]);
    assert!(matches!(commit_once(&silent, add(1), 100 * RETRIED_FOR).await, Err(CommitError::Unknown(_))));
    assert_eq!(started.elapsed(), RETRIED_FOR, "nothing is retried after an hour");
}
