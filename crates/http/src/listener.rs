//! Accepting connections: never more than may be served, never ended by an error of one of them.
//!
//! One connection beyond the bound is taken from the backlog, since only so it is known that somebody waits and that
//! another connection should end for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How long to leave the system alone when it has no file or memory for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// How often to log that.
const AGAIN: Duration = Duration::from_secs(60);
/// How often to look for somebody to give way while a connection waits for room.
const LOOK: Duration = Duration::from_millis(100);
/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// A connection that may be served, and the right to do so.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What happens at a listener.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A connection to serve.
    Accepted(Accepted),
    /// A connection waits for room; said again and again while it waits, the first time with `true`.
    Full(bool),
}

/// A listening socket with a bound on the connections taken from it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    room: Arc<Semaphore>,
    /// Waits for room, and whether that was said.
    newcomer: Option<(TcpStream, SocketAddr, bool)>,
    /// When it was last logged that there is no room.
    full: Option<Instant>,
    /// When the system last had no room, as far as that was logged.
    exhausted: Option<Instant>,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let room = Arc::new(Semaphore::new(max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { socket: listen(addr)?, room, newcomer: None, full: None, exhausted: None })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, or that one waits for room. Safe to cancel: no connection is lost.
    pub(crate) async fn accept(&mut self) -> Arrival {
        let (stream, remote, said) = match self.newcomer.take() {
            Some(newcomer) => newcomer,
            None => {
                let (stream, remote) = self.next().await;
                (stream, remote, false)
            }
        };
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Arrival::Accepted(Accepted { stream, remote, permit });
        }
        self.newcomer = Some((stream, remote, true));
        if !said {
            self.log_full();
            return Arrival::Full(true);
        }
        match timeout(LOOK, Arc::clone(&self.room).acquire_owned()).await {
            Ok(Ok(permit)) => match self.newcomer.take() {
                Some((stream, remote, _)) => Arrival::Accepted(Accepted { stream, remote, permit }),
                None => Arrival::Full(false),
            },
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Arrival::Full(false),
        }
    }

    fn log_full(&mut self) {
        if self.full.is_none_or(|at| at.elapsed() > AGAIN) {
            self.full = Some(Instant::now());
            tracing::warn!(
                "all connections that may be open are taken (http.max_connections): for each new one the one that \
                 rests longest is closed, and while none rests, new ones wait"
            );
        }
    }

    /// The next connection from the backlog, where clients wait while the system has no files left.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, remote)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%remote, %error, "cannot set TCP_NODELAY");
                    }
                    return (stream, remote);
                }
                // The client gave up while it waited, or an error of its network shows on accept(2).
                Err(error) if concerns_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was lost before it was accepted");
                }
                Err(error) => {
                    if self.exhausted.is_none_or(|at| at.elapsed() > AGAIN) {
                        self.exhausted = Some(Instant::now());
                        tracing::error!(
                            %error,
                            "cannot accept connections; new clients wait until others close. Raise the limit of open \
                             files (ulimit -n, LimitNOFILE) or lower http.max_connections"
                        );
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that is started again must not wait for the connections of the one before it to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted)
}
