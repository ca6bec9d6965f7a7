//! A barrier that many wait for together: all that arrive while one round runs share the next.
//!
//! A round that is running already may have begun before a newcomer's question was asked, so it cannot serve him;
//! the next one begins later than everybody who waits for it arrived.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

type Outcome = Result<(), String>;

#[derive(Debug, Default)]
pub(crate) struct Barrier {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<oneshot::Sender<Outcome>>,
    running: bool,
}

impl Barrier {
    /// Passes once a round of `round` that began after this call has ended.
    ///
    /// Rounds run in a task of their own: a caller who gives up takes nobody with him.
    pub(crate) async fn pass<F, R>(self: &Arc<Self>, round: F) -> Outcome
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let (waiter, passed) = oneshot::channel();
        if self.enter(waiter) {
            tokio::spawn(Arc::clone(self).run(round));
        }
        passed.await.unwrap_or_else(|_| Err("shutting down".to_owned()))
    }

    /// Queues; `true` when nobody runs rounds yet and the caller has to see to it.
    fn enter(&self, waiter: oneshot::Sender<Outcome>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push(waiter);
        !std::mem::replace(&mut state.running, true)
    }

    /// The waiters of the next round; with none left the rounds end.
    fn next(&self) -> Vec<oneshot::Sender<Outcome>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = !state.waiting.is_empty();
        std::mem::take(&mut state.waiting)
    }

    async fn run<F, R>(self: Arc<Self>, round: F)
    where
        F: Fn() -> R,
        R: Future<Output = Outcome>,
    {
        loop {
            let waiters = self.next();
            if waiters.is_empty() {
                return;
            }
            let outcome = round().await;
            for waiter in waiters {
                // A waiter that gave up needs no answer.
                let _ = waiter.send(outcome.clone());
            }
        }
    }
}

#[cfg(test)]
#[path = "barrier_tests.rs"]
mod tests;
