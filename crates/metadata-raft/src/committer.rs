//! The committer: the one task that submits transactions, in the order in which batches came.
//!
//! It looks at every answer, whoever still waits for it: a caller who gave up, or was dropped, must not take with him
//! the news that the database could not carry out what the log has. And since it submits one transaction at a time, no
//! commit is under way while that news is on its way: nothing is ever acknowledged on top of a missed log entry.
//!
//! While one transaction is under way the batches that arrive are collected, and go into the next as a *group*: one log
//! entry, one sync of the log, one sync of the [high-water mark](crate::high_water). In it each batch keeps its own
//! operation id. A group that is refused has left nothing behind, and its batches are then committed one by one, so
//! that none pays for another's conflict. The mark is raised while the next group is under way.
//!
//! Files that are open take writes and syncs although their directory was removed. So it is looked for before a group is
//! submitted, which is refused without it, and again before the group is answered: what went to a directory that was
//! removed in between is not acknowledged.
//!
//! hiqlite stops waiting for an answer after 30 s. The same transaction is then submitted once more, and the second
//! answer tells the outcome of both: nothing that changes anything stands between the two in the log, and the operation
//! ids let only one happen, now and on replay. While hiqlite only keeps silent, as it does on a disk that hangs, this goes on; after
//! another failure without a second answer the database counts as behind its log.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use roadstead_metadata::{BATCH_BYTES, BATCH_STATEMENTS, Batch, CommitError, Committed, Revision, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::commit::{self, Outcome, Statements};
use crate::watchdog::Health;

/// Batches that may wait. Whoever comes then waits to be queued.
const QUEUE: usize = 256;

/// What a committer works on: hiqlite and the mark.
#[async_trait]
pub(crate) trait Ground: Send + Sync + 'static {
    /// Why nothing can be written now, if so; as long as that takes to find out.
    async fn ready(&self) -> Result<(), String>;

    /// Carries out one transaction as one log entry.
    async fn carry_out(&self, statements: Statements) -> Outcome;

    /// Makes the mark include every transaction that was carried out before the call.
    async fn raise(&self) -> Result<(), String>;

    /// Why what was carried out before the call may be lost, if so: what it was written to stands under its name no more.
    async fn stands(&self) -> Result<(), String>;
}

type Answer = Result<Committed, CommitError>;

/// A batch on its way, and who waits for it.
#[derive(Debug)]
struct Waiting {
    statements: Statements,
    /// As [`Batch::check`] counts them.
    count: usize,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

/// The door to the committing task.
#[derive(Debug)]
pub(crate) struct Committer {
    /// `None` once it is closed.
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    revision: Arc<Revision>,
}

impl Committer {
    /// Starts the task. It ends once the committer is closed or dropped and everyone is answered, and gives the
    /// ground back.
    pub(crate) fn start<G: Ground>(ground: Arc<G>, health: Arc<Health>) -> (Self, JoinHandle<Arc<G>>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let revision = Arc::<Revision>::default();
        let task = Task { ground, health, revision: revision.clone(), acknowledging: JoinSet::new() };
        (Self { queue: Mutex::new(Some(sender)), revision }, tokio::spawn(task.run(queue)))
    }

    /// The revision that all transactions of this process make; see [`Revision`].
    pub(crate) fn revision(&self) -> Option<u64> {
        self.revision.get()
    }

    /// Commits a batch. It is carried out even when the caller gives up waiting.
    pub(crate) async fn commit(&self, batch: Batch) -> Answer {
        let (count, bytes) = (batch.statements.len(), batch.size());
        let statements = commit::statements(batch)?;
        let (answer, answered) = oneshot::channel();
        let shut_down = || CommitError::Unavailable("shut down".to_owned());
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or_else(shut_down)?;
        queue.send(Waiting { statements, count, bytes, answer }).await.map_err(|_| shut_down())?;
        drop(queue);
        answered.await.unwrap_or_else(|_| Err(CommitError::Unknown("the committing task ended".to_owned())))
    }

    /// Takes no more batches.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

struct Task<G> {
    ground: Arc<G>,
    health: Arc<Health>,
    revision: Arc<Revision>,
    /// Groups that are carried out and wait for the mark.
    acknowledging: JoinSet<()>,
}

impl<G: Ground> Task<G> {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) -> Arc<G> {
        let mut over = None;
        loop {
            let first = match over.take() {
                Some(first) => first,
                None => match queue.recv().await {
                    Some(first) => first,
                    None => break,
                },
            };
            let group;
            (group, over) = gather(first, &mut queue);
            self.commit(group).await;
            while self.acknowledging.try_join_next().is_some() {}
        }
        while self.acknowledging.join_next().await.is_some() {}
        self.ground
    }

    async fn commit(&mut self, group: Vec<Waiting>) {
        if group.len() == 1 {
            return self.commit_one_by_one(group).await;
        }
        let together = group.iter().flat_map(|waiting| waiting.statements.iter().cloned()).collect();
        match self.settle(together).await {
            Outcome::Committed(Committed { replayed: false }) => {
                self.acknowledge(group, Committed { replayed: false });
            }
            // One of them is the cause, and nothing of the others happened.
            Outcome::Committed(_) | Outcome::Refused(CommitError::Conflict(_) | CommitError::Failed(_)) => {
                self.commit_one_by_one(group).await;
            }
            Outcome::Refused(CommitError::Unavailable(reason)) => {
                refuse(group, || CommitError::Unavailable(reason.clone()));
            }
            Outcome::Refused(error) => refuse(group, || CommitError::Unknown(error.to_string())),
            Outcome::Silent(reason) | Outcome::Diverged(reason) => {
                refuse(group, || CommitError::Unknown(reason.clone()));
            }
        }
    }

    async fn commit_one_by_one(&mut self, group: Vec<Waiting>) {
        for mut waiting in group {
            match self.settle(std::mem::take(&mut waiting.statements)).await {
                Outcome::Committed(committed) => self.acknowledge(vec![waiting], committed),
                Outcome::Refused(error) => answer(waiting, Err(error)),
                Outcome::Silent(reason) | Outcome::Diverged(reason) => {
                    answer(waiting, Err(CommitError::Unknown(reason)));
                }
            }
        }
    }

    /// Carries out a transaction until its outcome is known; [`Outcome::Diverged`] when it cannot be.
    async fn settle(&self, statements: Statements) -> Outcome {
        // A group before this one may have been missed on this machine only. On replay it will happen, and this one
        // may then find its guards broken.
        if self.health.has_diverged() {
            let reason = "the database is behind its log until the next start";
            return Outcome::Refused(CommitError::Unavailable(reason.to_owned()));
        }
        let _under_way = self.health.committing();
        if let Err(reason) = self.ground.ready().await {
            self.health.set(Status::ReadOnly(reason.clone()));
            return Outcome::Refused(CommitError::Unavailable(reason));
        }
        // Until here nobody is answered, so whoever knows of the change finds another revision.
        let _changing = self.revision.changing();
        let outcome = match self.answer_to(&statements).await {
            Outcome::Refused(CommitError::Unknown(_)) => match self.answer_to(&statements).await {
                Outcome::Refused(CommitError::Unknown(reason)) => Outcome::Diverged(reason),
                known => known,
            },
            known => known,
        };
        if let Outcome::Diverged(reason) = &outcome {
            self.revision.doubt();
            self.health.diverged(reason);
        }
        outcome
    }

    /// Submits a transaction until there is an answer. A core that ended does answer.
    async fn answer_to(&self, statements: &Statements) -> Outcome {
        loop {
            match self.ground.carry_out(statements.clone()).await {
                Outcome::Silent(reason) => tracing::warn!(reason, "metadata: a commit has no answer yet, asking again"),
                answer => return answer,
            }
        }
    }

    /// Lets the callers go once the mark includes what they committed, while the next group is under way.
    fn acknowledge(&mut self, group: Vec<Waiting>, committed: Committed) {
        let (ground, health) = (Arc::clone(&self.ground), Arc::clone(&self.health));
        self.acknowledging.spawn(async move {
            let raised = ground.raise().await.inspect_err(|reason| health.fatal(reason));
            let lasting = match raised {
                Ok(()) => ground.stands().await.inspect_err(|reason| health.set(Status::ReadOnly(reason.clone()))),
                failed => failed,
            };
            match lasting {
                Ok(()) => group.into_iter().for_each(|waiting| answer(waiting, Ok(committed))),
                Err(reason) => refuse(group, || CommitError::Unknown(reason.clone())),
            }
        });
    }
}

/// The first and those that wait by now, as many as one batch might hold statements and bytes; and the one that did
/// not fit.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let (mut count, mut bytes) = (first.count, first.bytes);
    let mut group = vec![first];
    while let Ok(next) = queue.try_recv() {
        count += next.count;
        bytes += next.bytes;
        if count > BATCH_STATEMENTS || bytes > BATCH_BYTES {
            return (group, Some(next));
        }
        group.push(next);
    }
    (group, None)
}

fn refuse(group: Vec<Waiting>, error: impl Fn() -> CommitError) {
    group.into_iter().for_each(|waiting| answer(waiting, Err(error())));
}

/// A caller that gave up needs no answer.
fn answer(waiting: Waiting, answer: Answer) {
    let _ = waiting.answer.send(answer);
}

#[cfg(test)]
#[path = "committer_tests.rs"]
mod tests;
