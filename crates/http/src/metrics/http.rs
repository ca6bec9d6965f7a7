//! Requests and connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::SECONDS;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What is known of a request once it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) route: &'static str,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) took: Duration,
}

/// The metrics of one kind of answer.
#[derive(Debug)]
struct Known {
    requests: Counter,
    seconds: Histogram,
    received: Counter,
    sent: Counter,
}

impl Known {
    fn count(&self, s: &Sample) {
        self.requests.inc();
        self.seconds.observe(s.took.as_secs_f64());
        self.received.inc_by(s.received);
        self.sent.inc_by(s.sent);
    }
}

/// Counters of the server.
#[derive(Debug, Clone)]
pub(crate) struct HttpMetrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    received: Family<Route, Counter>,
    sent: Family<Route, Counter>,
    /// Those of each kind of answer that was ever given, so that a request looks for its metrics once.
    known: Arc<RwLock<HashMap<Answered, Known>>>,
    /// Requests begun and not yet over, their response bodies included.
    pub(crate) in_flight: Gauge,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Connections ever accepted.
    pub(crate) accepted: Counter,
    /// Connections that found all places taken.
    pub(crate) without_room: Counter,
    given_up: Family<Reason, Counter>,
    not_opened: Family<Reason, Counter>,
}

impl HttpMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let new = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            received: Family::default(),
            sent: Family::default(),
            known: Arc::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            without_room: Counter::default(),
            given_up: Family::default(),
            not_opened: Family::default(),
        };
        registry.register("roadstead_http_requests", "Requests answered", new.requests.clone());
        registry.register(
            "roadstead_http_request_duration_seconds",
            "From the head of a request to the end of its response",
            new.seconds.clone(),
        );
        registry.register("roadstead_http_request_bytes", "Bytes of request bodies", new.received.clone());
        registry.register("roadstead_http_response_bytes", "Bytes of response bodies", new.sent.clone());
        registry.register("roadstead_http_requests_in_flight", "Requests being served", new.in_flight.clone());
        registry.register("roadstead_http_connections", "Open connections", new.connections.clone());
        registry.register("roadstead_http_connections_accepted", "Connections accepted", new.accepted.clone());
        registry.register(
            "roadstead_http_connections_without_room",
            "Connections that found http.max_connections taken",
            new.without_room.clone(),
        );
        registry.register(
            "roadstead_http_connections_given_up",
            "Connections and HTTP/2 streams closed because the client was idle or too slow",
            new.given_up.clone(),
        );
        registry.register(
            "roadstead_http_connections_not_opened",
            "Connections closed because their PROXY header or their TLS handshake failed",
            new.not_opened.clone(),
        );
        new
    }

    /// Counts a request that is over.
    pub(crate) fn answered(&self, s: &Sample) {
        let kind = Answered { route: s.route, method: s.method, status: s.status };
        if let Some(known) = self.known.read().get(&kind) {
            return known.count(s);
        }
        let route = Route { route: s.route };
        let known = Known {
            requests: self.requests.get_or_create_owned(&kind),
            seconds: self.seconds.get_or_create_owned(&route),
            received: self.received.get_or_create_owned(&route),
            sent: self.sent.get_or_create_owned(&route),
        };
        known.count(s);
        self.known.write().insert(kind, known);
    }

    /// Counts a connection on which HTTP was never spoken.
    pub(crate) fn not_opened(&self, reason: &'static str) {
        self.not_opened.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a connection, or a stream of one, that was given up.
    pub(crate) fn gave_up(&self, reason: &'static str) {
        self.given_up.get_or_create(&Reason { reason }).inc();
    }
}
