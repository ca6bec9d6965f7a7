//! A request's body as it comes from the connection: counted, and known to be read to its end or not.
//!
//! When an answer is given before the body was read, closing the connection would make the system reset it, and the
//! reset may overtake the answer. So the connection lingers then (`stream`): it says it is done and discards what
//! the client still sends, for a moment.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::exchange::Exchange;
use crate::pulse::Pulse;

/// A body being received.
pub(crate) struct Received {
    body: Incoming,
    exchange: Arc<Exchange>,
    pulse: Arc<Pulse>,
    ended: bool,
}

impl Received {
    pub(crate) fn new(body: Incoming, exchange: Arc<Exchange>, pulse: Arc<Pulse>) -> Self {
        let ended = body.is_end_stream();
        Self { body, exchange, pulse, ended }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => self.exchange.received(frame.data_ref().map_or(0, Bytes::len)),
            // After an error of the connection nothing more will come.
            Poll::Ready(Some(Err(_)) | None) => self.ended = true,
            Poll::Pending => {}
        }
        self.ended |= self.body.is_end_stream();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if !self.ended {
            self.pulse.left_unread();
        }
    }
}
