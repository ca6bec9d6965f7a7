//! `metadata.postgres`: as it is written, and once it makes sense. The URL itself is taken apart by the engine, at the
//! start; `config check` looks at its form only.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Span;

/// A PostgreSQL database, which several instances may share.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Postgres {
    /// `postgres://USER@HOST:PORT/DATABASE`, with several hosts separated by commas; the one that takes writes is used
    /// for them. `?sslmode=` is `disable`, `prefer` (without it), `require` or `verify-full`, and `&sslrootcert=` a file of
    /// certificates for the last. When it is set metadata is kept there and not on this machine.
    pub url: Option<String>,
    /// The file that holds the password. It is read for each new connection, so that the password can be changed.
    pub password_file: Option<String>,
    /// `HOST:PORT` of standbys that answer what need not be newest.
    pub standbys: Vec<String>,
    /// Connections to the primary at most; as many to standbys, and one more. Those of all instances together must be
    /// fewer than `max_connections` of the server.
    pub pool_size: u32,
    /// Requests that may wait for a connection. For one more the answer is 503.
    pub queue_limit: u32,
    /// Whether statements are prepared once for each connection. Set it to `false` behind PgBouncer in transaction mode.
    pub statement_cache: bool,
    /// How long a host may take to accept a connection before the next one is tried.
    pub connect_timeout: Span,
    /// How long an answer may take, the wait for a connection included. What was written by then is found out.
    pub statement_timeout: Span,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            url: None,
            password_file: None,
            standbys: Vec::new(),
            pool_size: 16,
            queue_limit: 2_048,
            statement_cache: true,
            connect_timeout: Span::seconds(3),
            statement_timeout: Span::seconds(10),
        }
    }
}

/// A database, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    /// Where it is and who we are.
    pub url: String,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// Servers for what need not be newest.
    pub standbys: Vec<String>,
    /// Connections.
    pub pool_size: usize,
    /// Who may wait for one.
    pub queue_limit: usize,
    /// Whether statements are prepared.
    pub statement_cache: bool,
    /// For a host to accept a connection.
    pub connect_timeout: Duration,
    /// For an answer.
    pub statement_timeout: Duration,
    /// For what an instance needs while it runs.
    pub data_dir: PathBuf,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("at", &self.to_string()).finish_non_exhaustive()
    }
}

/// Without user and password.
impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let place = place.rsplit_once('@').map_or(place, |(_, rest)| rest);
        write!(f, "PostgreSQL at {}", place.split('?').next().unwrap_or_default())
    }
}

/// Checks what was written; each fault goes to `fault` with its key.
pub(super) fn validate(parsed: &Postgres, data_dir: &str, fault: &mut dyn FnMut(&str, String)) -> Database {
    let url = parsed.url.clone().unwrap_or_default();
    let form = "postgres://USER@HOST:PORT/DATABASE";
    match url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) {
        None if parsed.url.is_none() => fault("url", format!("is missing; name the database as {form}")),
        // Never the value: it may hold a password.
        None => fault("url", format!("is not of the form {form}")),
        Some(rest) if rest.starts_with(['/', '?']) || rest.is_empty() => {
            fault("url", format!("names no host; the form is {form}"));
        }
        Some(_) => {}
    }
    if parsed.password_file.as_ref().is_some_and(String::is_empty) {
        fault("password_file", "is empty; name a file or leave it out".to_owned());
    }
    for standby in &parsed.standbys {
        if standby.is_empty() || standby.contains(['@', '/', ' ']) {
            fault("standbys", format!("`{standby}` is not of the form HOST:PORT"));
        }
    }
    if !(2..=1_000).contains(&parsed.pool_size) {
        fault("pool_size", "must be between 2 and 1000".to_owned());
    }
    if parsed.queue_limit > 1_000_000 {
        fault("queue_limit", "must be at most 1000000".to_owned());
    }
    for (key, span) in [("connect_timeout", parsed.connect_timeout), ("statement_timeout", parsed.statement_timeout)] {
        if span < Span::seconds(1) || span > Span::seconds(60) {
            fault(key, "must be between 1s and 1m".to_owned());
        }
    }
    Database {
        url,
        password_file: parsed.password_file.as_ref().map(PathBuf::from),
        standbys: parsed.standbys.clone(),
        pool_size: parsed.pool_size as usize,
        queue_limit: parsed.queue_limit as usize,
        statement_cache: parsed.statement_cache,
        connect_timeout: parsed.connect_timeout.get(),
        statement_timeout: parsed.statement_timeout.get(),
        data_dir: PathBuf::from(data_dir),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::settings::Metadata;
    use super::super::tests::load_with;
    use super::*;

    fn database(text: &str, variables: &[(&str, &str)]) -> Database {
        let (settings, report) = load_with(text, variables);
        match settings.unwrap_or_else(|| panic!("{report}")).metadata {
            Metadata::Postgres(database) => *database,
            Metadata::Raft(directory) => panic!("metadata in {}", directory.display()),
        }
    }

    #[test]
    fn a_section_says_where_the_database_is() {
        let text = "metadata:\n  postgres:\n    url: postgres://me:sesame@h1,h2:5433/db?sslmode=require\n    \
            standbys: [h2, 'h3:6000']\n    password_file: /run/secrets/pg\n    statement_cache: false\ndata_dir: /var/lib/r";
        let database = database(text, &[]);
        assert_eq!(database.standbys, ["h2", "h3:6000"]);
        assert_eq!(database.password_file, Some("/run/secrets/pg".into()));
        assert!(!database.statement_cache);
        assert_eq!(database.to_string(), "PostgreSQL at h1,h2:5433/db");
        assert!(!format!("{database:?}").contains("sesame"));
        let settings = load_with(text, &[]).0.unwrap();
        assert_eq!(settings.admin_socket(), PathBuf::from("/var/lib/r/admin.sock"));
    }

    #[test]
    fn variables_say_it_too() {
        let variables = [
            ("ROADSTEAD_METADATA__POSTGRES__URL", "postgres://me@h/db"),
            ("ROADSTEAD_METADATA__POSTGRES__STANDBYS", "h2, h3"),
            ("ROADSTEAD_METADATA__POSTGRES__PASSWORD_FILE", "/run/secrets/pg"),
            ("ROADSTEAD_METADATA__POSTGRES__POOL_SIZE", "5"),
        ];
        let database = database("", &variables);
        assert_eq!((database.standbys.join("+"), database.pool_size), ("h2+h3".to_owned(), 5));
        assert_eq!(database.password_file, Some("/run/secrets/pg".into()));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, key, words) in [
            ("{pool_size: 4}", "url", "is missing"),
            ("{url: 'mysql://me:sesame@h/db'}", "url", "is not of the form"),
            ("{url: 'postgres:///db'}", "url", "names no host"),
            ("{url: 'postgres://h/db', standbys: [a@b]}", "standbys", "`a@b`"),
            ("{url: 'postgres://h/db', standbys: {a: b}}", "standbys", "a list"),
            ("{url: 'postgres://h/db', pool_size: 1}", "pool_size", "between 2 and 1000"),
            ("{url: 'postgres://h/db', statement_timeout: 2m}", "statement_timeout", "between 1s and 1m"),
            (
                "{url: 'postgres://h/db', pasword_file: x}",
                "pasword_file",
                "did you mean metadata.postgres.password_file",
            ),
        ] {
            let (settings, report) = load_with(&format!("metadata: {{postgres: {text}}}"), &[]);
            assert!(settings.is_none(), "{text}");
            let told = report.to_string();
            assert!(told.contains(&format!("metadata.postgres.{key}: ")) && told.contains(words), "{told}");
            assert!(!told.contains("sesame"), "{told}");
        }
        let both = "metadata: {raft: {directory: /x}, postgres: {url: 'postgres://h/db'}}";
        assert!(load_with(both, &[]).1.to_string().contains("one place"));
    }
}
