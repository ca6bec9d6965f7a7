//! Signing keys while metadata does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_registry::{Caller, Issuer, Keyring, Wishes};
use tokio::sync::Notify;

use crate::rig::Rig;

const ANSWERS: usize = 0;
const HANGS: usize = 1;
const FAILS: usize = 2;

/// Metadata in one of these states.
#[derive(Debug)]
struct Troubled {
    sql: Arc<dyn Sql>,
    state: AtomicUsize,
    asked: AtomicUsize,
    let_go: Notify,
}

#[async_trait]
impl Sql for Troubled {
    async fn query_many(&self, fresh: Freshness, asked: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.state.load(Ordering::SeqCst) == HANGS {
            self.let_go.notified().await;
        }
        if self.state.load(Ordering::SeqCst) == FAILS {
            return Err(QueryError::Unavailable("it is away".to_owned()));
        }
        self.sql.query_many(fresh, asked).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.sql.commit(batch).await
    }

    fn status(&self) -> Status {
        self.sql.status()
    }

    fn revision(&self) -> Option<u64> {
        None
    }
}

/// One question is asked for all who come meanwhile, nobody waits longer than for a while, and who comes when it has hung
/// for that long does not wait at all.
#[tokio::test(start_paused = true)]
async fn metadata_that_hangs_holds_up_nobody_who_shows_a_token() {
    let rig = Rig::new().await;
    let (state, asked, let_go) = (AtomicUsize::new(ANSWERS), AtomicUsize::new(0), Notify::new());
    let sql = Arc::new(Troubled { sql: rig.sql.clone(), state, asked, let_go });
    let asked = || sql.asked.swap(0, Ordering::SeqCst);
    let keys = Keyring::open(sql.clone(), rig.clock.clone()).await.unwrap();
    let issuer = Issuer::new(keys, rig.clock.clone(), "roadstead");
    let wishes = Wishes::parse(["repository:acme/app:pull"]).unwrap();
    let token = issuer.issue(&rig.registry, &Caller::Anonymous, &wishes).await.unwrap().token;

    asked();
    rig.clock.advance(Duration::from_secs(2));
    sql.state.store(HANGS, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    let many = join_all((0..50).map(|_| issuer.verify(&token))).await;
    assert!(many.iter().all(Result::is_ok), "known keys go on: {many:?}");
    assert_eq!((began.elapsed(), asked()), (Duration::from_secs(1), 1), "all wait together");

    rig.clock.advance(Duration::from_secs(2));
    issuer.verify(&token).await.unwrap();
    assert_eq!((began.elapsed(), asked()), (Duration::from_secs(1), 0), "nobody waits for what has hung for long");

    // A question that failed is not repeated by each.
    sql.state.store(FAILS, Ordering::SeqCst);
    sql.let_go.notify_one();
    tokio::time::sleep(Duration::from_secs(1)).await;
    asked();
    for _ in 0..3 {
        issuer.verify(&token).await.unwrap();
    }
    assert_eq!(asked(), 0);
    // Later it is put again, once.
    rig.clock.advance(Duration::from_secs(2));
    sql.state.store(ANSWERS, Ordering::SeqCst);
    for _ in 0..3 {
        issuer.verify(&token).await.unwrap();
    }
    assert_eq!(asked(), 1);
}
