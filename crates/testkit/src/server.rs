//! The server as a process: started on a free port, waited for, killed, terminated, started again on the same data.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Client;

/// A server that has not said in this time where it listens is hung.
const START: Duration = Duration::from_secs(120);
/// Lines of output kept: for the report of a failure, and for what a server must never say.
const KEPT_LINES: usize = 20_000;
/// Lines of them that are shown: more would push what failed out of sight.
const LAST_WORDS: usize = 15;

/// `binary`, or the program that the variable `ROADSTEAD_TEST_BINARY` names, which finds nothing of what tests are told
/// by the environment: it would take it for configuration.
pub fn program(binary: impl Into<PathBuf>) -> Command {
    let mut command = Command::new(under_test(binary));
    command.env_clear().envs(inherited());
    command
}

fn under_test(binary: impl Into<PathBuf>) -> PathBuf {
    std::env::var_os("ROADSTEAD_TEST_BINARY").map_or_else(|| binary.into(), PathBuf::from)
}

fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    let ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("ROADSTEAD_") || name.starts_with("REGISTRY_")
    };
    std::env::vars_os().filter(move |(name, _)| !ours(name))
}

/// How to start servers: which binary, with which settings, under which wrapper.
#[derive(Debug, Clone)]
pub struct Launch {
    binary: PathBuf,
    wrapper: Vec<OsString>,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// Starts `binary`, or the one that the variable `ROADSTEAD_TEST_BINARY` names. It listens on a free port of
    /// 127.0.0.1, stops without the delay that load balancers need, and logs what is wrong. Configuration in the
    /// environment of the test does not reach it.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let launch = Self { binary: under_test(binary), wrapper: Vec::new(), variables: Vec::new() };
        launch
            .set("ROADSTEAD_HTTP__DRAIN_DELAY", "0s")
            .set("ROADSTEAD_HTTP__ADDR", "127.0.0.1:0")
            .set("ROADSTEAD_LOG__LEVEL", "warn")
    }

    /// Sets an environment variable of the server.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets several, as the servers of others tell them.
    #[must_use]
    pub fn set_all<'a>(self, variables: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        variables.into_iter().fold(self, |launch, (name, value)| launch.set(name, &value))
    }

    /// Starts it by another program, `strace -f -o FILE`.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Starts a server on an empty directory of its own.
    pub fn start(&self) -> Server {
        let directory = tempfile::Builder::new().prefix("roadstead-test-").tempdir().expect("a temporary directory");
        self.start_on(Arc::new(directory))
    }

    /// Starts a server on the data of an earlier one.
    pub fn start_on(&self, directory: Arc<TempDir>) -> Server {
        match self.try_start_on(directory) {
            Ok(server) => server,
            Err((status, output)) => panic!("the server ended with {status} before it listened:\n{output}"),
        }
    }

    /// Starts a server that may refuse to: then its exit status and everything it printed are the answer.
    pub fn try_start_on(&self, directory: Arc<TempDir>) -> Result<Server, (ExitStatus, String)> {
        let mut words = self.wrapper.clone();
        words.push(self.binary.clone().into_os_string());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["serve", "--data-dir"])
            .arg(directory.path())
            .env_clear()
            .envs(inherited())
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        let output = Arc::new(Output::default());
        let readers = vec![
            output.follow(child.stdout.take().expect("piped")),
            output.follow(child.stderr.take().expect("piped")),
        ];
        match output.address() {
            Some(addr) => Ok(Server { child, addr, directory, output, readers, launch: self.clone() }),
            None => {
                // It has closed its output, or said nothing for too long.
                let _ = child.kill();
                let status = child.wait().expect("the status of a child");
                readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
                Err((status, output.text()))
            }
        }
    }
}

/// A running server. Dropped, it is killed; a directory of its own goes with the last server on it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    addr: SocketAddr,
    directory: Arc<TempDir>,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    launch: Launch,
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A new client of it.
    pub fn client(&self) -> Client {
        Client::new(self.addr)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it printed, the last lines.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// How many lines it has printed.
    pub fn printed(&self) -> usize {
        self.output.state.lock().unwrap().printed
    }

    /// The lines that it printed after so many, as far as they are kept.
    pub fn printed_since(&self, printed: usize) -> Vec<String> {
        let state = self.output.state.lock().unwrap();
        let forgotten = state.printed - state.lines.len();
        state.lines.iter().skip(printed.saturating_sub(forgotten)).cloned().collect()
    }

    /// Memory it holds now, in bytes (`VmRSS`).
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Of it what no file stands behind, in bytes (`RssAnon`): the rest is the kernel's to take back.
    pub fn anonymous(&self) -> u64 {
        self.memory("RssAnon:")
    }

    /// The most memory it ever held, in bytes (`VmHWM`).
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Processor time it has used, user and system, in seconds.
    pub fn cpu(&self) -> f64 {
        /// Clock ticks a second, on every Linux.
        const TICKS: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the state of a process");
        // The name of the program, in brackets, may contain anything.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / TICKS
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the status of a process");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of the status");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a signal to a child");
    }

    /// Ends it as a power cut of the process would, and answers its data.
    pub fn kill9(mut self) -> Arc<TempDir> {
        self.child.kill().expect("a signal to a child");
        self.child.wait().expect("the status of a child");
        self.directory.clone()
    }

    /// Asks it to stop and waits for its end.
    pub fn terminate(mut self) -> (ExitStatus, Arc<TempDir>) {
        (self.stop(), self.directory.clone())
    }

    /// The same, and answers all that it printed, which must not be more than is kept. What a server never says is not known
    /// before: it answers a request before it writes of it.
    pub fn ended(mut self) -> String {
        self.stop();
        let printed = self.printed();
        assert!(printed <= KEPT_LINES, "it printed {printed} lines, of which {KEPT_LINES} are kept");
        self.output.text()
    }

    fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let status = self.wait();
        // Its output ends only once a wrapper has ended too.
        self.readers.drain(..).for_each(|reader| reader.join().expect("a reader"));
        status
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the status of a child")
    }

    /// Kills it and starts it again on its data.
    pub fn restart(self) -> Server {
        let launch = self.launch.clone();
        launch.start_on(self.kill9())
    }
}

impl Drop for Server {
    #[allow(clippy::print_stdout, reason = "the test harness shows it with the failure")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if thread::panicking() {
            let text = self.output.text();
            let last: Vec<_> = text.lines().rev().take(LAST_WORDS).collect();
            println!("--- the server's last words{} ---", kept(&text));
            last.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}

/// Keeps what a server said for whoever looks into a failure; where, in words.
#[allow(clippy::disallowed_methods, reason = "a file for people")]
fn kept(text: &str) -> String {
    let file = tempfile::Builder::new().prefix("roadstead-said-").suffix(".log").tempfile();
    let file = file.and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file));
    match file.map(tempfile::NamedTempFile::keep) {
        Ok(Ok((_, path))) => format!(", all of them in {}", path.display()),
        _ => String::new(),
    }
}

/// What a process prints, both of its streams.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    lines: VecDeque<String>,
    printed: usize,
    address: Option<SocketAddr>,
    closed: usize,
}

impl Output {
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                output.add(line);
            }
            output.state.lock().unwrap().closed += 1;
            output.changed.notify_all();
        })
    }

    fn add(&self, line: String) {
        let mut state = self.state.lock().unwrap();
        if let Some((scheme, rest)) = line.split_once("://")
            && (scheme.ends_with("listening on http") || scheme.ends_with("listening on https"))
        {
            state.address = rest.split_whitespace().next().and_then(|text| text.parse().ok());
        }
        state.lines.push_back(line);
        state.printed += 1;
        if state.lines.len() > KEPT_LINES {
            state.lines.pop_front();
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the server said where it listens, or will not any more.
    fn address(&self) -> Option<SocketAddr> {
        let state = self.state.lock().unwrap();
        let undecided = |state: &mut Printed| state.address.is_none() && state.closed < 2;
        let (state, _) = self.changed.wait_timeout_while(state, START, undecided).unwrap();
        state.address
    }

    fn text(&self) -> String {
        let state = self.state.lock().unwrap();
        state.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}
