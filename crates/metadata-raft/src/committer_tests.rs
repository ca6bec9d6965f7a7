#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::poll;
use roadstead_metadata::{Statement, Value, base};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::*;
use crate::tables::COUNT_COMMIT;

const DONE: Committed = Committed { replayed: false };

type Fate = dyn Fn(usize, &[&str]) -> Outcome + Send + Sync;

/// A ground that does what a test says, when it says so.
struct Fake {
    /// What becomes of a transaction over the given notes; the number says how many came before it.
    fate: Box<Fate>,
    /// The notes of each transaction.
    seen: Mutex<Vec<Vec<String>>>,
    may_end: Semaphore,
    raised: AtomicUsize,
    may_raise: Semaphore,
    footing: Mutex<Result<(), String>>,
    /// What the look after a sync finds.
    lasting: Mutex<Result<(), String>>,
}

struct Case {
    ground: Arc<Fake>,
    health: Arc<Health>,
    committer: Committer,
    task: JoinHandle<Arc<Fake>>,
}

type Commit<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

impl Case {
    fn new(fate: impl Fn(usize, &[&str]) -> Outcome + Send + Sync + 'static) -> Self {
        let ground = Arc::new(Fake {
            fate: Box::new(fate),
            seen: Mutex::default(),
            may_end: Semaphore::new(0),
            raised: AtomicUsize::new(0),
            may_raise: Semaphore::new(Semaphore::MAX_PERMITS),
            footing: Mutex::new(Ok(())),
            lasting: Mutex::new(Ok(())),
        });
        let health = Arc::<Health>::default();
        let (committer, task) = Committer::start(Arc::clone(&ground), Arc::clone(&health));
        Self { ground, health, committer, task }
    }

    /// Queues one batch for each note.
    async fn submit(&self, notes: &[&'static str]) -> Vec<Commit<'_>> {
        let mut commits = Vec::new();
        for note in notes {
            let mut batch = Batch::new(Uuid::now_v7(), 1);
            batch.push(Statement::new(note, vec![]));
            commits.push(self.queue(batch).await);
        }
        commits
    }

    async fn queue(&self, batch: Batch) -> Commit<'_> {
        let mut commit: Commit<'_> = Box::pin(self.committer.commit(batch));
        assert!(poll!(&mut commit).is_pending());
        commit
    }

    /// Submits a batch and waits until it is under way, so that those after it are collected.
    async fn under_way(&self) -> Commit<'_> {
        let first = self.submit(&["first"]).await.pop().unwrap();
        self.until_seen(1).await;
        first
    }

    async fn until_seen(&self, transactions: usize) {
        while self.seen().len() < transactions {
            tokio::task::yield_now().await;
        }
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.ground.seen.lock().unwrap().clone()
    }

    fn let_end(&self) {
        self.ground.may_end.add_permits(1000);
    }
}

#[async_trait]
impl Ground for Fake {
    async fn ready(&self) -> Result<(), String> {
        self.footing.lock().unwrap().clone()
    }

    async fn carry_out(&self, statements: Statements) -> Outcome {
        let own = [base::TAKE_OPERATION, COUNT_COMMIT];
        let notes: Vec<&str> = statements.iter().map(|s| s.0.as_ref()).filter(|text| !own.contains(text)).collect();
        let before = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(notes.iter().map(|&note| note.to_owned()).collect());
            seen.len() - 1
        };
        self.may_end.acquire().await.unwrap().forget();
        (self.fate)(before, &notes)
    }

    async fn raise(&self) -> Result<(), String> {
        self.may_raise.acquire().await.unwrap().forget();
        self.raised.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn stands(&self) -> Result<(), String> {
        self.lasting.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_comes_while_one_is_under_way_goes_together_and_in_order() {
    let case = Case::new(|_, _| Outcome::Committed(DONE));
    let first = case.under_way().await;
    let others = case.submit(&["a", "b", "c", "d"]).await;
    case.let_end();
    first.await.unwrap();
    for other in others {
        assert_eq!(other.await.unwrap(), DONE);
    }
    assert_eq!(case.seen(), [vec!["first"], vec!["a", "b", "c", "d"]]);
    assert_eq!(case.ground.raised.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn one_conflict_harms_none_of_the_others() {
    let case = Case::new(|_, notes| match notes.contains(&"bad") {
        true => Outcome::Refused(CommitError::Conflict("bad".to_owned())),
        false => Outcome::Committed(DONE),
    });
    let first = case.under_way().await;
    let mut others = case.submit(&["a", "bad", "b"]).await.into_iter();
    case.let_end();
    first.await.unwrap();
    assert_eq!(others.next().unwrap().await.unwrap(), DONE);
    let refused = others.next().unwrap().await;
    assert!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
    assert_eq!(others.next().unwrap().await.unwrap(), DONE);
    assert_eq!(case.seen()[1..], [vec!["a", "bad", "b"], vec!["a"], vec!["bad"], vec!["b"]]);
}

#[tokio::test]
async fn one_that_happened_before_is_not_taken_for_all() {
    let case = Case::new(|_, notes| Outcome::Committed(Committed { replayed: notes.contains(&"again") }));
    let first = case.under_way().await;
    let mut others = case.submit(&["a", "again", "b"]).await.into_iter();
    case.let_end();
    first.await.unwrap();
    for replayed in [false, true, false] {
        assert_eq!(others.next().unwrap().await.unwrap(), Committed { replayed });
    }
}

#[tokio::test]
async fn a_missed_entry_is_noticed_though_nobody_waits_for_it() {
    let case = Case::new(|before, _| match before {
        0 => Outcome::Diverged("disk full".to_owned()),
        _ => Outcome::Committed(DONE),
    });
    drop(case.under_way().await);
    let next = case.submit(&["next"]).await.pop().unwrap();
    case.let_end();
    let refused = next.await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert!(case.health.has_diverged());
    assert_eq!(case.seen().len(), 1, "something was submitted on top of a missed entry");
}

#[tokio::test]
async fn of_a_group_that_was_missed_none_is_acknowledged() {
    let case = Case::new(|before, _| match before {
        0 => Outcome::Committed(DONE),
        _ => Outcome::Diverged("disk full".to_owned()),
    });
    let first = case.under_way().await;
    let others = case.submit(&["a", "b"]).await;
    case.let_end();
    first.await.unwrap();
    for other in others {
        let unknown = other.await;
        assert!(matches!(unknown, Err(CommitError::Unknown(_))), "{unknown:?}");
    }
}

#[tokio::test]
async fn an_outcome_that_nobody_knows_is_found_out() {
    let case = Case::new(|before, _| match before {
        0 => Outcome::Refused(CommitError::Unknown("no answer".to_owned())),
        _ => Outcome::Committed(Committed { replayed: true }),
    });
    case.let_end();
    let first = case.under_way().await;
    assert!(first.await.unwrap().replayed);
    assert_eq!(case.seen(), [["first"], ["first"]]);

    let case = Case::new(|_, _| Outcome::Refused(CommitError::Unknown("no answer".to_owned())));
    case.let_end();
    let unknown = case.under_way().await.await;
    assert!(matches!(unknown, Err(CommitError::Unknown(_))), "{unknown:?}");
    assert!(case.health.has_diverged(), "what nobody knows may be missing in the database");
}

#[tokio::test]
async fn a_disk_that_hangs_is_waited_for() {
    let case = Case::new(|before, _| match before {
        0..5 => Outcome::Silent("no answer within 30 s".to_owned()),
        _ => Outcome::Committed(Committed { replayed: true }),
    });
    case.let_end();
    assert!(case.under_way().await.await.unwrap().replayed);
    assert_eq!(case.seen().len(), 6);
    assert!(!case.health.has_diverged());
}

#[tokio::test]
async fn what_cannot_be_written_now_is_refused_before_hiqlite_hears_of_it() {
    let case = Case::new(|_, _| Outcome::Committed(DONE));
    case.let_end();
    *case.ground.footing.lock().unwrap() = Err("the directory is gone".to_owned());
    let refused = case.submit(&["lost"]).await.pop().unwrap().await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert_eq!(case.health.status(), Status::ReadOnly("the directory is gone".to_owned()));
    assert_eq!(case.seen().len(), 0);
    *case.ground.footing.lock().unwrap() = Ok(());
    case.submit(&["kept"]).await.pop().unwrap().await.unwrap();
    assert_eq!(case.seen(), [["kept"]]);
}

#[tokio::test]
async fn what_was_synced_into_a_directory_that_is_gone_is_not_acknowledged() {
    let case = Case::new(|_, _| Outcome::Committed(DONE));
    let under_way = case.under_way().await;
    // After it was looked for, and before the log is synced.
    *case.ground.lasting.lock().unwrap() = Err("the directory is gone".to_owned());
    case.let_end();
    let lost = under_way.await;
    assert!(matches!(lost, Err(CommitError::Unknown(_))), "{lost:?}");
    assert_eq!(case.health.status(), Status::ReadOnly("the directory is gone".to_owned()));
    assert!(!case.health.is_fatal(), "it may be put back");
    *case.ground.lasting.lock().unwrap() = Ok(());
    case.submit(&["kept"]).await.pop().unwrap().await.unwrap();
}

#[tokio::test]
async fn a_group_is_no_larger_than_a_batch_may_be() {
    let case = Case::new(|_, _| Outcome::Committed(DONE));
    let first = case.under_way().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut many = Batch::new(Uuid::now_v7(), 1);
        many.extend((0..200).map(|_| Statement::new("many", vec![])));
        waiting.push(case.queue(many).await);
    }
    for _ in 0..3 {
        let mut large = Batch::new(Uuid::now_v7(), 1);
        large.push(Statement::new("large $1", vec![Value::Blob(vec![0; BATCH_BYTES / 2 - 100])]));
        waiting.push(case.queue(large).await);
    }
    case.let_end();
    first.await.unwrap();
    for commit in waiting {
        commit.await.unwrap();
    }
    let sizes: Vec<usize> = case.seen().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 400, 201, 2]);
}

#[tokio::test]
async fn the_next_group_does_not_wait_for_the_mark_and_nobody_is_let_go_before_it() {
    let case = Case::new(|_, _| Outcome::Committed(DONE));
    case.ground.may_raise.forget_permits(Semaphore::MAX_PERMITS);
    let mut first = case.under_way().await;
    let next = case.submit(&["next"]).await.pop().unwrap();
    case.let_end();
    case.until_seen(2).await;
    assert!(poll!(&mut first).is_pending());
    case.ground.may_raise.add_permits(2);
    first.await.unwrap();
    next.await.unwrap();
}

#[tokio::test]
async fn closing_answers_everyone_first() {
    let case = Case::new(|_, _| Outcome::Committed(DONE));
    let first = case.under_way().await;
    let waiting = case.submit(&["waiting"]).await.pop().unwrap();
    case.committer.close();
    let late = case.committer.commit(Batch::new(Uuid::now_v7(), 1)).await;
    assert!(matches!(late, Err(CommitError::Unavailable(_))), "{late:?}");
    case.let_end();
    first.await.unwrap();
    waiting.await.unwrap();
    case.task.await.unwrap();
}
