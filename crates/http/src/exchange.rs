//! One request and its response, from the first line to the last byte: its id, its span, what it moved; and at its
//! end one line of the access log and one sample of the metrics.
//!
//! An exchange ends when its response body is through, or when its client went away before. The latter is logged
//! with status 499 if there was no answer yet, and with `aborted` in either case.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use roadstead_registry::audit::Origin;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::metrics::{HttpMetrics, Metrics, Sample};
use crate::opening::Peer;
use crate::pulse::Busy;
use crate::request_id::{HEADER, RequestId};
use crate::streams::Taking;

/// The status in log and metrics of a request whose client left before it was answered.
const CLIENT_LEFT: u16 = 499;
/// The part of an upload session's token that names it; the rest of it signs it.
const SESSION_NAME: usize = 24;
/// Longer user agents are cut in the log.
const USER_AGENT_MAX: usize = 256;
/// The most that an HTTP/2 stream is given at a time. What hyper holds for a client that takes nothing is so bounded,
/// and a client that is merely slow shows progress in steps as small. It is the size of HTTP/2's frames.
const PIECE: usize = 16 * 1024;
/// The last bytes of a response, which may wait after its body has ended, are copied: they shall not keep alive the
/// much larger buffers they were read into.
const TAIL: u64 = 128 * 1024;

/// What a request is about, as far as its path tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    /// One of a fixed set of names: `blob`, `manifest`, `upload`, `health`, ...
    pub(crate) route: &'static str,
    pub(crate) repository: Option<String>,
    pub(crate) digest: Option<String>,
}

/// What the access log shows of a request's head.
#[derive(Debug)]
struct Logged {
    path: String,
    user_agent: String,
}

/// The shared record of a request.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: RequestId,
    pub(crate) remote: std::net::SocketAddr,
    /// Whether it came over TLS that ends here.
    pub(crate) secure: bool,
    /// Cancelled when the request's body is to end before its end.
    pub(crate) body_ends: CancellationToken,
    started: Instant,
    method: Method,
    /// What only the access log shows; absent when nobody will read it.
    logged: Option<Logged>,
    labels: OnceLock<Labels>,
    status: AtomicU16,
    received: AtomicU64,
    sent: AtomicU64,
    complete: AtomicBool,
    span: Span,
}

impl Exchange {
    /// What logins and changes are noted with that this request leads to.
    pub(crate) fn origin(&self) -> Origin {
        Origin { remote: Some(self.remote.ip()), request: self.id.as_str().into() }
    }

    /// Begins the record of `request`.
    pub(crate) fn begin<B>(request: &Request<B>, peer: Peer, body_ends: CancellationToken) -> Arc<Self> {
        let id = RequestId::accept(request.headers().get(HEADER));
        let span = tracing::info_span!("request", request_id = id.as_str());
        Arc::new(Self {
            id,
            remote: peer.remote,
            secure: peer.secure,
            body_ends,
            started: Instant::now(),
            method: request.method().clone(),
            logged: tracing::enabled!(target: "access", tracing::Level::INFO)
                .then(|| Logged { path: logged_path(request.uri().path()), user_agent: user_agent(request.headers()) }),
            labels: OnceLock::new(),
            status: AtomicU16::new(CLIENT_LEFT),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            span,
        })
    }

    /// Whether the access log will have its line: only then repository and digest are worth making texts of.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged.is_some()
    }

    /// Says what the request is about. The first to say so counts.
    pub(crate) fn label(&self, labels: Labels) {
        let _ = self.labels.set(labels);
    }

    /// Counts bytes of the request's body.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The span in which everything about this request is logged.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    fn end(&self, metrics: &HttpMetrics) {
        let labels = self.labels.get();
        let sample = Sample {
            route: labels.map_or("other", |labels| labels.route),
            method: method_label(&self.method),
            status: self.status.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            took: self.started.elapsed(),
        };
        metrics.answered(&sample);
        let Some(logged) = &self.logged else { return };
        let aborted = !self.complete.load(Ordering::Relaxed);
        self.span.in_scope(|| {
            tracing::info!(
                target: "access",
                method = %self.method,
                path = logged.path,
                status = sample.status,
                bytes = sample.sent,
                received = sample.received,
                duration_ms = sample.took.as_micros() as f64 / 1000.0,
                repository = labels.and_then(|labels| labels.repository.as_deref()),
                digest = labels.and_then(|labels| labels.digest.as_deref()),
                remote = %self.remote,
                user_agent = logged.user_agent,
                aborted = aborted.then_some(true),
                "request"
            );
        });
    }
}

/// The method as a metrics label; what nobody registered shares one.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A path without the signature of an upload session: who can read the log must not be able to go on with an upload.
fn logged_path(path: &str) -> String {
    const UPLOADS: &str = "/blobs/uploads/";
    let session = path.rfind(UPLOADS).map(|at| at + UPLOADS.len());
    let named = session.and_then(|at| path.get(..at + SESSION_NAME)).filter(|named| named.len() < path.len());
    named.map_or_else(|| path.to_owned(), |named| format!("{named}..."))
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    String::from_utf8_lossy(&text[..text.len().min(USER_AGENT_MAX)]).into_owned()
}

/// Ends the exchange when dropped: owned by whoever serves the request, then by its response body.
#[derive(Debug)]
pub(crate) struct Running {
    exchange: Arc<Exchange>,
    metrics: Metrics,
    _busy: Busy,
}

impl Running {
    pub(crate) fn new(exchange: Arc<Exchange>, metrics: Metrics, busy: Busy) -> Self {
        metrics.http().in_flight.inc();
        Self { exchange, metrics, _busy: busy }
    }

    /// Hands the end of the exchange to the response, which also carries the request's id from here on.
    pub(crate) fn answer(self, response: Response<Body>) -> Response<Outbound> {
        let (mut head, body) = response.into_parts();
        if let Ok(id) = HeaderValue::from_str(self.exchange.id.as_str()) {
            head.headers.insert(HEADER, id);
        }
        self.exchange.status.store(head.status.as_u16(), Ordering::Relaxed);
        let bodiless = self.exchange.method == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        // A body with a known length is not asked for more once all of it is there, so its end has to be counted.
        let length = body.size_hint().exact().or_else(|| content_length(&head.headers));
        let left = if bodiless { Some(0) } else { length };
        if left == Some(0) {
            self.exchange.complete.store(true, Ordering::Relaxed);
        }
        let (taking, rest) = (Taking::current(), Bytes::new());
        Response::from_parts(head, Outbound { body, rest, taking, left, running: self })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.http().in_flight.dec();
        self.exchange.end(self.metrics.http());
    }
}

/// A response body that counts what leaves, and ends its exchange.
#[derive(Debug)]
pub(crate) struct Outbound {
    body: Body,
    /// What the body gave and an HTTP/2 stream was not given yet.
    rest: Bytes,
    /// Where an HTTP/2 stream's progress is noted.
    taking: Option<Taking>,
    /// Bytes still to come, if their number is known.
    left: Option<u64>,
    running: Running,
}

impl Outbound {
    /// The next piece of what the body gave.
    fn piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        if self.left.is_none_or(|left| left <= TAIL) { Bytes::copy_from_slice(&piece) } else { piece }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.taking.is_none() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }
}

impl http_body::Body for Outbound {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if let Some(taking) = &this.taking {
            taking.taken();
        }
        let frame = this.poll_body(cx);
        let exchange = &this.running.exchange;
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |d| d.len() as u64);
                exchange.sent.fetch_add(bytes, Ordering::Relaxed);
                this.left = this.left.map(|left| left.saturating_sub(bytes));
                if this.left == Some(0) || this.is_end_stream() {
                    exchange.complete.store(true, Ordering::Relaxed);
                }
                if let Some(taking) = &this.taking {
                    taking.handed_over();
                }
            }
            Poll::Ready(None) => exchange.complete.store(true, Ordering::Relaxed),
            // The head is gone, so the client sees a broken body; say here why.
            Poll::Ready(Some(Err(error))) => {
                exchange.span.in_scope(|| tracing::error!(%error, "a response body broke off"));
            }
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first frame, when nothing rests here.
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use tracing::subscriber::{NoSubscriber, with_default};

    use super::*;

    #[test]
    fn nothing_is_made_for_a_log_that_is_not_written() {
        let peer = Peer { remote: ([127, 0, 0, 1], 1).into(), secure: false, unnamed: false };
        let begin = || Exchange::begin(&Request::new(()), peer, CancellationToken::new()).is_logged();
        assert!(!with_default(NoSubscriber::default(), begin));
        assert!(with_default(tracing_subscriber::registry(), begin));
    }
}
