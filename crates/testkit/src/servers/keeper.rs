//! The directory of a server. Both are gone when whoever started the server ends, however that ends: a shell beside it
//! sees to it.
#![allow(clippy::disallowed_methods, reason = "the directory is that of another server")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Waits until nobody holds the other end of its input, ends the process whose number it finds in a file by the signal
/// that it is told, for 10 s at most, and removes the directory. A process that ended and that nobody waits for counts as ended.
const KEEPER: &str = r#"
read -r _
times=0
while [ -s "$2" ] && [ $times -lt 200 ]; do
    pid=$(head -n 1 "$2" 2>/dev/null)
    grep -qs '^State:.*Z' "/proc/$pid/status" && break
    kill "-$3" "$pid" 2>/dev/null || break
    times=$((times + 1))
    sleep 0.05
done
rm -rf "$1"
"#;

/// A directory with a shell that keeps it.
#[derive(Debug)]
pub(super) struct Keeper {
    directory: PathBuf,
    shell: Child,
    /// Closing it tells the shell.
    told: Option<ChildStdin>,
}

impl Keeper {
    /// A new directory below `place`. The process whose number stands in its file `pid_file` is ended by `signal` when there is nobody
    /// left who does it.
    pub(super) fn new(place: &Path, name: &str, pid_file: &str, signal: &str) -> Self {
        let prefix = format!("roadstead-{name}-");
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir_in(place).expect("a directory").keep();
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper"]).arg(&directory).arg(directory.join(pid_file)).arg(signal);
        // In a group of its own: Ctrl-C in a terminal is not meant for it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut shell = shell.spawn().expect("a shell");
        let told = shell.stdin.take();
        Self { directory, shell, told }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.told.take());
        let _ = self.shell.wait();
    }
}

/// A server that is one process, with a directory of its own.
#[derive(Debug)]
pub(super) struct Kept {
    process: Option<Child>,
    keeper: Keeper,
}

impl Kept {
    const PID: &str = "pid";

    /// The directory of a server that does not run yet.
    pub(super) fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// The same below `place`, which has to be there until it is dropped.
    pub(super) fn below(place: &Path, name: &str) -> Self {
        Self { process: None, keeper: Keeper::new(place, name, Self::PID, "KILL") }
    }

    pub(super) fn directory(&self) -> &Path {
        self.keeper.directory()
    }

    /// Starts it, out of the reach of Ctrl-C.
    pub(super) fn start(&mut self, command: &mut Command) -> &mut Child {
        self.stop();
        command.process_group(0).stdin(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        std::fs::write(self.keeper.directory.join(Self::PID), process.id().to_string()).expect("a file");
        self.process.insert(process)
    }

    /// Stops it, if it runs; its directory stays.
    pub(super) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
            // Its number may soon be that of another process.
            let _ = std::fs::remove_file(self.keeper.directory.join(Self::PID));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stop();
    }
}
