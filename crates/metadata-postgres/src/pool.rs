//! Connections shared by all that ask and commit, a bounded number of each.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, QueueMode, RecycleError, RecycleResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::connecting::{Connection, Connector, NotConnected};

/// A pool of connections made when they are needed.
pub(crate) struct Pool {
    connections: managed::Pool<Connector>,
    /// A place for each that has a connection or waits for one.
    places: Arc<Semaphore>,
    most: usize,
    /// The servers, for messages.
    hosts: String,
}

/// A connection taken from a pool. It goes back when it was [`Lease::settled`], and is closed otherwise: then something
/// may be under way on it.
pub(crate) struct Lease {
    connection: Option<Object<Connector>>,
    settled: bool,
    _place: OwnedSemaphorePermit,
}

impl managed::Manager for Connector {
    type Type = Connection;
    type Error = NotConnected;

    async fn create(&self) -> Result<Connection, NotConnected> {
        self.connect().await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<NotConnected> {
        if connection.client.is_closed() { Err(RecycleError::message("closed")) } else { Ok(()) }
    }
}

impl Pool {
    /// At most `size` connections, and `queue` that wait for one; `hosts` are the servers, for messages.
    pub(crate) fn new(connector: Connector, size: usize, queue: usize, hosts: String) -> Self {
        // The one used last comes first: it has prepared what is asked. Taken in turn, each of many connections would
        // prepare every statement anew, a round trip more, long after a busy minute had opened them.
        let connections = managed::Pool::builder(connector).max_size(size).queue_mode(QueueMode::Lifo).build();
        // It refuses only time limits without a runtime, and there are none.
        let connections = connections.unwrap_or_else(|e| unreachable!("a pool without time limits: {e}"));
        let most = size + queue;
        Self { connections, places: Arc::new(Semaphore::new(most)), most, hosts }
    }

    /// A connection, or why there is none before `deadline`.
    pub(crate) async fn lease(&self, deadline: Instant) -> Result<Lease, String> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| self.told(&format!("{} others use or wait for a connection", self.most)))?;
        match timeout_at(deadline, self.connections.get()).await {
            Ok(Ok(connection)) => Ok(Lease { connection: Some(connection), settled: false, _place: place }),
            Ok(Err(error)) => Err(match error {
                managed::PoolError::Backend(error) => format!("no connection to PostgreSQL ({error})"),
                other => other.to_string(),
            }),
            Err(_) => {
                let managed::Status { size, max_size, .. } = self.connections.status();
                Err(match size == max_size {
                    true => self.told(&format!("all {max_size} connections were in use until the time was over")),
                    false => self.told("no connection came about in time"),
                })
            }
        }
    }

    fn told(&self, what: &str) -> String {
        format!("PostgreSQL at {}: {what}", self.hosts)
    }

    /// Ends all connections, those in use when they come back.
    pub(crate) fn close(&self) {
        self.connections.close();
    }
}

impl Lease {
    /// The connection.
    pub(crate) fn connection(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("taken only when dropped"),
        }
    }

    /// Everything sent was answered, and no transaction is open.
    pub(crate) fn settled(mut self) {
        self.settled = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && !self.settled
        {
            // Out of the pool, and closed.
            drop(Object::take(connection));
        }
    }
}

/// When something that begins now must have ended.
pub(crate) fn deadline(within: Duration) -> Instant {
    Instant::now() + within
}
