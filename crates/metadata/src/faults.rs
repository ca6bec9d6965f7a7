//! Faults on demand, for tests of everything above an engine.

use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Batch, CommitError, Committed, Dialect, Freshness, QueryError, Rows, Sql, Statement, Status};

/// What the next commit meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refused before anything happened.
    UnavailableBefore,
    /// No answer, and it did not happen.
    UnknownNotDone,
    /// No answer, but it happened.
    UnknownButDone,
}

/// The switches: the status an engine claims, and the faults its next commits meet.
#[derive(Debug, Default)]
pub struct Faults {
    status: Mutex<Option<Status>>,
    next: Mutex<VecDeque<Fault>>,
}

impl Faults {
    /// Claims `status` from now on: commits need [`Status::Writable`], questions fail while [`Status::Down`], and while
    /// [`Status::ReadOnly`] those for what is newest, as where there is only a standby.
    pub fn set_status(&self, status: Status) {
        *self.status.lock() = Some(status);
    }

    /// Adds a fault; each is met by one commit, in the order added.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.next.lock().push_back(fault);
    }

    /// The status claimed, when one was set.
    pub fn status(&self) -> Option<Status> {
        self.status.lock().clone()
    }

    /// Lets a question pass, or fails it.
    pub fn question(&self, freshness: Freshness) -> Result<(), QueryError> {
        match (self.status(), freshness) {
            (Some(Status::Down(reason)), _) | (Some(Status::ReadOnly(reason)), Freshness::Latest) => {
                Err(QueryError::Unavailable(reason))
            }
            _ => Ok(()),
        }
    }

    /// Carries out a commit, or meets the next fault instead.
    pub async fn commit(
        &self,
        commit: impl Future<Output = Result<Committed, CommitError>> + Send,
    ) -> Result<Committed, CommitError> {
        if let Some(Status::ReadOnly(reason) | Status::Down(reason)) = self.status() {
            return Err(CommitError::Unavailable(reason));
        }
        let fault = self.next.lock().pop_front();
        match fault {
            None => commit.await,
            Some(Fault::UnavailableBefore) => Err(CommitError::Unavailable("injected".into())),
            Some(Fault::UnknownNotDone) => Err(CommitError::Unknown("injected, not done".into())),
            Some(Fault::UnknownButDone) => {
                commit.await?;
                Err(CommitError::Unknown("injected, but done".into()))
            }
        }
    }
}

/// Any engine, with [`Faults`].
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    /// The switches.
    pub faults: Faults,
}

impl<S: Sql> Faulty<S> {
    /// An engine that behaves as `inner` until a switch is set.
    pub fn new(inner: S) -> Self {
        Self { inner, faults: Faults::default() }
    }
}

#[async_trait]
impl<S: Sql> Sql for Faulty<S> {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        self.faults.question(freshness)?;
        self.inner.query_many(freshness, statements).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.faults.commit(self.inner.commit(batch)).await
    }

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn status(&self) -> Status {
        self.faults.status().unwrap_or_else(|| self.inner.status())
    }

    fn revision(&self) -> Option<u64> {
        self.inner.revision()
    }
}
