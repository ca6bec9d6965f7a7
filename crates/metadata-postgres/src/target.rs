//! Where the servers are and how to speak to them: the URL, taken apart.
//!
//! `tokio_postgres` parses it, but for what it does not know (`sslmode=verify-full`, `sslrootcert`). It also tries the
//! hosts of a URL one after the other without a limit on each, so that one that is frozen would hold up all the others:
//! here each host has a configuration of its own.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::{OpenError, Options};

/// What is known of the servers.
#[derive(Clone)]
pub(crate) struct Target {
    /// Those that may be the primary.
    pub(crate) primaries: Vec<Server>,
    /// Those that answer what need not be newest; the same ones when no others are named.
    pub(crate) readers: Vec<Server>,
    /// How they are told from others.
    pub(crate) trust: Trust,
    /// The database, for messages.
    pub(crate) database: String,
}

/// One server.
#[derive(Clone)]
pub(crate) struct Server {
    /// `host:port`, for messages.
    pub(crate) name: String,
    /// How to connect to it.
    pub(crate) config: Config,
}

/// How servers are told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// No TLS, or TLS with whoever answers.
    Anybody,
    /// A certificate for the host's name, signed by one in this file, or else by one that the system trusts.
    Verified(Option<PathBuf>),
}

impl Target {
    /// Takes `options` apart.
    pub(crate) fn of(options: &Options) -> Result<Self, OpenError> {
        let Url { plain, mode, trust } = Url::of(&options.url)?;
        let mut common: Config = plain.parse().map_err(|e| faulty(&reason(&e)))?;
        common.ssl_mode(mode).connect_timeout(options.timings.connect).keepalives_idle(Duration::from_secs(10));
        common.tcp_user_timeout(options.timings.statement);
        let database = common.get_dbname().or(common.get_user()).map(str::to_owned);
        let database = database.ok_or_else(|| faulty("it names neither a user nor a database"))?;
        if common.get_application_name().is_none() {
            common.application_name("roadstead");
        }
        if common.get_hosts().is_empty() {
            return Err(faulty("it names no host"));
        }
        let ports = common.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let hosts = common.get_hosts().iter().enumerate();
        let primaries: Vec<Server> = hosts.map(|(index, host)| Server::new(&common, host, port(index))).collect();
        let named: Result<Vec<Server>, OpenError> = options.standbys.iter().map(|s| standby(&common, s)).collect();
        let named = named?;
        let readers = if named.is_empty() { primaries.clone() } else { named };
        Ok(Self { primaries, readers, trust, database })
    }

    /// Every server, for messages.
    pub(crate) fn hosts(&self) -> String {
        let names = |servers: &[Server]| servers.iter().map(|server| server.name.clone()).collect::<Vec<_>>();
        let mut all = names(&self.primaries);
        all.extend(names(&self.readers));
        let mut seen = std::collections::HashSet::new();
        all.retain(|name| seen.insert(name.clone()));
        all.join(", ")
    }
}

impl Server {
    fn new(common: &Config, host: &Host, port: u16) -> Self {
        let mut config = Config::new();
        let name = match host {
            Host::Tcp(host) => {
                config.host(host);
                format!("{host}:{port}")
            }
            Host::Unix(path) => {
                config.host_path(path);
                path.display().to_string()
            }
        };
        config.port(port).ssl_mode(common.get_ssl_mode()).keepalives_idle(common.get_keepalives_idle());
        config.channel_binding(common.get_channel_binding());
        if let Some(user) = common.get_user() {
            config.user(user);
        }
        if let Some(password) = common.get_password() {
            config.password(password);
        }
        if let Some(database) = common.get_dbname() {
            config.dbname(database);
        }
        if let Some(options) = common.get_options() {
            config.options(options);
        }
        if let Some(name) = common.get_application_name() {
            config.application_name(name);
        }
        if let Some(limit) = common.get_connect_timeout() {
            config.connect_timeout(*limit);
        }
        if let Some(limit) = common.get_tcp_user_timeout() {
            config.tcp_user_timeout(*limit);
        }
        Self { name, config }
    }
}

fn standby(common: &Config, text: &str) -> Result<Server, OpenError> {
    // As a URL, for the sake of addresses in brackets.
    let parsed: Config = format!("postgres://{text}/").parse().map_err(|e| misnamed(text, &reason(&e)))?;
    let [host] = parsed.get_hosts() else { return Err(misnamed(text, "one host is expected")) };
    let port = parsed.get_ports().first().copied().unwrap_or(5432);
    if parsed.get_user().is_some() {
        return Err(misnamed(text, "user and password stand in the url"));
    }
    Ok(Server::new(common, host, port))
}

fn misnamed(text: &str, why: &str) -> OpenError {
    OpenError::Options(format!("standbys: `{text}` is not of the form HOST or HOST:PORT: {why}"))
}

fn faulty(why: &str) -> OpenError {
    // Never the URL itself: it may hold a password.
    OpenError::Options(format!("url is not of the form postgres://USER@HOST:PORT,HOST:PORT/DATABASE: {why}"))
}

fn reason(error: &tokio_postgres::Error) -> String {
    crate::faults::told(error)
}

/// A URL without what only we understand.
#[derive(Debug, PartialEq)]
struct Url {
    plain: String,
    mode: SslMode,
    trust: Trust,
}

impl Url {
    fn of(url: &str) -> Result<Self, OpenError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(faulty("it does not begin with postgres://"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut verified, mut roots, mut others) = (SslMode::Prefer, false, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("sslmode", "disable") => mode = SslMode::Disable,
                ("sslmode", "prefer") => mode = SslMode::Prefer,
                ("sslmode", "require") => mode = SslMode::Require,
                ("sslmode", "verify-full") => (mode, verified) = (SslMode::Require, true),
                ("sslmode", other) => {
                    let known = "disable, prefer, require and verify-full";
                    return Err(faulty(&format!("sslmode `{other}` is not known; there are {known}")));
                }
                ("sslrootcert", path) => roots = Some(PathBuf::from(path)),
                // Which of the hosts is the primary is found out, whatever is said here.
                ("target_session_attrs" | "load_balance_hosts", _) => {}
                _ => others.push(pair),
            }
        }
        if roots.is_some() && !verified {
            return Err(faulty("sslrootcert has no effect without sslmode=verify-full"));
        }
        let plain = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let trust = if verified { Trust::Verified(roots) } else { Trust::Anybody };
        Ok(Self { plain, mode, trust })
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
