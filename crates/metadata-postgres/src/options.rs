//! What can be set from outside, with its defaults.

use std::path::PathBuf;
use std::time::Duration;

/// How to reach a database.
#[derive(Clone)]
pub struct Options {
    /// `postgres://USER@HOST[:PORT][,HOST[:PORT]...]/DATABASE[?sslmode=...]`. Of several hosts the one that takes writes
    /// is the primary. `sslmode` is `disable`, `prefer` (default), `require` (encrypted, not verified) or `verify-full`;
    /// `sslrootcert` a file of certificates in place of those of the system.
    pub url: String,
    /// A file with the password, read for every new connection, so that it can be changed while the process runs. One
    /// line end at its end does not count. Default: the one in `url`, if any.
    pub password_file: Option<PathBuf>,
    /// `HOST[:PORT]` of servers that answer [`roadstead_metadata::Freshness::Local`]; everything else about them is as in
    /// `url`. Default: none, and the primary answers everything while there is one.
    pub standbys: Vec<String>,
    /// Connections to the primary, and as many to standbys; one more watches. Default 16.
    pub pool_size: usize,
    /// Questions and commits that may wait for a connection; one more is refused. Default 2,048.
    pub queue_limit: usize,
    /// Whether statements are prepared once for each connection. Off for PgBouncer in transaction mode. Default `true`.
    pub statement_cache: bool,
    /// How long things may take.
    pub timings: Timings,
}

impl Options {
    /// The defaults for a database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password_file: None,
            standbys: Vec::new(),
            pool_size: 16,
            queue_limit: 2_048,
            statement_cache: true,
            timings: Timings::default(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Options").field("pool_size", &self.pool_size).finish_non_exhaustive()
    }
}

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timings {
    /// For one host to accept a connection, and to be ready for statements. Default 3 s.
    pub connect: Duration,
    /// For the answer to a question or a commit, with the wait for a connection. A commit that takes longer is of
    /// unknown outcome. Default 10 s.
    pub statement: Duration,
    /// For the first server to answer at the start. Default 30 s.
    pub open: Duration,
    /// Between two looks at the primary. Default 1 s.
    pub watch: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            statement: Duration::from_secs(10),
            open: Duration::from_secs(30),
            watch: Duration::from_secs(1),
        }
    }
}
