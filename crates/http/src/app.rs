//! What a server serves: health, metrics, and an API for every other path.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::routing::get;
use axum::{Router, response::IntoResponse as _};
use futures::FutureExt as _;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use roadstead_registry::Error;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::error_table::{self, Failure};
use crate::exchange::{Exchange, Labels, Outbound, Running};
use crate::health::{self, Health};
use crate::metrics::{self, Metrics};
use crate::pulse::Pulse;
use crate::received::Received;

/// Everything a server serves. Clones share it.
#[derive(Clone)]
pub struct App {
    health: Health,
    metrics: Metrics,
    router: Router,
    /// Cancelled when request bodies are to end, because the server will not be there much longer.
    bodies_end: CancellationToken,
}

impl App {
    /// Serves `api` beside `/load_balancer_status` with its aliases `/_ping`, `/health` and `/health/instance`, and
    /// beside `/metrics`, none of which asks for authentication.
    pub fn new(health: Health, metrics: Metrics, api: Router) -> Self {
        metrics.show_health(health.clone());
        let mut router = Router::new().route("/metrics", get(show_metrics).with_state(metrics.clone()));
        for path in ["/load_balancer_status", "/_ping", "/health", "/health/instance"] {
            router = router.route(path, get(show_health).with_state(health.clone()));
        }
        Self { health, metrics, router: router.merge(api), bodies_end: CancellationToken::new() }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Ends request bodies that are still coming, so that what arrived can be acknowledged and their clients told.
    pub(crate) fn end_bodies(&self) {
        self.bodies_end.cancel();
    }

    /// The metrics that `/metrics` shows.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Serves one request of the connection that `pulse` watches.
    pub(crate) async fn serve(
        self,
        request: Request<Incoming>,
        remote: SocketAddr,
        pulse: Arc<Pulse>,
    ) -> Result<Response<Outbound>, Infallible> {
        let exchange = Exchange::begin(&request, remote, self.bodies_end.clone());
        let running = Running::new(Arc::clone(&exchange), self.metrics.clone(), pulse.begin());
        let http1 = request.version() < Version::HTTP_2;
        let one_host = request.version() != Version::HTTP_11 || names_one_host(request.headers());
        let connection = Arc::clone(&pulse);
        let mut request = request.map(|body| Body::new(Received::new(body, Arc::clone(&exchange), pulse)));
        request.extensions_mut().insert(Arc::clone(&exchange));
        let span = exchange.span().clone();
        let answer = async {
            if one_host {
                self.router.oneshot(request).await
            } else {
                Ok(error_table::render(Failure::not_one_host(), "", None, exchange.id.as_str()))
            }
        };
        let answer = AssertUnwindSafe(answer).catch_unwind().instrument(span).await;
        let mut response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => exchange.span().in_scope(|| panicked(exchange.id.as_str())),
        };
        // Clients that keep a connection open would otherwise come back to it and find it closed under them: by the
        // drain, or because the body of this request was not read to its end.
        if http1 && (self.health.is_draining() || connection.has_unread()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(running.answer(response))
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

/// As HTTP/1.1 demands (RFC 9112, section 3.2): without it, or with two, a proxy and this server may understand two
/// different requests.
fn names_one_host(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().count() == 1
}

/// The answer to a request whose handler panicked; what happened is already on standard error.
fn panicked(request_id: &str) -> Response<Body> {
    let failure = Error::Internal("a handler panicked".to_owned());
    error_table::render(failure.into(), "", None, request_id)
}

async fn show_health(
    State(health): State<Health>,
    Extension(exchange): Extension<Arc<Exchange>>,
    headers: HeaderMap,
) -> Response<Body> {
    exchange.label(Labels { route: "health", ..Labels::default() });
    health::respond(&health.verdict(), &headers)
}

async fn show_metrics(State(metrics): State<Metrics>, Extension(exchange): Extension<Arc<Exchange>>) -> Response<Body> {
    exchange.label(Labels { route: "metrics", ..Labels::default() });
    let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
    let fresh = HeaderValue::from_static("no-store");
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, fresh)], metrics.text()).into_response()
}
