//! Accepting connections: never more than may be served, never ended by an error of one of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long to leave the system alone when it has no file or memory for another connection.
const PAUSE: Duration = Duration::from_millis(200);

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
    exhausted: bool,
}

impl Listener {
    pub(crate) async fn bind(addr: SocketAddr, max_connections: usize) -> io::Result<Self> {
        let room = Arc::new(Semaphore::new(max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { socket: TcpListener::bind(addr).await?, room, exhausted: false })
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
                    self.exhausted = false;
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
                    if !std::mem::replace(&mut self.exhausted, true) {
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

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted)
}
