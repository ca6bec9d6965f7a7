//! The engine: asking and committing, over two pools and what the monitor sees.

use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt as _;
use roadstead_metadata::{Batch, CommitError, Committed, Dialect, Freshness, QueryError, Rows, Sql, Statement, Status};
use tokio::time::{Instant, sleep};

use crate::asking::{self, Manner};
use crate::commit::{self, Outcome, Plan};
use crate::connecting::{Connector, Role};
use crate::monitor::Monitor;
use crate::pool::{Pool, deadline};
use crate::target::Target;
use crate::{OpenError, Options, Timings, opening};

/// The first pause before a transaction is tried again, and the longest; each is cut by chance.
const PAUSES: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(200));
/// How often a connection whose prepared statements are out of date is replaced for one commit.
const STALE: usize = 3;
/// A migration takes as long as its tables are large.
const DEFINITIONS: Duration = Duration::from_secs(3_600);

/// A metadata engine over PostgreSQL.
pub struct PostgresSql {
    primary: Pool,
    readers: Pool,
    monitor: Monitor,
    /// Standbys are named, to take questions off the primary.
    standbys: bool,
    prepare: bool,
    timings: Timings,
    hosts: String,
}

impl std::fmt::Debug for PostgresSql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSql")
            .field("hosts", &self.hosts)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl PostgresSql {
    /// Opens a database: answers when the primary does, with the tables of the engine made; or else when a standby
    /// that has them does, and then nothing can be written yet.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let target = Target::of(&options)?;
        let primary = Connector::new(&target, Role::Primary, &options).await?;
        let readers = Connector::new(&target, Role::Reader, &options).await?;
        let status = opening::ready(&target, &primary, &readers, options.timings.open).await?;
        let Options { standbys, pool_size, queue_limit, statement_cache, timings, .. } = options;
        let monitor = Monitor::start(primary.clone(), readers.clone(), status, timings.connect, timings.watch);
        Ok(Self {
            primary: Pool::new(primary, pool_size, queue_limit, target.hosts()),
            readers: Pool::new(readers, pool_size, queue_limit, target.hosts()),
            monitor,
            standbys: !standbys.is_empty(),
            prepare: statement_cache,
            timings,
            hosts: target.hosts(),
        })
    }

    /// The servers, for people.
    pub fn hosts(&self) -> &str {
        &self.hosts
    }

    /// Closes all connections. Afterwards everything is refused.
    pub fn shutdown(&self) {
        self.monitor.close();
        self.primary.close();
        self.readers.close();
    }

    async fn ask_primary(&self, statements: &[Statement], deadline: Instant) -> Result<Vec<Rows>, QueryError> {
        let manner = Manner { prepare: self.prepare, primary: true };
        let answer = asking::ask(&self.primary, statements, manner, deadline).await;
        if let Err(QueryError::Unavailable(_)) = &answer {
            self.monitor.look();
        }
        answer
    }

    async fn ask_readers(&self, statements: &[Statement], deadline: Instant) -> Result<Vec<Rows>, QueryError> {
        let manner = Manner { prepare: self.prepare, primary: false };
        asking::ask(&self.readers, statements, manner, deadline).await
    }

    /// From whoever has it: a standby before the primary where some are named, the other when the first cannot.
    async fn ask_anybody(&self, statements: &[Statement], status: &Status) -> Result<Vec<Rows>, QueryError> {
        let whole = deadline(self.timings.statement);
        let half = deadline(self.timings.statement / 2);
        match status {
            Status::Writable if !self.standbys => match self.ask_primary(statements, half).await {
                Err(QueryError::Unavailable(_)) => self.ask_readers(statements, whole).await,
                answer => answer,
            },
            // One that lags behind a migration may not know a table yet.
            Status::Writable => match self.ask_readers(statements, half).await {
                Err(_) => self.ask_primary(statements, whole).await,
                answer => answer,
            },
            _ => self.ask_readers(statements, whole).await,
        }
    }
}

#[async_trait]
impl Sql for PostgresSql {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        match (freshness, self.status()) {
            (_, Status::Down(why)) | (Freshness::Latest, Status::ReadOnly(why)) => Err(QueryError::Unavailable(why)),
            (Freshness::Latest, _) => self.ask_primary(&statements, deadline(self.timings.statement)).await,
            (Freshness::Local, status) => self.ask_anybody(&statements, &status).await,
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        if let Status::ReadOnly(why) | Status::Down(why) = self.status() {
            return Err(CommitError::Unavailable(why));
        }
        let plan = Plan::of(batch)?;
        let deadline = deadline(if plan.defines() { DEFINITIONS } else { self.timings.statement });
        let (mut pause, mut stale) = (PAUSES.0, 0);
        loop {
            let lease = self.primary.lease(deadline).await.map_err(|why| {
                self.monitor.look();
                CommitError::Unavailable(why)
            })?;
            let why = match commit::attempt(lease, &plan, self.prepare, deadline).await {
                Outcome::Done(committed) => return Ok(committed),
                Outcome::Not(error) => {
                    if matches!(error, CommitError::Unavailable(_) | CommitError::Unknown(_)) {
                        self.monitor.look();
                    }
                    return Err(error);
                }
                Outcome::Stale(why) if stale == STALE => return Err(CommitError::Failed(why)),
                Outcome::Stale(why) => {
                    stale += 1;
                    why
                }
                Outcome::Again(why) => why,
            };
            if Instant::now() + pause >= deadline {
                return Err(CommitError::Unavailable(format!("tried again until the time was over: {why}")));
            }
            let part = rand::rng().random_range(0.25..1.0);
            sleep(pause.mul_f64(part)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn status(&self) -> Status {
        self.monitor.status()
    }

    /// Other instances commit unseen by this one.
    fn revision(&self) -> Option<u64> {
        None
    }
}
