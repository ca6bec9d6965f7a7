//! Counting and timing of questions and commits, whatever the engine.
//!
//! Knows nothing of metrics formats: a [`Recorder`] above turns what it is told into whatever is exported.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{Batch, CommitError, Committed, Dialect, Freshness, QueryError, Rows, Sql, Statement, Status};

/// What was asked of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A question, or several in one round trip, answered from what this instance knows.
    QueryLocal,
    /// The same, through the leader or the primary.
    QueryLatest,
    /// A batch.
    Commit,
}

impl Operation {
    /// The name as a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::QueryLocal => "query_local",
            Operation::QueryLatest => "query_latest",
            Operation::Commit => "commit",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was answered, or happened.
    Ok,
    /// It had happened before.
    Replayed,
    /// A guard or a constraint refused it.
    Conflict,
    /// The engine could not take it.
    Unavailable,
    /// No answer came in time.
    Unknown,
    /// Over the limits of a batch.
    TooLarge,
    /// A fault.
    Failed,
}

impl Outcome {
    /// The name as a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Replayed => "replayed",
            Outcome::Conflict => "conflict",
            Outcome::Unavailable => "unavailable",
            Outcome::Unknown => "unknown",
            Outcome::TooLarge => "too_large",
            Outcome::Failed => "failed",
        }
    }

    fn of_query<T>(result: &Result<T, QueryError>) -> Self {
        match result {
            Ok(_) => Outcome::Ok,
            Err(QueryError::Unavailable(_)) => Outcome::Unavailable,
            Err(QueryError::Failed(_)) => Outcome::Failed,
        }
    }

    fn of_commit(result: &Result<Committed, CommitError>) -> Self {
        match result {
            Ok(Committed { replayed: false }) => Outcome::Ok,
            Ok(Committed { replayed: true }) => Outcome::Replayed,
            Err(CommitError::Conflict(_)) => Outcome::Conflict,
            Err(CommitError::Unavailable(_)) => Outcome::Unavailable,
            Err(CommitError::Unknown(_)) => Outcome::Unknown,
            Err(CommitError::TooLarge(_)) => Outcome::TooLarge,
            Err(CommitError::Failed(_)) => Outcome::Failed,
        }
    }
}

/// Is told of every call once it ended. A call that was given up is not told of.
pub trait Recorder: Debug + Send + Sync + 'static {
    /// One call and how long it took. Must not block.
    fn record(&self, operation: Operation, outcome: Outcome, took: Duration);
}

/// An engine whose every call is told to a [`Recorder`].
#[derive(Debug)]
pub struct Metered<S, R> {
    inner: S,
    recorder: R,
}

impl<S: Sql, R: Recorder> Metered<S, R> {
    /// Tells `recorder` of each call to `inner`.
    pub fn new(inner: S, recorder: R) -> Self {
        Self { inner, recorder }
    }
}

#[async_trait]
impl<S: Sql, R: Recorder> Sql for Metered<S, R> {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        let operation = match freshness {
            Freshness::Local => Operation::QueryLocal,
            Freshness::Latest => Operation::QueryLatest,
        };
        let began = Instant::now();
        let result = self.inner.query_many(freshness, statements).await;
        self.recorder.record(operation, Outcome::of_query(&result), began.elapsed());
        result
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let began = Instant::now();
        let result = self.inner.commit(batch).await;
        self.recorder.record(Operation::Commit, Outcome::of_commit(&result), began.elapsed());
        result
    }

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn revision(&self) -> Option<u64> {
        self.inner.revision()
    }
}

impl<R: Recorder + ?Sized> Recorder for std::sync::Arc<R> {
    fn record(&self, operation: Operation, outcome: Outcome, took: Duration) {
        (**self).record(operation, outcome, took);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::Arc;

    use parking_lot::Mutex;
    use uuid::Uuid;

    use super::*;
    use crate::{BATCH_STATEMENTS, Fault, Memory};

    #[derive(Debug, Default)]
    struct Calls(Mutex<Vec<(Operation, Outcome)>>);

    impl Recorder for Calls {
        fn record(&self, operation: Operation, outcome: Outcome, _: Duration) {
            self.0.lock().push((operation, outcome));
        }
    }

    fn batch(sql: &'static str, count: usize) -> Batch {
        let mut batch = Batch::new(Uuid::now_v7(), 0);
        batch.extend(vec![Statement::new(sql, vec![]); count]);
        batch
    }

    #[tokio::test]
    async fn every_outcome_is_told_by_name() {
        let calls = Arc::new(Calls::default());
        let memory = Arc::new(Memory::open().unwrap());
        let metered = Metered::new(memory.clone(), calls.clone());
        let once = batch("DELETE FROM guard", 1);
        metered.commit(once.clone()).await.unwrap();
        metered.commit(once).await.unwrap();
        metered.commit(batch("INSERT INTO guard(ok) SELECT 0", 1)).await.unwrap_err();
        metered.commit(batch("NOT SQL", 1)).await.unwrap_err();
        metered.commit(batch("NOT SQL", BATCH_STATEMENTS + 1)).await.unwrap_err();
        memory.fail_next_commit(Fault::UnknownNotDone);
        metered.commit(batch("DELETE FROM guard", 1)).await.unwrap_err();
        metered.query(Freshness::Local, Statement::new("SELECT 1", vec![])).await.unwrap();
        metered.query(Freshness::Latest, Statement::new("NOT SQL", vec![])).await.unwrap_err();
        memory.set_status(Status::Down("gone".into()));
        metered.query(Freshness::Latest, Statement::new("SELECT 1", vec![])).await.unwrap_err();
        metered.commit(batch("DELETE FROM guard", 1)).await.unwrap_err();
        let told: Vec<_> = calls.0.lock().iter().map(|(of, end)| format!("{} {}", of.as_str(), end.as_str())).collect();
        assert_eq!(
            told,
            [
                "commit ok",
                "commit replayed",
                "commit conflict",
                "commit failed",
                "commit too_large",
                "commit unknown",
                "query_local ok",
                "query_latest failed",
                "query_latest unavailable",
                "commit unavailable",
            ]
        );
        assert_eq!(metered.status(), Status::Down("gone".into()));
    }
}
