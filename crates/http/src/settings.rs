//! What a server may be told: where to listen, how much to accept, how long to wait.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proxy_protocol::Proxies;
use crate::tls::Tls;

/// Settings of the listener and its connections. [`Settings::new`] gives the defaults that each field states.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on. Port 0 lets the system choose; [`crate::Bound::local_addr`] tells what it chose.
    pub addr: SocketAddr,
    /// Connections served at once; default 16,384. For a further one the one that rests longest is closed; while none
    /// rests it waits.
    pub max_connections: usize,
    /// Header fields of one request; default 100. More answer 431.
    pub max_headers: usize,
    /// Bytes of request line and header fields of one request; default 32 KiB. More answer 431.
    pub max_header_bytes: usize,
    /// Streams at once on one HTTP/2 connection; default 100.
    pub max_streams: u32,
    /// From the first byte of a request's head to its last; default 15 s. Then the connection is closed.
    pub header_timeout: Duration,
    /// Without any request; default 120 s, longer than the 90 s that Go's client keeps an idle connection, so that
    /// it is the client who closes and no request crosses with our closing. Then the connection is closed.
    pub idle_timeout: Duration,
    /// Without one byte of a request body that is waited for (the request answers 408), or with a client that takes
    /// nothing of a response (its connection is closed, on HTTP/2 its stream); default 60 s.
    pub body_timeout: Duration,
    /// From the stop signal until the listener closes, while health answers 503 and requests are still served;
    /// default 5 s. Long enough for every load balancer to notice.
    pub drain_delay: Duration,
    /// From then until requests still in flight are cut off; default 12 s. When a fifth of it is left, and at least
    /// 1 s, request bodies that still come are ended (503).
    pub drain_deadline: Duration,
    /// TLS of the listener; default none. A connection that is not opened within `header_timeout` is closed.
    pub tls: Option<Tls>,
    /// A second listener beside one with TLS, which sends clients there; default none.
    pub plain: Option<Plain>,
    /// Proxies whose connections begin with a PROXY header, at both listeners; default none.
    pub proxies: Proxies,
}

/// A listener without TLS that sends clients to the one with it, and answers health.
#[derive(Debug, Clone, Copy)]
pub struct Plain {
    /// Address to listen on.
    pub addr: SocketAddr,
    /// The port that clients are sent to; that of the other listener unless given.
    pub port: Option<u16>,
}

impl Settings {
    /// The defaults, listening on `addr`.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            max_connections: 16_384,
            max_headers: 100,
            max_header_bytes: 32 * 1024,
            max_streams: 100,
            header_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(60),
            drain_delay: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(12),
            tls: None,
            plain: None,
            proxies: Proxies::default(),
        }
    }

    /// Those of the second listener: whoever comes there has little to say, and shall take no room from the first.
    pub(crate) fn beside(&self) -> Self {
        Self {
            max_connections: (self.max_connections / 16).clamp(8, 512),
            idle_timeout: self.idle_timeout.min(Duration::from_secs(15)),
            ..self.clone()
        }
    }
}
