//! A real PostgreSQL, from Debian's package `postgresql`: one for all tests of a process, each with a database of its own,
//! or one of its own for a test that stops it.
//!
//! It sorts text as English does unless told otherwise, so that what relies on the order of bytes has to say so. A shell
//! beside it stops it and removes its files when the process of the test ends, however it ends.

#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "a test's server has files, and a skip is told")]

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::keeper::Keeper;
use super::{find, free_address};

/// A server that does not answer in this time does not start.
const START: Duration = Duration::from_secs(60);

/// A PostgreSQL server. Dropped, it is stopped and its files are gone.
#[derive(Debug)]
pub struct Postgres {
    addr: SocketAddr,
    durable: bool,
    server: Option<Child>,
    keeper: Keeper,
}

/// A database of its own in the server that all tests of this process share.
#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://...`, without options.
    pub url: String,
}

/// An empty database. `None`, after saying so, when PostgreSQL is not installed.
pub fn database() -> Option<Database> {
    static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(false)).as_ref().map(Postgres::database)
}

/// Where the programs of the newest version are that Debian installed.
pub(super) fn newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()).unwrap_or(0);
    versions.map(|entry| entry.path()).max_by_key(number).map(|version| version.join("bin"))
}

/// A program of PostgreSQL, as the user that owns `directory`: it refuses to run as root.
fn program(directory: &Path, name: &str) -> Command {
    let mut command = Command::new(find("postgres").expect("postgresql").with_file_name(name));
    command.current_dir(directory).stdin(Stdio::null()).env_remove("LC_ALL").env("LANG", "C.UTF-8");
    let owner = std::fs::metadata(directory).expect("a directory");
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Gives `directory`, with what is in it, to the user `postgres` of this machine, or else to nobody, where we are root;
/// their numbers.
pub(super) fn given_away(directory: &Path) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let (user, group) = unprivileged();
    let files = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    for path in files.chain([directory.to_owned()]) {
        chown(path, Some(user), Some(group)).expect("a file for another user");
    }
    Some((user, group))
}

/// The user and group `postgres` of this machine, or else nobody.
fn unprivileged() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    ids.unwrap_or((65_534, 65_534))
}

impl Postgres {
    /// Starts a server without databases of ours. `durable`: it survives the end of its machine, and is slower.
    pub fn start(durable: bool) -> Option<Self> {
        find("postgres")?;
        let new = Self::keep(durable);
        let data = new.data();
        let initdb = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        let english = ["--locale-provider=icu", "--icu-locale=en-US"];
        run(program(new.directory(), "initdb").args(initdb).args(english).arg("-D").arg(&data));
        Some(new.started())
    }

    /// Starts a hot standby of this server.
    pub fn standby(&self) -> Self {
        let (new, host) = (Self::keep(self.durable), self.addr.ip().to_string());
        let from = ["-h", &host, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-p"];
        run(program(new.directory(), "pg_basebackup")
            .args(from)
            .arg(self.addr.port().to_string())
            .arg("-D")
            .arg(new.data()));
        new.started()
    }

    /// A directory that is removed in the end, and nothing in it.
    fn keep(durable: bool) -> Self {
        let keeper = Keeper::new(&std::env::temp_dir(), "pg", "data/postmaster.pid", "QUIT");
        given_away(keeper.directory());
        Self { addr: (Ipv4Addr::LOCALHOST, 0).into(), durable, server: None, keeper }
    }

    /// Where it keeps everything.
    pub fn directory(&self) -> &Path {
        self.keeper.directory()
    }

    fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    fn started(mut self) -> Self {
        // Another process may take a port that was free.
        for _ in 0..10 {
            self.addr = free_address();
            if self.try_serve() {
                return self;
            }
        }
        panic!("PostgreSQL does not start:\n{}", self.log());
    }

    /// Serves on the port it has; whether it does.
    fn try_serve(&mut self) -> bool {
        let log = std::fs::File::options().create(true).append(true).open(self.directory().join("log")).expect("a log");
        let mut server = program(self.directory(), "postgres");
        server.arg("-D").arg(self.data()).args(self.place());
        let sockets = format!("unix_socket_directories={}", self.directory().display());
        let mut settings = vec![sockets.as_str(), "max_connections=300", "shared_buffers=64MB", "hot_standby=on"];
        // A standby that asks every second has what the primary has soon enough for a test.
        settings.extend(["wal_retrieve_retry_interval=200ms", "log_min_messages=warning", "max_wal_senders=5"]);
        if !self.durable {
            settings.extend(["fsync=off", "full_page_writes=off"]);
        }
        for setting in settings {
            server.args(["-c", setting]);
        }
        let server = server.stdout(log.try_clone().expect("a file")).stderr(log).process_group(0).spawn();
        let mut server = server.expect("postgres");
        let ready = ["-q", "-U", "postgres", "-d", "postgres", "-t", "1"];
        let until = Instant::now() + START;
        while Instant::now() < until && server.try_wait().expect("the status of a child").is_none() {
            let mut asked = program(self.directory(), "pg_isready");
            if asked.args(ready).args(self.place()).status().is_ok_and(|status| status.success()) {
                self.server = Some(server);
                return true;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = server.kill();
        let _ = server.wait();
        false
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory().join("log")).unwrap_or_default()
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        self.addr.to_string()
    }

    /// The same, as its programs are told it.
    fn place(&self) -> [String; 4] {
        ["-h".to_owned(), self.addr.ip().to_string(), "-p".to_owned(), self.addr.port().to_string()]
    }

    /// A new empty database in it.
    pub fn database(&self) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("roadstead_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { url: format!("postgres://postgres@{}/{name}", self.address()) }
    }

    /// Runs SQL in a database as the superuser, and answers its rows, `|` between columns.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let how = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"];
        run(program(self.directory(), "psql").args(how).args(self.place()).args(["-d", database, "-c", sql]))
    }

    /// Offers TLS from now on, with this certificate and its key, in PEM.
    pub fn offer_tls(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let file = self.data().join(name);
            std::fs::write(&file, text).expect("a file");
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a file of its own");
            let owner = std::fs::metadata(self.directory()).expect("a directory");
            chown(&file, Some(owner.uid()), Some(owner.gid())).expect("a file for its user");
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let until = Instant::now() + START;
        while self.sql("postgres", "SHOW ssl").trim() != "on" {
            assert!(Instant::now() < until, "PostgreSQL does not offer TLS:\n{}", self.log());
        }
    }

    /// Kills every process of it at once, as a power cut would.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
        // Its children notice; until then the data is in use.
    }

    /// Stops it: connections are closed, what is under way is rolled back.
    pub fn stop(&mut self) {
        self.signal(Signal::INT);
        self.wait();
    }

    /// Starts it again, on the same port.
    pub fn serve(&mut self) {
        let until = Instant::now() + START;
        while !self.try_serve() {
            assert!(Instant::now() < until, "PostgreSQL does not start again:\n{}", self.log());
        }
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote(true, 30)");
    }

    /// Lets its main process, which accepts connections, stand still, or go on.
    pub fn freeze(&self, still: bool) {
        self.signal(if still { Signal::STOP } else { Signal::CONT });
    }

    fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().expect("a running server");
        let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a signal to a child");
    }

    fn wait(&mut self) {
        self.server.take().expect("a running server").wait().expect("the status of a child");
    }
}

impl Database {
    /// What makes the registry keep its metadata here.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("ROADSTEAD_METADATA__POSTGRES__URL", self.url.clone())]
    }

    /// `HOST:PORT` of its server.
    pub fn address(&self) -> &str {
        let place = self.url.rsplit_once('@').map_or(self.url.as_str(), |(_, place)| place);
        place.split('/').next().expect("the address of a server")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().expect("the name of a database")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.signal(Signal::QUIT);
            self.wait();
        }
    }
}
