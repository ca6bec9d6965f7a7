//! Several requests on one connection, sent without waiting for the answers in between.

use std::pin::Pin;

use futures::future::{MaybeDone, maybe_done};

/// A request under way: sent, but for those that failed before they were.
pub(crate) struct Sent<F: Future>(Pin<Box<MaybeDone<F>>>);

/// Sends a request. `tokio_postgres` hands it to the connection when its future is first polled, so requests arrive in the
/// order of these calls.
pub(crate) async fn send<F: Future>(request: F) -> Sent<F> {
    let mut request = Box::pin(maybe_done(request));
    let _ = futures::poll!(request.as_mut());
    Sent(request)
}

impl<T, E, F: Future<Output = Result<T, E>>> Sent<F> {
    /// Whether it failed at once: it never left this process, or the connection had ended before.
    pub(crate) fn failed_at_once(&mut self) -> bool {
        matches!(self.0.as_mut().output_mut(), Some(Err(_)))
    }

    /// Its answer.
    pub(crate) async fn answer(mut self) -> Result<T, E> {
        loop {
            self.0.as_mut().await;
            if let Some(answer) = self.0.as_mut().take_output() {
                return answer;
            }
        }
    }
}
