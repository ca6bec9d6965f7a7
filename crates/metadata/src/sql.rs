//! The contract every metadata engine keeps: questions, atomic batches, and whether it can be written now.

use async_trait::async_trait;

use crate::{Batch, CommitError, Committed, QueryError, Rows, Statement, base};

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Whatever this instance knows now. May lag behind the leader or the primary. For all that is
    /// content-addressed, and for what a later guard checks again.
    Local,
    /// At least as new as every commit acknowledged anywhere before the question was asked.
    Latest,
}

/// Whether the metadata can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Reads and commits work.
    Writable,
    /// Reads work; commits answer [`CommitError::Unavailable`]. The text says why, for operators.
    ReadOnly(String),
    /// Nothing works. The text says why, for operators.
    Down(String),
}

/// The dialect of data definitions that an engine understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite's: every text of a [`crate::Migration`] is written in it.
    Sqlite,
    /// PostgreSQL's; the engine translates what is written in SQLite's.
    Postgres,
}

/// A metadata engine.
///
/// The SQL text is shared by all engines, so it keeps to their common dialect: parameters `$1..$n`, first
/// appearing in ascending order and none repeated; time as milliseconds and ids as parameters, never SQL
/// functions; no `LIMIT` without `ORDER BY` in a write. `IN ($n)` may take a [`crate::Value::List`].
///
/// An engine that is open has the tables of [`crate::base`], and foreign keys are enforced.
#[async_trait]
pub trait Sql: std::fmt::Debug + Send + Sync + 'static {
    /// Asks one question.
    async fn query(&self, freshness: Freshness, statement: Statement) -> Result<Rows, QueryError> {
        let mut answers = self.query_many(freshness, vec![statement]).await?;
        answers.pop().ok_or_else(|| QueryError::Failed("the engine gave no answer".into()))
    }

    /// Asks several questions in one round trip; answers stand in the order of the questions. They need not
    /// see one snapshot.
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError>;

    /// Whether questions are answered, by one that costs next to nothing; for whoever looks after the engine.
    async fn ping(&self) -> Result<(), QueryError> {
        self.query(Freshness::Local, Statement::new(base::PING, Vec::new())).await.map(drop)
    }

    /// Carries out a batch: all of it or nothing, once per operation id however often it is called.
    ///
    /// After [`CommitError::Unknown`] the same batch, with the same operation id, may be committed again within
    /// an hour: if it had happened the answer is `Committed { replayed: true }` ([`crate::commit_once`] does this).
    /// A batch without statements only takes its operation id, so that an earlier attempt can do nothing more.
    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError>;

    /// Which text of a migration it is given.
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    /// Whether reads and writes work now. Cheap: answered from memory.
    fn status(&self) -> Status;

    /// A number that changes with every commit that may have changed an answer, before that commit is acknowledged. An
    /// answer of any freshness that was asked for and is used under one number is as good as one asked for now. `None`
    /// where others may commit unseen by this process. Cheap: from memory.
    fn revision(&self) -> Option<u64>;
}

#[async_trait]
impl<S: Sql + ?Sized> Sql for std::sync::Arc<S> {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        (**self).query_many(freshness, statements).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        (**self).commit(batch).await
    }

    fn dialect(&self) -> Dialect {
        (**self).dialect()
    }

    fn status(&self) -> Status {
        (**self).status()
    }

    fn revision(&self) -> Option<u64> {
        (**self).revision()
    }
}
