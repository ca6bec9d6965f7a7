//! The docker engine: the client most people have. A daemon of our own is started for it, on its own socket and
//! directories, and stopped afterwards.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::registry::text;
use super::sample::Sample;
use super::{Bench, contains, same};
use crate::process::{capture, last_lines};
use crate::stage::Failure;

/// A cold daemon needs about five seconds.
const START: Duration = Duration::from_secs(90);

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "docker")?;
    let engine = Engine::start(bench)?;
    let docker = |arguments: &[&str]| engine.docker(bench, arguments);
    let (first, second) = (bench.reference("docker/a:v1"), bench.reference("docker/b:v1"));

    let recipe = sample.folder().join("Containerfile").display().to_string();
    docker(&["build", "--file", &recipe, "--tag", &first, &sample.folder().display().to_string()])?;
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &first])?;
    let digest = pushed_digest(&docker(&["push", &first])?)?;
    same("digest", &bench.registry.digest("docker/a", "v1")?, &digest)?;
    same("layers", &3, &bench.registry.manifest("docker/a", "v1")?["layers"].as_array().map_or(0, Vec::len))?;

    docker(&["tag", &first, &second])?;
    contains("pushed to the other repository", &docker(&["push", &second])?, "Mounted from docker/a")?;
    same("digest in the other repository", &digest, &bench.registry.digest("docker/b", "v1")?)?;
    contains("pushed again", &docker(&["push", &second])?, "Layer already exists")?;

    list(bench, &docker, &first)?;
    docker(&["image", "rm", &first, &second])?;
    docker(&["pull", &second])?;
    docker(&["pull", &bench.reference(&format!("docker/a@{digest}"))])?;
    same("image pulled", &id, &docker(&["image", "inspect", "--format", "{{.Id}}", &second])?)?;
    files(bench, &docker, &sample, &second)?;
    engine.stop()
}

/// The files of a container that is made from the image and never run.
fn files(
    bench: &Bench,
    docker: &dyn Fn(&[&str]) -> Result<String, Failure>,
    sample: &Sample,
    image: &str,
) -> Result<(), Failure> {
    let container = docker(&["create", image, "/none"])?;
    docker(&["cp", &format!("{container}:/."), &bench.path("back")])?;
    docker(&["rm", &container])?;
    sample.compare(&bench.folder.join("back"))
}

/// A manifest list made by the command line, which speaks to the registry itself.
fn list(bench: &Bench, docker: &dyn Fn(&[&str]) -> Result<String, Failure>, image: &str) -> Result<(), Failure> {
    let list = bench.reference("docker/a:list");
    docker(&["manifest", "create", "--insecure", &list, image])?;
    docker(&["manifest", "push", "--insecure", &list])?;
    let manifest = bench.registry.manifest("docker/a", "list")?;
    let child = text(&manifest["manifests"][0]["digest"]);
    same("the list's only image", &bench.registry.digest("docker/a", "v1")?, &child)
}

/// `sha256:...` of the line that closes a push.
fn pushed_digest(said: &str) -> Result<String, Failure> {
    let digest = said.lines().rev().find_map(|line| line.split_once("digest: ")?.1.split(' ').next());
    digest.map(str::to_owned).ok_or_else(|| Failure::new(format!("no digest in what docker push said: {said}")))
}

/// A daemon; killed when dropped.
pub(super) struct Engine {
    child: Child,
    socket: String,
}

impl Engine {
    pub(super) fn start(bench: &Bench) -> Result<Self, Failure> {
        let folder = bench.folder.join("engine");
        std::fs::create_dir_all(&folder)?;
        let log = folder.join("log");
        let socket = format!("unix://{}/socket", folder.display());
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(folder.join("data")).arg("--exec-root").arg(folder.join("exec"));
        command.arg("--pidfile").arg(folder.join("pid")).args(["--host", &socket]);
        // Nothing runs in a container here: no bridge, no firewall rules on the machine of whoever runs the gate.
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"]);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let child = command.spawn().map_err(|e| Failure::new(format!("dockerd: {e}")))?;
        let mut engine = Self { child, socket };
        let started = Instant::now();
        while engine.docker(bench, &["version"]).is_err() {
            if let Some(status) = engine.child.try_wait()? {
                let said = std::fs::read_to_string(&log)?;
                return Err(Failure::new(format!("dockerd left with {status}: {}", last_lines(&said, 3))));
            }
            if started.elapsed() > START {
                return Err(Failure::new(format!("dockerd did not answer within {} s", START.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(engine)
    }

    pub(super) fn docker(&self, bench: &Bench, arguments: &[&str]) -> Result<String, Failure> {
        let config = bench.path("docker-config");
        let mut command = bench.command("docker", &["--config", &config, "--host", &self.socket]);
        // The builder that is part of the engine; the other one is a plugin that Debian does not package.
        capture(command.args(arguments).env("DOCKER_BUILDKIT", "0"))
    }

    pub(super) fn stop(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(std::io::Error::from)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Already gone after `stop`; then both are errors that tell nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::pushed_digest;

    #[test]
    fn the_digest_is_read_from_the_closing_line() {
        let said = "The push refers to repository [127.0.0.1:5000/a]\n1: Pushed\nv1: digest: sha256:abc size: 945\n";
        assert_eq!(pushed_digest(said).ok().as_deref(), Some("sha256:abc"));
        assert!(pushed_digest("denied").is_err());
    }
}
