//! The servers under load, and what the kernel says they used.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use roadstead_testkit::Client;
use tempfile::TempDir;

use super::On;
use super::stores::Stores;
use crate::stage::Failure;

/// Clock ticks a second in `/proc/PID/stat`, on every Linux.
const TICKS: f64 = 100.0;
/// A server that does not answer by then never will.
const START: Duration = Duration::from_secs(30);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Roadstead with its defaults, logging errors only.
    Ours,
    /// Debian's `docker-registry`, logging errors only, without an access log.
    Peer,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Ours => "roadstead",
            Kind::Peer => "docker-registry",
        }
    }
}

/// A server that runs; killed when dropped, its data removed.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    kind: Kind,
    binary: PathBuf,
    child: Child,
    stores: Stores,
    directory: TempDir,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// Seconds of user and system time.
    pub(super) cpu: f64,
    /// The most memory it ever had resident, MB.
    pub(super) peak: f64,
}

/// Starts it on empty stores below `data`, and waits until it answers.
pub(super) fn start(kind: Kind, binary: &Path, on: On, data: &Path) -> Result<Server, Failure> {
    let directory = tempfile::Builder::new().prefix("roadstead-bench-").tempdir_in(data)?;
    let stores = match on {
        On::Disk => Stores::Directory,
        On::S3 => Stores::bucket(directory.path(), kind == Kind::Ours)?,
    };
    let addr = free_address()?;
    let child = spawn(kind, binary, directory.path(), &stores, addr)?;
    let server = Server { addr, kind, binary: binary.to_owned(), child, stores, directory };
    server.until_it_answers()?;
    Ok(server)
}

fn spawn(kind: Kind, binary: &Path, directory: &Path, stores: &Stores, addr: SocketAddr) -> Result<Child, Failure> {
    let mut command = Command::new(binary);
    match kind {
        Kind::Ours => {
            let inherited = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("ROADSTEAD_"));
            command.env_clear().envs(inherited).env("ROADSTEAD_LOG__LEVEL", "error").envs(stores.variables());
            command.arg("serve").arg("--listen").arg(addr.to_string()).arg("--data-dir").arg(directory);
        }
        Kind::Peer => {
            let file = directory.join("peer.yml");
            std::fs::write(&file, peer_configuration(addr, &stores.of_the_peer(&directory.join("data"))))?;
            // It does not start with a bundle of certificates that is meant for others.
            command.env_remove("AWS_CA_BUNDLE").arg("serve").arg(file);
        }
    }
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

fn peer_configuration(addr: SocketAddr, storage: &str) -> String {
    format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n{storage}  delete:\n    \
         enabled: true\nhttp:\n  addr: {addr}\n  secret: benchmark\n"
    )
}

/// Taken and given back: the peer cannot be told to choose, nor asked what it chose.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Server {
    fn until_it_answers(&self) -> Result<(), Failure> {
        let client = Client::new(self.addr);
        let begun = Instant::now();
        while !client.call("GET", "/v2/").is_ok_and(|answer| answer.status == 200) {
            if begun.elapsed() > START {
                return Err(Failure::new(format!("{} does not answer on {}", self.kind.name(), self.addr)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills it and starts it again on its data.
    pub(super) fn restart(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(self.kind, &self.binary, self.directory.path(), &self.stores, self.addr)?;
        self.until_it_answers()
    }

    /// What it has used since it started.
    pub(super) fn used(&self) -> Result<Used, Failure> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let (stat, status) = (read("stat")?, read("status")?);
        let unknown = || Failure::new("the kernel does not say what the server used");
        // The name of the program, in brackets, may contain anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok());
        let cpu = (ticks(11).ok_or_else(unknown)? + ticks(12).ok_or_else(unknown)?) / TICKS;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak = peak.and_then(|kb| kb.trim().parse::<f64>().ok()).ok_or_else(unknown)? / 1000.0;
        Ok(Used { cpu, peak })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
