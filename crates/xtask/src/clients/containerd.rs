//! containerd, which Kubernetes pulls with, by its own command line. A daemon of our own is started for it, on its own socket
//! and directories, and stopped afterwards.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::sample::Sample;
use super::{Bench, contains, same};
use crate::process::{capture, last_lines};
use crate::stage::Failure;

/// A cold daemon needs about a second.
const START: Duration = Duration::from_secs(60);
/// Nothing runs in a container here, and no plugin shall look for what belongs to the machine.
const CONFIGURATION: &str = r#"version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
"#;

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let daemon = Daemon::start(bench)?;
    let remote = bench.reference("containerd/app:v1");
    let index = daemon.import(bench, &remote, "containerd")?;
    daemon.ctr(bench, &["images", "push", "--plain-http", &remote])?;
    same("digest of the index", &index, &bench.registry.digest("containerd/app", "v1")?)?;
    daemon.forget(bench, &remote)?;
    daemon.ctr(bench, &["images", "pull", "--plain-http", "--all-platforms", "--snapshotter", "native", &remote])?;
    contains("image pulled", &daemon.ctr(bench, &["images", "ls"])?, &index)?;
    daemon.stop()
}

/// A daemon; killed when dropped.
pub(super) struct Daemon {
    child: Child,
    socket: String,
}

impl Daemon {
    pub(super) fn start(bench: &Bench) -> Result<Self, Failure> {
        let folder = bench.folder.join("daemon");
        std::fs::create_dir_all(&folder)?;
        let (log, configuration) = (folder.join("log"), folder.join("config.toml"));
        std::fs::write(&configuration, CONFIGURATION)?;
        let socket = folder.join("socket").display().to_string();
        let mut command = Command::new("containerd");
        command.arg("--config").arg(configuration).args(["--address", &socket]);
        command.arg("--root").arg(folder.join("root")).arg("--state").arg(folder.join("state"));
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let child = command.spawn().map_err(|e| Failure::new(format!("containerd: {e}")))?;
        let mut daemon = Self { child, socket };
        let started = Instant::now();
        while daemon.ctr(bench, &["version"]).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                let said = std::fs::read_to_string(&log)?;
                return Err(Failure::new(format!("containerd left with {status}: {}", last_lines(&said, 3))));
            }
            if started.elapsed() > START {
                return Err(Failure::new(format!("containerd did not answer within {} s", START.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(daemon)
    }

    pub(super) fn ctr(&self, bench: &Bench, arguments: &[&str]) -> Result<String, Failure> {
        let own = ["--address", &self.socket, "--namespace", "gate"];
        capture(&mut bench.command("ctr", &[&own[..], arguments].concat()))
    }

    /// Takes an index of two images under the name `HOST:PORT/repository:v1`; answers its digest.
    pub(super) fn import(&self, bench: &Bench, name: &str, seed: &str) -> Result<String, Failure> {
        let sample = Sample::write(&bench.folder.join("sample"), seed)?;
        let (layout, archive) = (bench.path("layout"), bench.path("layout.tar"));
        let digest = sample.layout(Path::new(&layout), "v1")?;
        capture(Command::new("tar").args(["--directory", &layout, "--create", "--file", &archive, "."]))?;
        let base = name.trim_end_matches(":v1");
        let import = ["images", "import", "--all-platforms", "--no-unpack", "--base-name", base, &archive];
        self.ctr(bench, &import)?;
        contains("image imported", &self.ctr(bench, &["images", "ls", "--quiet"])?, name)?;
        Ok(digest)
    }

    /// Removes the image and, before the command ends, what only it needed.
    pub(super) fn forget(&self, bench: &Bench, name: &str) -> Result<(), Failure> {
        self.ctr(bench, &["images", "rm", "--sync", name])?;
        same("content that is left", &String::new(), &self.ctr(bench, &["content", "ls", "--quiet"])?)
    }

    pub(super) fn stop(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(std::io::Error::from)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone after `stop`; then both are errors that tell nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
