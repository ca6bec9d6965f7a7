//! One connection: to the first server that fits, set up for what is done on it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Error, SimpleQueryMessage, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::target::{Server, Target};
use crate::{OpenError, Options, faults, pipeline, tls};

/// Which servers fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Only the one that takes writes.
    Primary,
    /// Any; those named for it before the others, in random order.
    Reader,
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    role: Role,
    servers: Vec<Server>,
    /// How many of them stand before the others.
    preferred: usize,
    tls: MakeRustlsConnect,
    password_file: Option<PathBuf>,
    within: Duration,
    /// What is set up once connected; empty where the connection is shared with strangers.
    session: String,
}

/// A connection that was not made.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct NotConnected {
    /// What each server said.
    pub(crate) reason: String,
    /// The gravest of it.
    pub(crate) why: Why,
}

/// What keeps us from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Nobody answers, or not as we need it. That passes.
    Away,
    /// It answered that it will not have us.
    Refused,
    /// Its certificate does not say that it is the one.
    Untrusted,
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Which server it is to.
    pub(crate) server: String,
    /// Whether that one took writes when the connection was made.
    pub(crate) takes_writes: bool,
    prepared: Mutex<HashMap<String, Statement>>,
    driver: JoinHandle<()>,
}

impl Connector {
    /// What connects to the servers of `target` in `role`.
    pub(crate) async fn new(target: &Target, role: Role, options: &Options) -> Result<Self, OpenError> {
        let (mut servers, mut preferred) = (target.primaries.clone(), target.primaries.len());
        if role == Role::Reader && !options.standbys.is_empty() {
            preferred = target.readers.len();
            servers = target.readers.iter().chain(&target.primaries).cloned().collect();
        }
        let session = if options.statement_cache { session(role, options.timings.statement) } else { String::new() };
        Ok(Self {
            role,
            servers,
            preferred,
            tls: tls::connector(&target.trust).await?,
            password_file: options.password_file.clone(),
            within: options.timings.connect,
            session,
        })
    }

    /// Whether the server of this name is one that it connects to.
    pub(crate) fn may_reach(&self, server: &str) -> bool {
        self.servers.iter().any(|own| own.name == server)
    }

    /// Connects to the first server that fits.
    pub(crate) async fn connect(&self) -> Result<Connection, NotConnected> {
        let mut servers: Vec<&Server> = self.servers.iter().collect();
        if self.role == Role::Reader {
            let (preferred, _) = servers.split_at_mut(self.preferred);
            preferred.shuffle(&mut rand::rng());
        }
        let (mut reasons, mut why) = (Vec::new(), Why::Away);
        for server in servers {
            let failed = match timeout(self.within, self.one(server)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(failed)) => failed,
                Err(_) => NotConnected { reason: format!("no answer within {} s", self.within.as_secs_f32()), why },
            };
            why = why.max(failed.why);
            reasons.push(format!("{}: {}", server.name, failed.reason));
        }
        Err(NotConnected { reason: reasons.join("; "), why })
    }

    async fn one(&self, server: &Server) -> Result<Connection, NotConnected> {
        let mut config = server.config.clone();
        if let Some(file) = &self.password_file {
            config.password(password(file).await?);
        }
        let (client, connection) = config.connect(self.tls.clone()).await.map_err(not_connected)?;
        let name = server.name.clone();
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(server = name, error = faults::told(&error), "connection to PostgreSQL ended");
            }
        });
        let server = server.name.clone();
        let mut connection = Connection { client, server, takes_writes: false, prepared: Mutex::default(), driver };
        // Together, in one round trip.
        let setting_up = format!("SHOW transaction_read_only; {}", self.session);
        let answers = connection.client.simple_query(&setting_up).await.map_err(not_connected)?;
        connection.takes_writes = first(&answers) == Some("off");
        if self.role == Role::Primary && !connection.takes_writes {
            return Err(NotConnected { reason: "it is a standby, or read-only".into(), why: Why::Away });
        }
        Ok(connection)
    }
}

/// What holds on a connection of our own.
///
/// Questions cannot write, and neither can a statement whose BEGIN failed: only an explicit READ WRITE does. No
/// `statement_timeout` on the primary: on a COMMIT that waits for its synchronous standby it would end the wait and
/// acknowledge what may be lost. A backend whose client is gone, or stands still in a transaction, ends by itself. What
/// is acknowledged is on disk, whatever the database says by default.
fn session(role: Role, within: Duration) -> String {
    let within = within.as_millis();
    let statement = if role == Role::Reader { within } else { 0 };
    format!(
        "SET default_transaction_read_only = on; SET default_transaction_isolation = 'read committed'; \
         SET statement_timeout = {statement}; SET lock_timeout = {within}; \
         SET idle_in_transaction_session_timeout = {within}; \
         SELECT set_config(name, '2s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'; \
         SELECT set_config(name, 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'"
    )
}

async fn password(file: &Path) -> Result<String, NotConnected> {
    let read = tokio::fs::read_to_string(file).await.map_err(|error| NotConnected {
        reason: format!("cannot read the password file {}: {error}", file.display()),
        why: Why::Refused,
    })?;
    let line = read.strip_suffix('\n').unwrap_or(&read);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn not_connected(error: Error) -> NotConnected {
    let why = match (faults::refuses_us(&error), tls::distrusts(&error)) {
        (true, _) => Why::Refused,
        (_, true) => Why::Untrusted,
        _ => Why::Away,
    };
    NotConnected { reason: faults::told(&error), why }
}

/// The first column of the first row.
pub(crate) fn first(answers: &[SimpleQueryMessage]) -> Option<&str> {
    answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

impl Connection {
    /// The statements of `texts`, prepared in one round trip those that were not before.
    pub(crate) async fn prepared(&self, texts: &[&str]) -> Result<Vec<Statement>, (usize, Error)> {
        let known = |text: &str| self.prepared.lock().get(text).cloned();
        let new = |index: &usize| known(texts[*index]).is_none() && !texts[..*index].contains(&texts[*index]);
        let lacking: Vec<usize> = (0..texts.len()).filter(new).collect();
        let mut asked = Vec::with_capacity(lacking.len());
        for index in lacking {
            asked.push((index, pipeline::send(self.client.prepare(texts[index])).await));
        }
        for (index, request) in asked {
            let statement = request.answer().await.map_err(|error| (index, error))?;
            self.prepared.lock().insert(texts[index].to_owned(), statement);
        }
        Ok(texts.iter().filter_map(|text| known(text)).collect())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Closes the socket now; what the server still does for us, it does for nobody.
        self.driver.abort();
    }
}
