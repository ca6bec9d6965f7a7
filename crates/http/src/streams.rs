//! HTTP/2 streams, each served on a task of its own and given up when its client takes nothing of the response.
//!
//! The connection's watch ([`crate::pulse`]) sees writes that block. A client that grants a stream no window blocks
//! none: hyper then holds what the body gave it and does not ask for more, so that only somebody outside of both can
//! tell that nothing moves. That is the task here. Dropping hyper's future resets the stream and frees what it held,
//! while other streams of the connection, which may be other clients behind a proxy, go on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::metrics::HttpMetrics;

tokio::task_local! {
    static TAKING: Taking;
}

/// Since when a frame of a response waits to be taken, if one does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taking(Arc<Mutex<Option<Instant>>>);

impl Taking {
    /// That of the HTTP/2 stream being served; `None` on HTTP/1.
    pub(crate) fn current() -> Option<Self> {
        TAKING.try_with(Self::clone).ok()
    }

    /// A frame was handed over.
    pub(crate) fn handed_over(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// What was handed over has been taken: more is asked for.
    pub(crate) fn taken(&self) {
        *self.0.lock() = None;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// Spawns the streams of HTTP/2 connections.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    /// How long a frame may wait to be taken.
    pub(crate) patience: Duration,
    pub(crate) metrics: HttpMetrics,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let (taking, patience, metrics) = (Taking::default(), self.patience, self.metrics.clone());
        let watched = watch(stream, taking.clone(), patience);
        tokio::spawn(TAKING.scope(taking, async move {
            if !watched.await {
                tracing::debug!("stream given up: its client takes nothing of the response");
                metrics.gave_up("slow_stream");
            }
        }));
    }
}

/// Serves a stream to its end; `false` when a frame was not taken for `patience`.
async fn watch(stream: impl Future, taking: Taking, patience: Duration) -> bool {
    let mut stream = pin!(stream);
    let mut timer = pin!(sleep(patience));
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        while let Some(since) = taking.since() {
            let due = since + patience;
            if due <= Instant::now() {
                return Poll::Ready(false);
            }
            // Moved only when it fires too early: a stream that flows does not touch the timer for each frame.
            if timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn only_the_time_since_the_last_frame_counts() {
        let taking = Taking::default();
        let frames = taking.clone();
        let stream = async move {
            // A handler may take its time; nothing waits for the client yet.
            sleep(3 * PATIENCE).await;
            for _ in 0..5 {
                frames.handed_over();
                sleep(PATIENCE - Duration::from_secs(1)).await;
                frames.taken();
            }
            frames.handed_over();
            std::future::pending::<()>().await;
        };
        let begun = Instant::now();
        assert!(!watch(stream, taking, PATIENCE).await);
        assert_eq!(begun.elapsed().as_secs(), 3 * 60 + 5 * 59 + 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_is_not_given_up() {
        let taking = Taking::default();
        taking.handed_over();
        advance(PATIENCE).await;
        assert!(watch(async {}, taking, PATIENCE).await);
    }
}
