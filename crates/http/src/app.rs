//! What a server serves: health, metrics, and an API for every other path.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::routing::get;
use axum::{Router, response::IntoResponse as _};
use futures::FutureExt as _;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use roadstead_registry::Error;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::asked_host::is_asked_here;
use crate::auth::Auth;
use crate::error_table::{self, Failure};
use crate::exchange::{Exchange, Labels, Outbound, Running};
use crate::health::{self, Health};
use crate::metrics::{self, Metrics};
use crate::opening::Peer;
use crate::own_hosts::{self, OwnHosts};
use crate::plain;
use crate::pulse::Pulse;
use crate::received::Received;
use crate::tls::Tls;

/// For browsers, which take nothing from a registry but a page of health: no scripts, no frames, nothing from elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);

/// Everything a server serves. Clones share it.
#[derive(Clone)]
pub struct App {
    health: Health,
    metrics: Metrics,
    router: Router,
    /// For a proxy that does not say for whom it asks.
    unnamed: Router,
    /// For whoever came by a name that is not served.
    others: Router,
    /// The names that are; all without it.
    hosts: Option<OwnHosts>,
    /// Who may see the metrics; everybody while it is empty.
    scraping: Arc<OnceLock<Auth>>,
    /// The certificate, if the server has one.
    tls: Option<Tls>,
    /// What answers over TLS say of it.
    strict: Option<HeaderValue>,
    /// Cancelled when request bodies are to end, because the server will not be there much longer.
    bodies_end: CancellationToken,
}

impl App {
    /// Serves `api` beside `/load_balancer_status` with its aliases `/_ping`, `/health` and `/health/instance`, and
    /// beside `/metrics`, none of which asks for authentication, but for [`App::with_metrics_for`].
    pub fn new(health: Health, metrics: Metrics, api: Router) -> Self {
        metrics.show_health(health.clone());
        let scraping = Arc::default();
        let shown = Shown { metrics: metrics.clone(), to: Arc::clone(&scraping) };
        let router = Router::new().route("/metrics", get(show_metrics).with_state(shown));
        let router = router.merge(health_of(&health)).merge(api);
        let unnamed = health_of(&health).merge(plain::refusing_unnamed());
        let others = health_of(&health).merge(own_hosts::refusing_others());
        let (hosts, tls, strict, bodies_end) = (None, None, None, CancellationToken::new());
        Self { health, metrics, router, unnamed, others, hosts, scraping, tls, strict, bodies_end }
    }

    /// Answers only what was sent to these names, and to others health and why. For a server that asks nobody who it is.
    pub fn only_for(self, hosts: OwnHosts) -> Self {
        Self { hosts: Some(hosts), ..self }
    }

    /// Shows the metrics to those whom `auth` lets see them, and to this machine.
    pub fn with_metrics_for(self, auth: Auth) -> Self {
        let _ = self.scraping.set(auth);
        self
    }

    /// The same over TLS: with `/ca` when the certificate was made here, what browsers are to know in every answer, and
    /// the end of the certificate among the metrics.
    pub(crate) fn over_tls(mut self, tls: &Tls) -> Self {
        self.metrics.show_certificate(tls.clone());
        self.health.show_certificate(tls);
        if let Some(authority) = plain::authority(tls) {
            self.router = self.router.merge(authority);
        }
        (self.tls, self.strict) = (Some(tls.clone()), tls.strict());
        self
    }

    /// What is served beside it without TLS, whose clients find the rest at this port.
    pub(crate) fn sending_to_tls(&self, port: u16) -> Self {
        let authority = self.tls.as_ref().and_then(plain::authority).unwrap_or_default();
        let router = health_of(&self.health).merge(authority).merge(plain::sending_to_tls(port));
        Self { router, hosts: None, ..self.clone() }
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
        peer: Peer,
        pulse: Arc<Pulse>,
    ) -> Result<Response<Outbound>, Infallible> {
        let exchange = Exchange::begin(&request, peer, self.bodies_end.clone());
        let running = Running::new(Arc::clone(&exchange), self.metrics.clone(), pulse.begin());
        let http1 = request.version() < Version::HTTP_2;
        let one_host = request.version() != Version::HTTP_11 || names_one_host(request.headers());
        let connection = Arc::clone(&pulse);
        let mut request = request.map(|body| Body::new(Received::new(body, Arc::clone(&exchange), pulse)));
        request.extensions_mut().insert(Arc::clone(&exchange));
        let span = exchange.span().clone();
        let answer = async {
            if one_host {
                let meant =
                    self.hosts.is_none_or(|hosts| hosts.serve(request.method(), request.uri(), request.headers()));
                let router = match (peer.unnamed, meant) {
                    (true, _) => self.unnamed,
                    (false, true) => self.router,
                    (false, false) => self.others,
                };
                router.oneshot(request).await
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
        if peer.secure {
            secure(response.headers_mut(), self.strict);
        }
        Ok(running.answer(response))
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

fn health_of(health: &Health) -> Router {
    let paths = ["/load_balancer_status", "/_ping", "/health", "/health/instance"];
    let add = |router: Router, path| router.route(path, get(show_health).with_state(health.clone()));
    paths.into_iter().fold(Router::new(), add)
}

/// What every answer over TLS says to browsers. Clients of registries pass over it.
fn secure(headers: &mut HeaderMap, strict: Option<HeaderValue>) {
    if let Some(strict) = strict {
        headers.insert(STRICT_TRANSPORT_SECURITY, strict);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
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
    health::respond(&health.verdict(), health.certificate_days(), &headers)
}

/// The metrics, and who may see them.
#[derive(Clone)]
struct Shown {
    metrics: Metrics,
    to: Arc<OnceLock<Auth>>,
}

async fn show_metrics(
    State(Shown { metrics, to }): State<Shown>,
    Extension(exchange): Extension<Arc<Exchange>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    exchange.label(Labels { route: "metrics", ..Labels::default() });
    let remote = exchange.remote.ip();
    let here = || remote.to_canonical().is_loopback() && is_asked_here(&uri, &headers);
    if let Some(auth) = to.get().filter(|_| !here())
        && let Err(failure) = auth.may_scrape(&headers, &exchange).await
    {
        return error_table::render(failure, "", None, exchange.id.as_str());
    }
    let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
    let fresh = HeaderValue::from_static("no-store");
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, fresh)], metrics.text()).into_response()
}
