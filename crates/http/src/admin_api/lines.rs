//! Answers that come while the work goes on: one JSON object a line.

use axum::body::{Body, Bytes};
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde::Serialize;
use tokio::sync::mpsc;

/// Lines that may wait for a slow caller before the work waits too.
const AHEAD: usize = 16;

/// Where the work writes its lines.
pub(super) struct Lines(mpsc::Sender<Bytes>);

impl Lines {
    /// Writes a line; `false` once nobody reads any more.
    pub(super) async fn write(&self, line: &impl Serialize) -> bool {
        let Ok(mut line) = serde_json::to_vec(line) else { return false };
        line.push(b'\n');
        self.0.send(line.into()).await.is_ok()
    }
}

impl Lines {
    /// Writes a line unless the reader is behind; `false` once nobody reads any more.
    pub(super) fn offer(&self, line: &impl Serialize) -> bool {
        if let (Ok(place), Ok(mut line)) = (self.0.try_reserve(), serde_json::to_vec(line)) {
            line.push(b'\n');
            place.send(line.into());
        }
        !self.is_closed()
    }

    /// Whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// An answer whose lines `work` writes.
pub(super) fn answer<W>(work: impl FnOnce(Lines) -> W) -> Response<Body>
where
    W: Future<Output = ()> + Send + 'static,
{
    let (lines, read) = mpsc::channel::<Bytes>(AHEAD);
    tokio::spawn(work(Lines(lines)));
    let lines =
        stream::unfold(read, |mut read| async { Some((Ok::<_, std::convert::Infallible>(read.recv().await?), read)) });
    let mut response = Response::new(Body::from_stream(lines));
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
