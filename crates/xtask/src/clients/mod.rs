//! Real clients against a real server: each pushes, pulls, copies, lists and deletes with its own words, and what it
//! got back is compared with what it sent, byte for byte or digest for digest.
//!
//! A client does not trust itself here: digests it reports are compared with those the registry serves to a plain HTTP
//! request ([`registry`]). One file per client; the material they push is in [`sample`]. All of it happens on each of the
//! [`grounds`](crate::grounds); over S3 each client has to be sent to the bucket for a blob.

mod buildah;
mod containerd;
mod crane;
mod docker;
mod helm;
mod logins;
mod podman;
mod regctl;
mod registry;
mod sample;
mod skopeo;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::grounds::Ground;
use crate::process::{capture, which};
use crate::stage::{Context, Failure, Outcome};
use crate::suites::release_binary;
use registry::Registry;

/// What `cargo xtask clients` may be told; the gate itself uses the defaults.
#[derive(clap::Args, Default, Clone)]
pub(crate) struct Options {
    /// Run only this client (repeatable).
    #[arg(long = "only", value_name = "CLIENT")]
    only: Vec<String>,
    /// Start this binary instead of the release build.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    server_binary: Option<PathBuf>,
    /// Talk to a registry that already runs, as ADDR:PORT, over plain HTTP.
    #[arg(long, value_name = "ADDR:PORT")]
    url: Option<SocketAddr>,
    /// The registry has no referrers API (an older peer).
    #[arg(long)]
    without_referrers: bool,
}

/// A client and the programs it is made of.
struct Client {
    name: &'static str,
    programs: &'static [&'static str],
    run: fn(&Bench) -> Result<(), Failure>,
}

const CLIENTS: &[Client] = &[
    Client { name: "skopeo", programs: &["skopeo"], run: skopeo::run },
    Client { name: "crane", programs: &["crane"], run: crane::run },
    Client { name: "regctl", programs: &["regctl"], run: regctl::run },
    Client { name: "helm", programs: &["helm"], run: helm::run },
    Client { name: "podman", programs: &["podman"], run: podman::run },
    Client { name: "buildah", programs: &["buildah"], run: buildah::run },
    Client { name: "containerd", programs: &["ctr", "containerd"], run: containerd::run },
    Client { name: "docker", programs: &["docker", "dockerd"], run: docker::run },
];

/// What a client works with: the registry, a folder of its own, and an environment without anybody's settings.
struct Bench {
    registry: Registry,
    /// Gone after the run; also the client's home.
    folder: PathBuf,
    /// The registry answers the referrers API.
    referrers: bool,
}

impl Bench {
    /// A program that finds no configuration of the person who runs the gate, and that cannot hang for ever.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", "240", program]).args(arguments);
        command.current_dir(&self.folder).env("HOME", &self.folder).env("XDG_RUNTIME_DIR", &self.folder);
        command.env("XDG_CONFIG_HOME", self.folder.join("config")).env("XDG_CACHE_HOME", self.folder.join("cache"));
        for variable in ["DOCKER_HOST", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "HTTP_PROXY", "http_proxy"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs it; answers what it printed to standard output.
    fn call(&self, program: &str, arguments: &[&str]) -> Result<String, Failure> {
        capture(&mut self.command(program, arguments))
    }

    /// `HOST:PORT/repository:tag`, or with a digest after `@`.
    fn reference(&self, reference: &str) -> String {
        format!("{}/{reference}", self.registry.host())
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// Two values that must be equal, and the sentence to print when they are not.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: expected {expected:?}, found {found:?}")))
}

/// A text that must contain another one.
fn contains(what: &str, text: &str, part: &str) -> Result<(), Failure> {
    if text.contains(part) {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: expected to find {part:?} in {text:?}")))
}

pub(crate) fn run(context: &Context) -> Result<Outcome, Failure> {
    let options = &context.clients;
    let chosen = choose(&options.only)?;
    let mut tally = Tally::default();
    if let Some(addr) = options.url {
        let referrers = !options.without_referrers;
        run_all(&chosen, &Place { name: "the registry given", addr, referrers, redirects: false }, &mut tally)?;
        return tally.verdict();
    }
    let binary = options.server_binary.clone().map_or_else(|| release_binary(context), Ok)?;
    let mut grounds = vec![Ground::disk()];
    match Ground::servers() {
        Ok(servers) => grounds.push(servers),
        Err(names) => tally.absent.push(names),
    }
    for ground in grounds {
        let server = ground.launch(&binary, "clients")?.start();
        let place = Place {
            name: ground.name,
            addr: server.addr(),
            referrers: !options.without_referrers,
            redirects: ground.redirects(),
        };
        run_all(&chosen, &place, &mut tally)?;
        same("exit status after SIGTERM", &Some(0), &server.terminate().0.code())?;
    }
    let names: Vec<_> = chosen.iter().map(|client| client.name).collect();
    logins::run(&binary, &names, &mut tally)?;
    tally.verdict()
}

/// A registry that clients are tried on.
struct Place {
    name: &'static str,
    addr: SocketAddr,
    referrers: bool,
    /// Each client is sent to the store for some blob.
    redirects: bool,
}

/// What came of the clients, each with the place where.
#[derive(Default)]
struct Tally {
    passed: Vec<String>,
    absent: Vec<String>,
    failed: Vec<String>,
}

fn run_all(chosen: &[&Client], place: &Place, tally: &mut Tally) -> Result<(), Failure> {
    let scratch = tempfile::tempdir()?;
    for client in chosen {
        if let Some(missing) = client.programs.iter().find(|program| which(program).is_none()) {
            tally.absent.push((*missing).to_owned());
            continue;
        }
        let started = std::time::Instant::now();
        let name = format!("{} on {}", client.name, place.name);
        let outcome = run_one(client, place, scratch.path());
        tally.took(&name, started, outcome);
    }
    Ok(())
}

fn choose(only: &[String]) -> Result<Vec<&'static Client>, Failure> {
    if let Some(unknown) = only.iter().find(|name| CLIENTS.iter().all(|client| client.name != name.as_str())) {
        let names: Vec<_> = CLIENTS.iter().map(|client| client.name).collect();
        return Err(Failure::new(format!("no client named {unknown:?}; there are {}", names.join(", "))));
    }
    Ok(CLIENTS.iter().filter(|client| only.is_empty() || only.iter().any(|name| name == client.name)).collect())
}

fn run_one(client: &Client, place: &Place, scratch: &Path) -> Result<(), Failure> {
    let folder = scratch.join(client.name);
    std::fs::create_dir_all(&folder)?;
    let bench = Bench { registry: Registry::at(place.addr), folder, referrers: place.referrers };
    let before = bench.registry.redirected()?;
    (client.run)(&bench)?;
    match place.redirects && bench.registry.redirected()? == before {
        true => Err(Failure::new("none of its pulls was sent to the store")),
        false => Ok(()),
    }
}

impl Tally {
    fn took(&mut self, name: &str, started: std::time::Instant, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => {
                println!("{name}: passed in {:.1} s", started.elapsed().as_secs_f64());
                self.passed.push(name.to_owned());
            }
            Err(failure) => {
                println!("{name}: FAILED: {failure}");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn verdict(self) -> Result<Outcome, Failure> {
        let passed = self.passed.join(", ");
        if !self.failed.is_empty() {
            return Err(Failure::new(format!("failed with {}; passed with {passed}", self.failed.join(", "))));
        }
        if !self.absent.is_empty() {
            return Ok(Outcome::Absent(format!("not installed: {}; passed: {passed}", self.absent.join(", "))));
        }
        Ok(Outcome::Passed(passed))
    }
}
