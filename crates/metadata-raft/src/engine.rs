//! The engine: committing, asking, shutting down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hiqlite::{Client, Params};
use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::barrier::Barrier;
use crate::commit::{self, Outcome, Statements};
use crate::committer::{Committer, Ground};
use crate::directory::Directory;
use crate::disk::Reserve;
use crate::footing::{Footing, Trier};
use crate::growth::Growth;
use crate::high_water::Raiser;
use crate::node::{self, Role};
use crate::nudge::{self, Nudged};
use crate::opening::{self, Opened};
use crate::watchdog::{self, Health, Watched};
use crate::{OpenError, Options, answers, clean_stop};

/// A metadata engine over hiqlite, on one node.
///
/// End it with [`RaftSql::shutdown`]. Dropped without, hiqlite's threads live on until the process ends, and so does
/// the directory's lock.
pub struct RaftSql {
    client: Client,
    cluster: Uuid,
    commit_within: Duration,
    query_within: Duration,
    health: Arc<Health>,
    reserve: Arc<Reserve>,
    barrier: Arc<Barrier>,
    committer: Committer,
    /// What [`RaftSql::shutdown`] takes away.
    running: Mutex<Option<Running>>,
}

struct Running {
    directory: Directory,
    footing: Arc<Footing>,
    watchdog: JoinHandle<()>,
    nudging: JoinHandle<()>,
    committing: JoinHandle<Arc<Node>>,
}

/// hiqlite and the mark, for the committer.
struct Node {
    client: Client,
    raiser: Raiser,
    trier: Trier,
    growth: Arc<Growth>,
    /// Longest wait for a nudge, so that a commit has time left.
    patience: Duration,
}

#[async_trait]
impl Ground for Node {
    async fn ready(&self) -> Result<(), String> {
        self.trier.try_writing().await
    }

    async fn carry_out(&self, statements: Statements) -> Outcome {
        self.growth.room(self.patience).await;
        let bytes = commit::size(&statements);
        let outcome = commit::sort(self.client.txn(statements).await);
        if let Ok(place) = nudge::place(&self.client).await {
            // However it ended, it stands in the log.
            self.growth.wrote(bytes, place.snapshot);
        }
        outcome
    }

    async fn raise(&self) -> Result<(), String> {
        self.raiser.raise().await
    }

    async fn stands(&self) -> Result<(), String> {
        self.trier.find().await
    }
}

impl std::fmt::Debug for RaftSql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftSql")
            .field("cluster", &self.cluster)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl RaftSql {
    /// Opens a metadata directory, making it when absent. Answers when reads and commits work and everything that
    /// was ever acknowledged is there; otherwise it refuses.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let Opened { directory, cluster, client, raiser, reserve, footing, trier, snapshots, growth, entries } =
            opening::open(&options).await?;
        let health = Arc::new(Health::default());
        health.note(&node::role(&client).await);
        let watched = Watched {
            reserve: Arc::clone(&reserve),
            footing: Arc::clone(&footing),
            patience: 2 * options.timings.commit,
            logs: directory.raft().join("logs"),
            snapshots,
            every: options.timings.watch,
        };
        let watchdog = tokio::spawn(watchdog::watch(client.clone(), Arc::clone(&health), watched));
        let log = Nudged { client: client.clone(), health: Arc::clone(&health), reserve: Arc::clone(&reserve) };
        let nudging = tokio::spawn(nudge::run(Arc::new(log), Arc::clone(&growth), entries));
        let node =
            Arc::new(Node { client: client.clone(), raiser, trier, growth, patience: options.timings.commit / 2 });
        let (committer, committing) = Committer::start(node, Arc::clone(&health));
        Ok(Self {
            client,
            cluster,
            commit_within: options.timings.commit,
            query_within: options.timings.query,
            health,
            reserve,
            barrier: Arc::default(),
            committer,
            running: Mutex::new(Some(Running { directory, footing, watchdog, nudging, committing })),
        })
    }

    /// The installation this directory belongs to; drawn when it was made.
    pub fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// Becomes `Some` when the engine stopped for good, with the reason for operators. The process should then end:
    /// nothing but a new start helps.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.health.subscribe()
    }

    /// Stops the engine; commits under way are answered first. Afterwards everything is refused. Calling it again
    /// does nothing.
    pub async fn shutdown(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { mut directory, footing, watchdog, nudging, mut committing }) = running else { return };
        watchdog.abort();
        nudging.abort();
        self.committer.close();
        // No caller waits longer than this, so no answer is awaited that anybody could still get.
        let answered = tokio::time::timeout(self.commit_within, &mut committing).await;
        self.health.stopped();
        let stopped = node::stop(&self.client, &mut directory).await;
        let answered = match answered {
            Ok(answered) => answered.ok(),
            // What was still under way is answered by the end of the node.
            Err(_) => tokio::time::timeout(self.commit_within, committing).await.ok().and_then(Result::ok),
        };
        if answered.is_none() {
            // The thread of the mark may still write here.
            directory.keep_locked();
        }
        // An answer that nobody has looked at may say that the database is behind its log.
        let trusted = stopped && answered.is_some() && !self.health.has_diverged();
        let vouch = move || {
            // Ends the thread of the mark, which reads the database, before that is written out.
            drop(answered);
            match trusted {
                // Not for a copy that somebody put in its place.
                true => footing.look().and_then(|()| clean_stop::vouch(&directory)),
                false => Ok(()),
            }
        };
        let vouched = tokio::task::spawn_blocking(vouch).await.unwrap_or_else(|e| Err(e.to_string()));
        if let Err(reason) = vouched {
            tracing::warn!(reason, "metadata stopped, but the next start rebuilds the database");
        }
    }

    fn writable(&self) -> Result<(), CommitError> {
        match self.status() {
            _ if self.health.has_diverged() => {
                Err(CommitError::Unavailable("the database is behind its log until the next start".to_owned()))
            }
            Status::Writable => match self.reserve.short() {
                None => Ok(()),
                Some(why) => {
                    self.health.set(Status::ReadOnly(why.clone()));
                    Err(CommitError::Unavailable(why))
                }
            },
            Status::ReadOnly(why) | Status::Down(why) => Err(CommitError::Unavailable(why)),
        }
    }

    /// Makes sure that local reads from now on see every commit acknowledged anywhere before the call.
    async fn catch_up(&self) -> Result<(), QueryError> {
        match node::role(&self.client).await {
            // A sole voter that leads acknowledges every commit itself, and only after its state machine, which the
            // readers read, has carried it out. Nobody else could have acknowledged anything.
            Role::Alone => Ok(()),
            // The answer is thrown away: what counts is that hiqlite confirmed its leadership with a quorum, and
            // that this state machine has applied all that was committed before.
            Role::Leader => {
                let client = self.client.clone();
                let round = move || {
                    let client = client.clone();
                    async move {
                        client.query_consistent("SELECT 1", Params::new()).await.map(drop).map_err(|e| e.to_string())
                    }
                };
                self.barrier.pass(round).await.map_err(QueryError::Unavailable)
            }
            Role::Follower => Err(QueryError::Unavailable("another member leads".to_owned())),
            Role::Leaderless => Err(QueryError::Unavailable("no leader".to_owned())),
            Role::Stopped(reason) => Err(QueryError::Unavailable(reason)),
        }
    }
}

#[async_trait]
impl Sql for RaftSql {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        if let Status::Down(why) = self.status() {
            return Err(QueryError::Unavailable(why));
        }
        let answers = async {
            if freshness == Freshness::Latest {
                self.catch_up().await?;
            }
            let mut answers = Vec::with_capacity(statements.len());
            for statement in statements {
                answers.push(answers::ask(&self.client, statement).await?);
            }
            Ok(answers)
        };
        // On a disk that hangs it would be waited for as long as that does.
        tokio::time::timeout(self.query_within, answers).await.unwrap_or_else(|_| {
            let within = self.query_within.as_secs_f32();
            Err(QueryError::Unavailable(format!("no answer within {within} s: its disk hangs, or is overloaded")))
        })
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        self.writable()?;
        match tokio::time::timeout(self.commit_within, self.committer.commit(batch)).await {
            Ok(answer) => answer,
            Err(_) => Err(CommitError::Unknown(format!("no answer within {} s", self.commit_within.as_secs_f32()))),
        }
    }

    fn status(&self) -> Status {
        self.health.status()
    }

    /// Of a sole member only: members that join do so at a start, before which nothing is kept.
    fn revision(&self) -> Option<u64> {
        self.health.is_alone().then(|| self.committer.revision()).flatten()
    }
}

impl Drop for RaftSql {
    fn drop(&mut self) {
        if let Some(Running { mut directory, watchdog, nudging, .. }) =
            self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            watchdog.abort();
            nudging.abort();
            directory.keep_locked();
        }
    }
}
