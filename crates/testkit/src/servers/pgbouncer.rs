//! PgBouncer in transaction mode, from Debian's package of that name: each transaction may be on another connection.
#![allow(clippy::disallowed_methods, reason = "the directory is that of another server")]

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::keeper::Kept;
use super::postgres::given_away;
use super::{Database, find, free_address};

/// One that does not listen in this time does not start.
const START: Duration = Duration::from_secs(10);

/// A running PgBouncer. Dropped, it is stopped.
#[derive(Debug)]
pub struct PgBouncer {
    kept: Kept,
    address: String,
}

/// Starts it in front of the server of `database`, and of all others in that server. `None`, after saying so, when it is
/// not installed.
pub fn pgbouncer(database: &Database) -> Option<PgBouncer> {
    let program = find("pgbouncer")?;
    let mut kept = Kept::new("pgbouncer");
    let (host, port) = database.address().split_once(':').expect("an address");
    let begin = Instant::now();
    while begin.elapsed() < START {
        let address = free_address().to_string();
        let configuration = kept.directory().join("pgbouncer.ini");
        std::fs::write(&configuration, settings(host, port, &address)).expect("a file");
        std::fs::write(kept.directory().join("users"), "\"postgres\" \"\"\n").expect("a file");
        let mut command = Command::new(&program);
        command.arg("--quiet").arg(&configuration).current_dir(kept.directory());
        // It refuses to run as root.
        if let Some((user, group)) = given_away(kept.directory()) {
            command.uid(user).gid(group);
        }
        let process = kept.start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        while process.try_wait().expect("the state of a child").is_none() && begin.elapsed() < START {
            if TcpStream::connect(&address).is_ok() {
                return Some(PgBouncer { kept, address });
            }
            sleep(Duration::from_millis(20));
        }
        // Another process may have taken a port that was free.
    }
    panic!("pgbouncer does not start; see {}", kept.directory().join("log").display());
}

/// Few connections for many clients, so that they take turns on them.
fn settings(host: &str, port: &str, address: &str) -> String {
    let (listen, listen_port) = address.split_once(':').expect("an address");
    format!(
        "[databases]\n* = host={host} port={port}\n[pgbouncer]\nlisten_addr = {listen}\nlisten_port = {listen_port}\n\
         unix_socket_dir =\nauth_type = trust\nauth_file = users\nlogfile = log\npool_mode = transaction\n\
         default_pool_size = 4\nmax_client_conn = 500\nserver_idle_timeout = 2\n"
    )
}

impl PgBouncer {
    /// The same database, by way of it.
    pub fn to(&self, database: &Database) -> Database {
        Database { url: database.url.replace(database.address(), &self.address) }
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.kept.directory()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.kept.directory().join("log")).unwrap_or_default()
    }
}
