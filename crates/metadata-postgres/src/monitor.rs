//! Whether metadata can be written now, asked of the servers all the time and answered from memory.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use roadstead_metadata::Status;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connecting::{Connection, Connector, first};

/// Looks at the servers while it lives.
pub(crate) struct Monitor {
    shared: Arc<Shared>,
    watching: JoinHandle<()>,
}

struct Shared {
    status: RwLock<Status>,
    /// Somebody noticed that something changed.
    look: Notify,
}

struct Eye {
    primary: Connector,
    readers: Connector,
    /// The connection to the primary that it looks through; of its own, so that a full pool is no outage.
    held: Option<Connection>,
    within: Duration,
}

impl Monitor {
    /// Watches from now on; `status` is what is known so far.
    pub(crate) fn start(
        primary: Connector,
        readers: Connector,
        status: Status,
        within: Duration,
        every: Duration,
    ) -> Self {
        let shared = Arc::new(Shared { status: RwLock::new(status), look: Notify::new() });
        let eye = Eye { primary, readers, held: None, within };
        Self { watching: tokio::spawn(watch(Arc::clone(&shared), eye, every)), shared }
    }

    /// What was seen last.
    pub(crate) fn status(&self) -> Status {
        self.shared.status.read().clone()
    }

    /// Looks at once.
    pub(crate) fn look(&self) {
        self.shared.look.notify_one();
    }

    /// Looks no more: from now on nothing works.
    pub(crate) fn close(&self) {
        self.watching.abort();
        *self.shared.status.write() = Status::Down("shut down".into());
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn watch(shared: Arc<Shared>, mut eye: Eye, every: Duration) {
    loop {
        let seen = eye.look().await;
        let changed = *shared.status.read() != seen;
        if changed {
            match &seen {
                Status::Writable => tracing::info!("metadata can be written"),
                Status::ReadOnly(reason) => tracing::warn!(reason, "metadata cannot be written"),
                Status::Down(reason) => tracing::error!(reason, "metadata cannot be read"),
            }
            *shared.status.write() = seen;
        }
        // The end of the time is as good as being called.
        let _ = timeout(every, shared.look.notified()).await;
    }
}

impl Eye {
    async fn look(&mut self) -> Status {
        if let Some(held) = self.held.take()
            && self.is_primary(&held).await
        {
            self.held = Some(held);
            return Status::Writable;
        }
        let away = match self.primary.connect().await {
            Ok(connection) => {
                self.held = Some(connection);
                return Status::Writable;
            }
            Err(away) => away.reason,
        };
        let Ok(reader) = self.readers.connect().await else {
            return Status::Down(format!("PostgreSQL does not answer ({away})"));
        };
        // Where it is the primary that answers now, only that one connection had failed. A server that takes writes and is
        // not among those that may be the primary gets none of ours.
        if reader.takes_writes && self.primary.may_reach(&reader.server) {
            self.held = Some(reader);
            return Status::Writable;
        }
        Status::ReadOnly(format!("no PostgreSQL primary ({away}); {} answers reads", reader.server))
    }

    async fn is_primary(&self, connection: &Connection) -> bool {
        let asked = timeout(self.within, connection.client.simple_query("SELECT pg_is_in_recovery()")).await;
        matches!(asked, Ok(Ok(answers)) if first(&answers) == Some("f"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use roadstead_testkit::servers::Postgres;

    use super::*;
    use crate::connecting::Role;
    use crate::target::Target;
    use crate::{OpenError, Options};

    async fn connector(url: &str, role: Role) -> Result<Connector, OpenError> {
        let options = Options::new(url);
        Connector::new(&Target::of(&options)?, role, &options).await
    }

    #[tokio::test]
    async fn one_connection_that_fails_is_no_outage() {
        let Some(server) = Postgres::start(false) else { return };
        let database = server.database();
        // The same server, where no connection comes about, as when one breaks.
        let elsewhere = database.url.replace(database.name(), "nothing");
        let primary = connector(&elsewhere, Role::Primary).await.unwrap();
        let readers = connector(&database.url, Role::Reader).await.unwrap();
        let mut eye = Eye { primary, readers, held: None, within: Duration::from_secs(10) };
        assert_eq!(eye.look().await, Status::Writable, "who answered takes writes");
        assert_eq!(eye.look().await, Status::Writable);
        eye.held = None;
        let name = database.name();
        server.sql("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
        let status = eye.look().await;
        assert!(matches!(&status, Status::ReadOnly(why) if why.contains("answers reads")), "{status:?}");
    }

    /// A standby that was promoted and stands in `standbys` only.
    #[tokio::test]
    async fn a_server_that_gets_no_writes_makes_nothing_writable() {
        let Some(server) = Postgres::start(false) else { return };
        let database = server.database();
        let primary = connector("postgres://postgres@127.0.0.1:1/nothing", Role::Primary).await.unwrap();
        let readers = connector(&database.url, Role::Reader).await.unwrap();
        let mut eye = Eye { primary, readers, held: None, within: Duration::from_secs(10) };
        for _ in 0..2 {
            let status = eye.look().await;
            assert!(matches!(&status, Status::ReadOnly(why) if why.contains("answers reads")), "{status:?}");
        }
    }
}
