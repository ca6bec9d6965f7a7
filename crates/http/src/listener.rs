//! Accepting connections: never more than may be served, never ended by an error of one of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long to leave the system alone when it has no file or memory for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// How often to log that.
const AGAIN: Duration = Duration::from_secs(60);
/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// A connection that may be served, and the right to do so.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// A listening socket with a bound on the connections taken from it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    room: Arc<Semaphore>,
    /// When the system last had no room, as far as that was logged.
    exhausted: Option<Instant>,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let room = Arc::new(Semaphore::new(max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { socket: listen(addr)?, room, exhausted: None })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection. While there is no room for one, or the system has no files left, clients wait in the
    /// backlog. Safe to cancel: a connection is either returned or still in the backlog.
    pub(crate) async fn accept(&mut self) -> Accepted {
        loop {
            let permit = match Arc::clone(&self.room).acquire_owned().await {
                Ok(permit) => permit,
                // The semaphore is never closed.
                Err(_) => std::future::pending().await,
            };
            match self.socket.accept().await {
                Ok((stream, remote)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%remote, %error, "cannot set TCP_NODELAY");
                    }
                    return Accepted { stream, remote, permit };
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
                    drop(permit);
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
