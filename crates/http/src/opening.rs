//! What stands between an accepted connection and HTTP on it: the header of a proxy, then TLS. Both together must be over
//! within the time for the head of a request, and cost nothing where neither is wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::metrics::HttpMetrics;
use crate::proxy_protocol::{self, NoHeader, Proxies, Said};
use crate::pulse::Pulse;
use crate::stream::Socket;
use crate::tls::Tls;

/// How a handshake of TLS begins.
const HANDSHAKE: u8 = 22;
/// To who speaks HTTP where TLS is spoken; as Go's servers put it, since there are clients that know it.
const PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// How connections of a listener are opened.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) tls: Option<Tls>,
    pub(crate) proxies: Proxies,
    /// For all of it.
    pub(crate) limit: Duration,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The client, as far as a trusted proxy says.
    pub(crate) remote: SocketAddr,
    /// Whether it speaks TLS with us.
    pub(crate) secure: bool,
    /// Whether it is a proxy that does not say for whom it connects, and gets health only.
    pub(crate) unnamed: bool,
}

/// A connection on which HTTP can be spoken.
pub(crate) enum Opened {
    Plain(TcpStream),
    Tls(Box<TlsStream<Socket<TcpStream>>>),
}

/// Why a connection was not opened. Counted under its reason, and logged at debug level: anybody can cause it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error(transparent)]
    Proxy(#[from] NoHeader),
    #[error("TLS: {0}")]
    Handshake(std::io::Error),
    #[error("it speaks no TLS")]
    NoTls,
}

impl Opening {
    /// Whether there is nothing to do.
    pub(crate) fn is_plain(&self, remote: SocketAddr) -> bool {
        self.tls.is_none() && !self.proxies.trust(remote.ip())
    }

    /// Opens a connection from `remote`. To be given up by the caller after the limit.
    pub(crate) async fn open(
        &self,
        mut stream: TcpStream,
        remote: SocketAddr,
        pulse: &Arc<Pulse>,
    ) -> Result<(Opened, Peer), NotOpened> {
        let mut peer = Peer { remote, secure: self.tls.is_some(), unnamed: false };
        // Until it says something it rests, and may have to give way.
        let _ = stream.peek(&mut [0]).await;
        pulse.received();
        if self.proxies.trust(remote.ip()) {
            match proxy_protocol::read(&mut stream).await? {
                Said::For(client) => peer.remote = client,
                Said::Itself => {}
                Said::Nothing => peer.unnamed = true,
            }
        }
        let Some(tls) = &self.tls else { return Ok((Opened::Plain(stream), peer)) };
        let mut first = [HANDSHAKE];
        if !matches!(stream.peek(&mut first).await, Ok(1)) || first[0] == HANDSHAKE {
            let socket = Socket::new(stream, Arc::clone(pulse));
            let accepted = tls.acceptor().accept(socket).await.map_err(NotOpened::Handshake)?;
            return Ok((Opened::Tls(Box::new(accepted)), peer));
        }
        let _ = stream.write_all(PLAIN).await;
        let _ = stream.shutdown().await;
        // Until it closes, too, or the limit: a reset would overtake the answer.
        while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await, Ok(1..)) {}
        Err(NotOpened::NoTls)
    }
}

impl NotOpened {
    pub(crate) fn count(&self, metrics: &HttpMetrics) {
        metrics.not_opened(match self {
            NotOpened::Proxy(_) => "proxy_header",
            NotOpened::Handshake(_) => "handshake",
            NotOpened::NoTls => "no_tls",
        });
    }
}
