//! The server: accepts, serves HTTP/1.1 and HTTP/2 (prior knowledge) on one port, and ends without cutting anybody
//! off who is being served.
//!
//! Draining, in order: health answers 503 while everything is still served, so that load balancers look elsewhere;
//! the listener closes; idle connections close and busy ones after their response (`Connection: close`, GOAWAY);
//! shortly before the deadline request bodies that still come are ended, so that what arrived of them is acknowledged
//! and their clients are told to come back (503); what is left at the deadline is cut off. A second stop ends at once.
//!
//! A second listener, if one is asked for, has connections of its own and drains with the first: it sends clients to TLS
//! and answers health ([`crate::plain`]).

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::connections::Connections;
use crate::listener::Listener;
use crate::opening::Opening;
use crate::settings::Settings;

/// How long before the deadline of a drain request bodies are ended, at least; a fifth of a longer deadline. Time for
/// what arrived to become durable and for the answer to reach the client.
const LAST: Duration = Duration::from_secs(1);

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
    plain: Option<(Listener, SocketAddr)>,
}

impl Server {
    /// A server for `app`.
    pub fn new(settings: Settings, app: App) -> Self {
        let app = match &settings.tls {
            Some(tls) => app.over_tls(tls),
            None => app,
        };
        Self { settings, app }
    }

    /// Takes the addresses. Errors are the system's, with the address: in use, not permitted, not one of this machine.
    pub async fn bind(self) -> Result<Bound, (SocketAddr, io::Error)> {
        let Self { settings, app } = self;
        let bind = |addr, max_connections| {
            let listener = Listener::bind(addr, max_connections).map_err(|error| (addr, error))?;
            let local_addr = listener.local_addr().map_err(|error| (addr, error))?;
            Ok((listener, local_addr))
        };
        let (listener, local_addr) = bind(settings.addr, settings.max_connections)?;
        let plain = settings.plain.map(|plain| bind(plain.addr, settings.beside().max_connections)).transpose()?;
        Ok(Bound { settings, app, listener, local_addr, plain })
    }
}

impl Bound {
    /// The address it listens on, with the port the system chose if that was left to it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The same of the listener that sends clients to TLS.
    pub fn plain_addr(&self) -> Option<SocketAddr> {
        self.plain.as_ref().map(|(_, addr)| *addr)
    }

    /// Serves until `stops` yields and everything in flight is through. The first item starts the drain, another ends
    /// it at once; should the stream end without any, the server runs on.
    pub async fn run(self, stops: impl Stream<Item = Stop>) -> Ended {
        let Self { settings, app, listener, local_addr, plain } = self;
        let mut stops = pin!(stops.chain(futures::stream::pending()));
        let mut doors = Doors::new(&settings, &app, listener, local_addr, plain.map(|(listener, _)| listener));

        let stop = doors.accept_until(stops.next()).await;
        app.health().drain();
        if stop != Some(Stop::Promptly) && !settings.drain_delay.is_zero() {
            tracing::info!(seconds = settings.drain_delay.as_secs(), "stopping: health answers 503, still serving");
            let wait = timeout(settings.drain_delay, stops.next());
            if doors.accept_until(wait).await.is_ok() {
                return Ended::AtOnce(doors.cut_off().await);
            }
        }
        doors.close();
        tracing::info!(connections = doors.len(), "stopping: no new connections");
        doors.drain.cancel();
        let finished = tokio::select! {
            biased;
            finished = doors.finish_within(settings.drain_deadline, &app) => finished,
            _ = stops.next() => return Ended::AtOnce(doors.cut_off().await),
        };
        if finished { Ended::Drained } else { Ended::Deadline(doors.cut_off().await) }
    }
}

/// The listeners, each with its connections.
struct Doors {
    doors: Vec<(Option<Listener>, Connections)>,
    drain: CancellationToken,
}

impl Doors {
    fn new(settings: &Settings, app: &App, main: Listener, addr: SocketAddr, plain: Option<Listener>) -> Self {
        let drain = CancellationToken::new();
        let proxies = &settings.proxies;
        let opening =
            |settings: &Settings, tls| Opening { tls, proxies: proxies.clone(), limit: settings.header_timeout };
        let first = opening(settings, settings.tls.clone());
        let mut doors = vec![(Some(main), Connections::new(settings, first, app.clone(), drain.clone()))];
        if let (Some(listener), Some(plain)) = (plain, settings.plain) {
            let app = app.sending_to_tls(plain.port.unwrap_or(addr.port()));
            let (settings, opening) = (settings.beside(), opening(settings, None));
            doors.push((Some(listener), Connections::new(&settings, opening, app, drain.clone())));
        }
        Self { doors, drain }
    }

    /// Accepts and serves at all of them until `until` answers.
    async fn accept_until<T>(&mut self, until: impl Future<Output = T>) -> T {
        let accepting = self.doors.iter_mut().filter_map(|(listener, connections)| {
            let listener = listener.as_mut()?;
            Some(connections.accept_until(listener, std::future::pending::<()>()))
        });
        let accepting = futures::future::join_all(accepting);
        let for_ever = async {
            accepting.await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            answer = until => answer,
            never = for_ever => never,
        }
    }

    fn close(&mut self) {
        self.doors.iter_mut().for_each(|(listener, _)| *listener = None);
    }

    fn len(&self) -> usize {
        self.doors.iter().map(|(_, connections)| connections.len()).sum()
    }

    /// Waits until all have ended; `false` when some have not at the deadline.
    async fn finish_within(&mut self, deadline: Duration, app: &App) -> bool {
        let last = (deadline / 5).max(LAST).min(deadline);
        if timeout(deadline - last, self.finish()).await.is_ok() {
            return true;
        }
        tracing::info!(connections = self.len(), "stopping: request bodies still coming are ended");
        app.end_bodies();
        timeout(last, self.finish()).await.is_ok()
    }

    async fn finish(&mut self) {
        for (_, connections) in &mut self.doors {
            connections.finish().await;
        }
    }

    async fn cut_off(&mut self) -> usize {
        tracing::warn!(connections = self.len(), "stopping: connections still busy are cut off");
        let mut cut = 0;
        for (_, connections) in &mut self.doors {
            cut += connections.cut_off().await;
        }
        cut
    }
}
