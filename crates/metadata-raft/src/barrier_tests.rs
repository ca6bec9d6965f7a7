#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;

/// A barrier whose rounds end when the test lets them.
struct Rounds {
    barrier: Arc<Barrier>,
    begun: Arc<AtomicUsize>,
    may_end: Arc<Semaphore>,
}

impl Rounds {
    fn new() -> Self {
        Self { barrier: Arc::default(), begun: Arc::default(), may_end: Arc::new(Semaphore::new(0)) }
    }

    fn pass(&self) -> tokio::task::JoinHandle<Outcome> {
        let (barrier, begun, may_end) = (Arc::clone(&self.barrier), Arc::clone(&self.begun), Arc::clone(&self.may_end));
        tokio::spawn(async move {
            let round = move || {
                let may_end = Arc::clone(&may_end);
                begun.fetch_add(1, Ordering::SeqCst);
                async move {
                    may_end.acquire().await.unwrap().forget();
                    Ok(())
                }
            };
            barrier.pass(round).await
        })
    }

    async fn until_waiting(&self, begun: usize, waiting: usize) {
        loop {
            let queued = self.barrier.state.lock().unwrap().waiting.len();
            if self.begun.load(Ordering::SeqCst) == begun && queued == waiting {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn newcomers_share_the_next_round_and_not_the_one_that_runs() {
    let rounds = Rounds::new();
    let first = rounds.pass();
    rounds.until_waiting(1, 0).await;
    let others: Vec<_> = (0..10).map(|_| rounds.pass()).collect();
    rounds.until_waiting(1, 10).await;
    rounds.may_end.add_permits(1);
    first.await.unwrap().unwrap();
    assert!(others.iter().all(|other| !other.is_finished()), "a round that had begun served a newcomer");
    rounds.until_waiting(2, 0).await;
    rounds.may_end.add_permits(1);
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(rounds.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_caller_who_gives_up_takes_nobody_with_him() {
    let rounds = Rounds::new();
    let first = rounds.pass();
    rounds.until_waiting(1, 0).await;
    let second = rounds.pass();
    rounds.until_waiting(1, 1).await;
    first.abort();
    rounds.may_end.add_permits(2);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_failed_round_fails_its_waiters_only() {
    let barrier = Arc::<Barrier>::default();
    let failed = barrier.pass(|| async { Err("no quorum".to_owned()) }).await;
    assert_eq!(failed, Err("no quorum".to_owned()));
    assert_eq!(barrier.pass(|| async { Ok(()) }).await, Ok(()));
}
