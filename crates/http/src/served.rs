//! One connection from its first byte to its last: opened, then HTTP/1.1 or HTTP/2, whichever its client speaks.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::metrics::HttpMetrics;
use crate::opening::{NotOpened, Opened, Opening, Peer};
use crate::pulse::{Due, Pulse};
use crate::settings::Settings;
use crate::stream::{Socket, Watched};
use crate::streams::Streams;

/// How long a connection that is being opened may go on with that while the server drains: it has a request to bring.
const OPENS: Duration = Duration::from_secs(1);

/// Both protocols with their limits.
#[derive(Debug)]
pub(crate) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl Protocols {
    pub(crate) fn new(settings: &Settings, metrics: &HttpMetrics) -> Self {
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
pub(crate) struct Served {
    pub(crate) app: App,
    pub(crate) opening: Arc<Opening>,
    pub(crate) drain: CancellationToken,
    pub(crate) protocols: Arc<Protocols>,
    pub(crate) pulse: Arc<Pulse>,
}

impl Served {
    /// Opens a connection and serves it to its end.
    pub(crate) async fn begin(self, stream: TcpStream, remote: SocketAddr) {
        let peer = Peer { remote, secure: false, unnamed: false };
        if self.opening.is_plain(remote) {
            return self.serve_plain(stream, peer).await;
        }
        match self.open(stream, remote).await {
            Some((Opened::Plain(stream), peer)) => self.serve_plain(stream, peer).await,
            Some((Opened::Tls(stream), peer)) => self.serve(stream, peer).await,
            None => {}
        }
    }

    async fn open(&self, stream: TcpStream, remote: SocketAddr) -> Option<(Opened, Peer)> {
        let mut opening = pin!(timeout(self.opening.limit, self.opening.open(stream, remote, &self.pulse)));
        let timer = pin!(self.timer());
        let opened = tokio::select! {
            biased;
            opened = opening.as_mut() => opened,
            () = self.drain.cancelled() => {
                // Who has said nothing has nothing to lose.
                let begun = self.pulse.resting_since().is_none();
                timeout(if begun { OPENS } else { Duration::ZERO }, opening).await.ok()?
            }
            due = self.pulse.due(timer, false) => {
                self.give_up(remote, due);
                return None;
            }
        };
        match opened {
            Ok(Ok(opened)) => {
                self.pulse.opened();
                Some(opened)
            }
            Ok(Err(error)) => {
                self.not_opened(remote, &error);
                None
            }
            Err(_) => {
                tracing::debug!(%remote, reason = "slow_opening", "connection given up");
                self.app.metrics().http().gave_up("slow_opening");
                None
            }
        }
    }

    async fn serve_plain(self, stream: TcpStream, peer: Peer) {
        let socket = Socket::new(stream, Arc::clone(&self.pulse));
        self.serve(socket, peer).await;
    }

    /// Serves a connection to its end.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, peer: Peer) {
        let mut stream = Watched::new(stream, Arc::clone(&self.pulse));
        let service = service_fn(|request| self.app.clone().serve(request, peer, Arc::clone(&self.pulse)));
        while let Some(http2) = self.wait(&mut stream, peer.remote).await {
            if http2 {
                let connection = self.protocols.http2.serve_connection(TokioIo::new(stream), &service);
                self.drive(pin!(connection), peer.remote, false).await;
                return;
            }
            let mut connection = self.protocols.http1.serve_connection(TokioIo::new(stream), &service);
            if let Over::Ended = self.drive(Pin::new(&mut connection), peer.remote, true).await {
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
    async fn wait<S: AsyncRead + Unpin>(&self, stream: &mut Watched<S>, remote: SocketAddr) -> Option<bool> {
        let timer = pin!(self.timer());
        tokio::select! {
            biased;
            spoken = stream.speaks_http2() => spoken.map_err(|error| lost(remote, &error)).ok(),
            () = self.drain.cancelled() => None,
            due = self.pulse.due(timer, false) => {
                self.give_up(remote, due);
                None
            }
        }
    }

    /// Serves requests until the connection ends or, if it may, rests.
    async fn drive<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        mut connection: Pin<&mut C>,
        remote: SocketAddr,
        may_rest: bool,
    ) -> Over {
        let mut timer = pin!(self.timer());
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    // Not an error of ours: malformed requests, resets. hyper has answered what can be answered.
                    let _ = ended.map_err(|error| lost(remote, &error));
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
                    self.give_up(remote, due);
                    return Over::Ended;
                }
            }
        }
    }

    fn timer(&self) -> Sleep {
        sleep(self.pulse.patience().idle)
    }

    fn not_opened(&self, remote: SocketAddr, error: &NotOpened) {
        tracing::debug!(%remote, %error, "connection not opened");
        error.count(self.app.metrics().http());
    }

    fn give_up(&self, remote: SocketAddr, due: Due) {
        let Due::End(expired) = due else { return };
        tracing::debug!(%remote, reason = expired.as_str(), "connection given up");
        self.app.metrics().http().gave_up(expired.as_str());
    }
}

fn lost(remote: SocketAddr, error: &(dyn std::error::Error + 'static)) {
    tracing::debug!(%remote, error, "connection ended");
}
