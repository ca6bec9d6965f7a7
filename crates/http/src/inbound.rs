//! A request's body as the domain reads it: bytes in order, given up when the client stalls, and ended when the server
//! will not be there much longer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use http_body::Body as _;
use roadstead_registry::BodyError;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::bounds::Place;

/// A body being read. After an error it yields nothing more.
pub(crate) struct Inbound {
    body: Body,
    limit: Duration,
    /// Since when the reader waits for the client; time the reader spends elsewhere is not the client's.
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// Ready when the server ends the body.
    ends: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    /// What the process has room for, given back with the body.
    _place: Option<Place>,
}

impl Inbound {
    pub(crate) fn new(body: Body, limit: Duration, ends: CancellationToken, place: Option<Place>) -> Self {
        let (timer, ends) = (Box::pin(sleep(limit)), Box::pin(ends.cancelled_owned()));
        Self { body, limit, waiting: None, timer, ends, ended: false, _place: place }
    }

    /// Ready when the client has been waited for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.limit;
        loop {
            // The timer is left where it was while bytes flow, and moved only when it fires too early.
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

impl Stream for Inbound {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        // First, since a client that never stops sending must be told too.
        if this.ends.as_mut().poll(cx).is_ready() {
            this.ended = true;
            return Poll::Ready(Some(Err(BodyError::Draining)));
        }
        loop {
            let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(cx) else {
                ready!(this.poll_stalled(cx));
                this.ended = true;
                return Poll::Ready(Some(Err(BodyError::TooSlow)));
            };
            this.waiting = None;
            let frame = match next {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(BodyError::Broken(error.to_string()))));
                }
                None => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
            };
            // Trailers say nothing that a registry needs.
            let Ok(data) = frame.into_data() else { continue };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use futures::StreamExt;
    use futures::channel::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    type Chunk = Result<Bytes, std::io::Error>;

    fn inbound() -> (mpsc::UnboundedSender<Chunk>, Inbound) {
        let (sender, receiver) = mpsc::unbounded::<Chunk>();
        (sender, Inbound::new(Body::from_stream(receiver), LIMIT, CancellationToken::new(), None))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_is_given_up_after_the_limit_since_its_last_byte() {
        let (sender, mut body) = inbound();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(59)).await;
            sender.unbounded_send(Ok(Bytes::from_static(b"x"))).unwrap();
            assert_eq!(body.next().await.unwrap().unwrap(), "x");
        }
        let begun = Instant::now();
        assert!(matches!(body.next().await, Some(Err(BodyError::TooSlow))));
        assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
        assert!(body.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_the_clients_fault() {
        let (sender, mut body) = inbound();
        sender.unbounded_send(Ok(Bytes::from_static(b"a"))).unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        tokio::time::advance(Duration::from_secs(600)).await;
        let late = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            sender.unbounded_send(Ok(Bytes::from_static(b"b"))).unwrap();
        };
        let (next, ()) = tokio::join!(body.next(), late);
        assert_eq!(next.unwrap().unwrap(), "b");
    }

    #[tokio::test]
    async fn a_body_is_ended_though_its_client_goes_on() {
        let (sender, receiver) = mpsc::unbounded::<Chunk>();
        let ends = CancellationToken::new();
        let mut body = Inbound::new(Body::from_stream(receiver), LIMIT, ends.clone(), None);
        sender.unbounded_send(Ok(Bytes::from_static(b"a"))).unwrap();
        sender.unbounded_send(Ok(Bytes::from_static(b"b"))).unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "a");
        ends.cancel();
        assert!(matches!(body.next().await, Some(Err(BodyError::Draining))));
        assert!(body.next().await.is_none());
    }

    #[tokio::test]
    async fn a_broken_body_ends_in_one_error() {
        let (sender, mut body) = inbound();
        sender.unbounded_send(Err(std::io::Error::other("reset"))).unwrap();
        assert!(matches!(body.next().await, Some(Err(BodyError::Broken(_)))));
        assert!(body.next().await.is_none());
    }
}
