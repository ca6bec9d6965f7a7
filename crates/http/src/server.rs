//! The server: accepts, serves HTTP/1.1 and HTTP/2 (prior knowledge) on one port, and ends without cutting anybody
//! off who is being served.
//!
//! Draining, in order: health answers 503 while everything is still served, so that load balancers look elsewhere;
//! the listener closes; idle connections close and busy ones after their response (`Connection: close`, GOAWAY);
//! shortly before the deadline request bodies that still come are ended, so that what arrived of them is acknowledged
//! and their clients are told to come back (503); what is left at the deadline is cut off. A second stop ends at once.
//!
//! Deliberately absent: TLS, which is a stream under this server, not a part of it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::listener::{Accepted, Arrival, Listener};
use crate::metrics::HttpMetrics;
use crate::pulse::{Due, Patience, Pulse};
use crate::settings::Settings;
use crate::stream::Watched;
use crate::streams::Streams;

/// How long before the deadline of a drain request bodies are ended, at least; a fifth of a longer deadline. Time for
/// what arrived to become durable and for the answer to reach the client.
const LAST: Duration = Duration::from_secs(1);

/// How many connections that rest are known by one look at all of them.
const RESTING: usize = 64;

/// A wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Drain, and wait for load balancers first (SIGTERM).
    Drain,
    /// Drain without that wait (SIGINT, at a terminal).
    Promptly,
}

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request that had begun was answered.
    Drained,
    /// So many connections were still busy at the deadline and were cut off.
    Deadline(usize),
    /// A second stop cut off so many connections.
    AtOnce(usize),
}

/// A server before it serves.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    app: App,
}

/// A server that listens: clients may connect, and are served once [`Bound::run`] runs.
#[derive(Debug)]
pub struct Bound {
    settings: Settings,
    app: App,
    listener: Listener,
    local_addr: SocketAddr,
}

impl Server {
    /// A server for `app`.
    pub fn new(settings: Settings, app: App) -> Self {
        Self { settings, app }
    }

    /// Takes the address. Errors are the system's: address in use, not permitted, not one of this machine.
    pub async fn bind(self) -> io::Result<Bound> {
        let Self { settings, app } = self;
        let listener = Listener::bind(settings.addr, settings.max_connections)?;
        let local_addr = listener.local_addr()?;
        Ok(Bound { settings, app, listener, local_addr })
    }
}

impl Bound {
    /// The address it listens on, with the port the system chose if that was left to it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `stops` yields and everything in flight is through. The first item starts the drain, another ends
    /// it at once; should the stream end without any, the server runs on.
    pub async fn run(self, stops: impl Stream<Item = Stop>) -> Ended {
        let Self { settings, app, mut listener, .. } = self;
        let mut stops = pin!(stops.chain(futures::stream::pending()));
        let mut connections = Connections::new(&settings, app.clone());

        let stop = connections.accept_until(&mut listener, stops.next()).await;
        app.health().drain();
        if stop != Some(Stop::Promptly) && !settings.drain_delay.is_zero() {
            tracing::info!(seconds = settings.drain_delay.as_secs(), "stopping: health answers 503, still serving");
            let wait = timeout(settings.drain_delay, stops.next());
            if connections.accept_until(&mut listener, wait).await.is_ok() {
                return connections.cut_off(Ended::AtOnce).await;
            }
        }
        drop(listener);
        tracing::info!(connections = connections.tasks.len(), "stopping: no new connections");
        connections.drain.cancel();
        let finished = tokio::select! {
            biased;
            finished = connections.finish_within(settings.drain_deadline) => finished,
            _ = stops.next() => return connections.cut_off(Ended::AtOnce).await,
        };
        if finished { Ended::Drained } else { connections.cut_off(Ended::Deadline).await }
    }
}

/// The connections being served.
struct Connections {
    tasks: JoinSet<()>,
    pulses: HashMap<tokio::task::Id, Arc<Pulse>>,
    /// Some that rested when it was last looked, the longest last.
    resting: Vec<(Instant, Weak<Pulse>)>,
    drain: CancellationToken,
    protocols: Arc<Protocols>,
    patience: Patience,
    app: App,
}

impl Connections {
    fn new(settings: &Settings, app: App) -> Self {
        let patience =
            Patience { head: settings.header_timeout, idle: settings.idle_timeout, write: settings.body_timeout };
        let protocols = Arc::new(Protocols::new(settings, app.metrics().http()));
        Self {
            tasks: JoinSet::new(),
            pulses: HashMap::new(),
            resting: Vec::new(),
            drain: CancellationToken::new(),
            protocols,
            patience,
            app,
        }
    }

    /// Accepts and serves until `until` answers.
    async fn accept_until<T>(&mut self, listener: &mut Listener, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        loop {
            tokio::select! {
                biased;
                answer = until.as_mut() => return answer,
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    self.pulses.remove(&id);
                }
                arrival = listener.accept() => match arrival {
                    Arrival::Accepted(accepted) => self.spawn(accepted),
                    Arrival::Full(first) => self.make_room(first),
                },
            }
        }
    }

    fn spawn(&mut self, accepted: Accepted) {
        let Accepted { stream, remote, permit } = accepted;
        let open = Open::new(self.app.metrics().http(), permit);
        let served = Served {
            remote,
            app: self.app.clone(),
            drain: self.drain.clone(),
            protocols: Arc::clone(&self.protocols),
            pulse: Pulse::new(self.patience),
        };
        let pulse = Arc::clone(&served.pulse);
        let task = self.tasks.spawn(async move {
            let _open = open;
            served.serve(stream).await;
        });
        self.pulses.insert(task.id(), pulse);
    }

    /// Ends the connection that rests longest, if one does, for a newcomer. Who is being served is left alone.
    fn make_room(&mut self, first: bool) {
        if first {
            self.app.metrics().http().without_room.inc();
        }
        while let Some((since, pulse)) = self.resting.pop() {
            if pulse.upgrade().is_some_and(|pulse| pulse.give_way(since)) {
                return;
            }
        }
        let resting = |pulse: &Arc<Pulse>| Some((pulse.resting_since()?, Arc::downgrade(pulse)));
        self.resting = self.pulses.values().filter_map(resting).collect();
        // The longest last, and only some of them: others may have begun to rest when these are used up.
        self.resting.sort_unstable_by_key(|(since, _)| Reverse(*since));
        self.resting.drain(..self.resting.len().saturating_sub(RESTING));
        if let Some((since, pulse)) = self.resting.pop()
            && let Some(pulse) = pulse.upgrade()
        {
            pulse.give_way(since);
        }
    }

    /// Waits until all have ended; `false` when some have not at the deadline.
    async fn finish_within(&mut self, deadline: Duration) -> bool {
        let last = (deadline / 5).max(LAST).min(deadline);
        if timeout(deadline - last, self.finish()).await.is_ok() {
            return true;
        }
        tracing::info!(connections = self.tasks.len(), "stopping: request bodies still coming are ended");
        self.app.end_bodies();
        timeout(last, self.finish()).await.is_ok()
    }

    async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    async fn cut_off(&mut self, ended: impl FnOnce(usize) -> Ended) -> Ended {
        while self.tasks.try_join_next().is_some() {}
        let left = self.tasks.len();
        tracing::warn!(connections = left, "stopping: connections still busy are cut off");
        self.tasks.shutdown().await;
        ended(left)
    }
}

/// One open connection: its place among those that may be open, and its count.
struct Open {
    connections: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(metrics: &HttpMetrics, permit: OwnedSemaphorePermit) -> Self {
        metrics.accepted.inc();
        metrics.connections.inc();
        Self { connections: metrics.connections.clone(), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.dec();
    }
}

/// Both protocols with their limits.
#[derive(Debug)]
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl Protocols {
    fn new(settings: &Settings, metrics: &HttpMetrics) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // The connection's own watch tells idle from slow.
            .header_read_timeout(None)
            .max_headers(settings.max_headers)
            .max_header_size(settings.max_header_bytes)
            // How much of a pushed blob is read at once, and of a pulled one waits beside the chunk being written; a
            // connection starts with far less.
            .max_buf_size(64 * 1024);
        let mut http2 = http2::Builder::new(Streams { patience: settings.body_timeout, metrics: metrics.clone() });
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_streams)
            .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_send_buf_size(64 * 1024);
        Self { http1, http2 }
    }
}

/// Why a connection is not driven any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// It ended.
    Ended,
    /// Nothing is in flight and nothing was for a while.
    Rests,
}

/// What one connection needs.
struct Served {
    remote: SocketAddr,
    app: App,
    drain: CancellationToken,
    protocols: Arc<Protocols>,
    pulse: Arc<Pulse>,
}

impl Served {
    /// Serves a connection to its end.
    async fn serve(self, stream: TcpStream) {
        let mut stream = Watched::new(stream, Arc::clone(&self.pulse));
        let service = service_fn(|request| self.app.clone().serve(request, self.remote, Arc::clone(&self.pulse)));
        while let Some(http2) = self.wait(&mut stream).await {
            if http2 {
                let connection = self.protocols.http2.serve_connection(TokioIo::new(stream), &service);
                self.drive(pin!(connection), false).await;
                return;
            }
            let mut connection = self.protocols.http1.serve_connection(TokioIo::new(stream), &service);
            if let Over::Ended = self.drive(Pin::new(&mut connection), true).await {
                return;
            }
            let parts = connection.into_parts();
            stream = parts.io.into_inner();
            if !parts.read_buf.is_empty() {
                // The beginning of a head that came along with the request before it.
                self.pulse.received();
                stream.put_back(&parts.read_buf);
            }
        }
    }

    /// Waits for the client to speak: `None` when the connection is over instead, else whether it speaks HTTP/2.
    async fn wait(&self, stream: &mut Watched<TcpStream>) -> Option<bool> {
        let timer = pin!(self.timer());
        tokio::select! {
            biased;
            spoken = stream.speaks_http2() => spoken.map_err(|error| self.lost(&error)).ok(),
            () = self.drain.cancelled() => None,
            due = self.pulse.due(timer, false) => {
                self.give_up(due);
                None
            }
        }
    }

    /// Serves requests until the connection ends or, if it may, rests.
    async fn drive<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        mut connection: Pin<&mut C>,
        may_rest: bool,
    ) -> Over {
        let mut timer = pin!(self.timer());
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    // Not an error of ours: malformed requests, resets. hyper has answered what can be answered.
                    let _ = ended.map_err(|error| self.lost(&error));
                    return Over::Ended;
                }
                () = self.drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                due = self.pulse.due(timer.as_mut(), may_rest && !draining) => {
                    if due == Due::Rest {
                        return Over::Rests;
                    }
                    self.give_up(due);
                    return Over::Ended;
                }
            }
        }
    }

    fn timer(&self) -> Sleep {
        sleep(self.pulse.patience().idle)
    }

    fn lost(&self, error: &(dyn std::error::Error + 'static)) {
        tracing::debug!(remote = %self.remote, error, "connection ended");
    }

    fn give_up(&self, due: Due) {
        let Due::End(expired) = due else { return };
        tracing::debug!(remote = %self.remote, reason = expired.as_str(), "connection given up");
        self.app.metrics().http().gave_up(expired.as_str());
    }
}
