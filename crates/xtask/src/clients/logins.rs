//! The same clients where they have to log in, over TLS with a certificate that the server made: a wrong password, the
//! right one, push, pull, logout; and without trust in the authority nothing at all.
//!
//! The docker engine trusts whatever is on this machine, so for it the last part does not hold.

use std::path::Path;

use super::containerd::Daemon;
use super::docker::Engine;
use super::sample::{Sample, compare_layouts};
use super::{Bench, Tally, contains, same};
use crate::process::{capture, which};
use crate::stage::Failure;
use roadstead_testkit::Launch;

const PASSWORD: &str = "correct horse";

type Session = fn(&Bench) -> Result<(), Failure>;

const SESSIONS: &[(&str, &[&str], Session)] = &[
    ("skopeo", &["skopeo"], skopeo),
    ("crane", &["crane"], crane),
    ("regctl", &["regctl"], regctl),
    ("helm", &["helm"], helm),
    ("podman", &["podman"], podman),
    ("buildah", &["buildah"], buildah),
    ("containerd", &["ctr", "containerd"], containerd),
    ("docker", &["docker", "dockerd"], docker),
];

/// Tries those of the clients called `chosen` that log in.
pub(super) fn run(binary: &Path, chosen: &[&str], tally: &mut Tally) -> Result<(), Failure> {
    let launch =
        Launch::new(binary).set("ROADSTEAD_AUTH__ENABLED", "true").set("ROADSTEAD_HTTP__TLS__GENERATE", "true");
    let server = launch.set("ROADSTEAD_ADMIN_PASSWORD", PASSWORD).start();
    let scratch = tempfile::tempdir()?;
    for (client, programs, session) in SESSIONS.iter().filter(|(client, ..)| chosen.contains(client)) {
        if let Some(missing) = programs.iter().find(|program| which(program).is_none()) {
            tally.absent.push((*missing).to_owned());
            continue;
        }
        let folder = scratch.path().join(client);
        std::fs::create_dir_all(folder.join("certs"))?;
        // buildah wants one to be there.
        std::fs::write(folder.join("auth.json"), "{}")?;
        let bench = Bench { registry: super::Registry::at(server.addr()), folder, referrers: true };
        let url = format!("https://{}/ca", bench.registry.host());
        bench.call("curl", &["--silent", "--fail", "--insecure", "--output", "certs/ca.crt", &url])?;
        let started = std::time::Instant::now();
        tally.took(&format!("{client} with a login over TLS"), started, session(&bench));
    }
    same("exit status after SIGTERM", &Some(0), &server.terminate().0.code())
}

/// What a client must refuse, or be refused; answers what it said.
fn refused(what: &str, said: Result<String, Failure>) -> Result<String, Failure> {
    match said {
        Err(failure) => Ok(failure.to_string()),
        Ok(said) => Err(Failure::new(format!("{what} was not refused: {said}"))),
    }
}

/// `--authfile`, `--cert-dir` and the rest of what skopeo, podman and buildah share.
struct Containers<'a> {
    bench: &'a Bench,
    program: &'a str,
    flags: Vec<String>,
}

impl Containers<'_> {
    fn call(&self, arguments: &[&str]) -> Result<String, Failure> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let mut command = self.bench.command(self.program, &[&flags[..], arguments].concat());
        capture(command.env("REGISTRY_AUTH_FILE", self.bench.folder.join("auth.json")))
    }

    /// Logs in; before that with a wrong password, and without trust.
    fn log_in(&self) -> Result<(), Failure> {
        let host = self.bench.registry.host();
        let with = |password: &str, trust: &[&str]| {
            self.call(&[&["login", "--username", "admin", "--password", password], trust, &[host]].concat())
        };
        let trust = ["--cert-dir", "certs"];
        contains("a wrong password", &refused("a wrong password", with("wrong horse", &trust))?, "invalid username")?;
        contains("without the authority", &refused("no trust", with(PASSWORD, &[]))?, "unknown authority")?;
        contains("login", &with(PASSWORD, &trust)?, "Login Succeeded")
    }

    fn log_out(&self) -> Result<(), Failure> {
        self.call(&["logout", self.bench.registry.host()]).map(drop)
    }
}

fn skopeo(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "login")?;
    let (layout, back) = (bench.path("layout"), bench.path("back"));
    sample.layout(Path::new(&layout), "v1")?;
    let skopeo = Containers { bench, program: "skopeo", flags: vec!["--insecure-policy".to_owned()] };
    let remote = format!("docker://{}", bench.reference("admin/skopeo:v1"));
    let copy = |from: &str, to: &str| {
        skopeo.call(&["copy", "--all", "--src-cert-dir", "certs", "--dest-cert-dir", "certs", from, to])
    };
    refused("a push without a login", copy(&format!("oci:{layout}:v1"), &remote))?;
    skopeo.log_in()?;
    copy(&format!("oci:{layout}:v1"), &remote)?;
    copy(&remote, &format!("docker://{}", bench.reference("admin/mounted:v1")))?;
    copy(&remote, &format!("oci:{back}:v1"))?;
    compare_layouts(Path::new(&layout), Path::new(&back))?;
    skopeo.call(&["delete", "--cert-dir", "certs", &remote])?;
    skopeo.log_out()?;
    let said = refused("a pull after logout", skopeo.call(&["inspect", "--cert-dir", "certs", &remote]))?;
    contains("a pull after logout", &said, "unauthorized")
}

fn crane(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "login")?;
    let layout = bench.path("layout");
    sample.layout(Path::new(&layout), "v1")?;
    let call = |trust: &str, arguments: &[&str]| {
        capture(bench.command("crane", arguments).env("SSL_CERT_FILE", bench.folder.join(trust)))
    };
    let crane = |arguments: &[&str]| call("certs/ca.crt", arguments);
    let (host, remote) = (bench.registry.host(), bench.reference("admin/crane:v1"));
    let login = |password: &str| crane(&["auth", "login", host, "--username", "admin", "--password", password]);
    // crane only writes it down.
    login("wrong horse")?;
    let said = refused("a wrong password", crane(&["push", &layout, &remote, "--index"]))?;
    contains("a wrong password", &said, "UNAUTHORIZED")?;
    login(PASSWORD)?;
    crane(&["push", &layout, &remote, "--index"])?;
    let digest = crane(&["digest", &remote])?;
    crane(&["copy", &remote, &bench.reference("admin/copied:v1")])?;
    same("digest of the copy", &digest, &crane(&["digest", &bench.reference("admin/copied:v1")])?)?;
    contains("catalog", &crane(&["catalog", host])?, "admin/copied")?;
    crane(&["validate", "--remote", &remote])?;
    crane(&["delete", &bench.reference(&format!("admin/copied@{digest}"))])?;
    contains("no trust", &refused("no trust", call("nothing", &["digest", &remote]))?, "unknown authority")?;
    crane(&["auth", "logout", host])?;
    contains("after logout", &refused("a pull after logout", crane(&["digest", &remote]))?, "UNAUTHORIZED")
}

fn regctl(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "login")?;
    let (layout, back) = (bench.path("layout"), bench.path("back"));
    sample.layout(Path::new(&layout), "v1")?;
    let regctl = |arguments: &[&str]| bench.call("regctl", arguments);
    let (host, remote) = (bench.registry.host(), bench.reference("admin/regctl:v1"));
    let without = refused("no trust", regctl(&["image", "digest", &remote]))?;
    contains("without the authority", &without, "unknown authority")?;
    let authority = std::fs::read_to_string(bench.folder.join("certs/ca.crt"))?;
    regctl(&["registry", "set", "--cacert", &authority, "--skip-check", host])?;
    let push = || regctl(&["image", "copy", &format!("ocidir://{layout}:v1"), &remote]);
    contains("a push without a login", &refused("a push without a login", push())?, "unauthorized")?;
    let login = |password: &str| regctl(&["registry", "login", host, "--user", "admin", "--pass", password]);
    contains("a wrong password", &refused("a wrong password", login("wrong horse"))?, "unauthorized")?;
    login(PASSWORD)?;
    push()?;
    regctl(&["image", "copy", &remote, &format!("ocidir://{back}:v1")])?;
    compare_layouts(Path::new(&layout), Path::new(&back))?;
    contains("repositories", &regctl(&["repo", "ls", host])?, "admin/regctl")?;
    regctl(&["registry", "logout", host])?;
    let said = refused("a pull after logout", regctl(&["image", "digest", &remote]))?;
    contains("a pull after logout", &said, "unauthorized")
}

fn helm(bench: &Bench) -> Result<(), Failure> {
    let helm = |arguments: &[&str]| bench.call("helm", arguments);
    let (host, charts) = (bench.registry.host(), format!("oci://{}", bench.reference("admin/charts")));
    helm(&["create", "gate"])?;
    helm(&["package", "gate", "--version", "1.2.3"])?;
    std::fs::create_dir(bench.folder.join("back"))?;
    let trust = ["--ca-file", "certs/ca.crt"];
    let push = |trust: &[&str]| helm(&[&["push", "gate-1.2.3.tgz", &charts], trust].concat());
    let chart = format!("{charts}/gate");
    let pull = || helm(&[&["pull", &chart, "--version", "1.2.3", "--destination", "back"][..], &trust].concat());
    let login = |password: &str| {
        helm(&[&["registry", "login", host, "--username", "admin", "--password", password][..], &trust].concat())
    };
    refused("a push without a login", push(&trust))?;
    contains("a wrong password", &refused("a wrong password", login("wrong horse"))?, "401")?;
    login(PASSWORD)?;
    contains("without the authority", &refused("no trust", push(&[]))?, "unknown authority")?;
    push(&trust)?;
    pull()?;
    let read = |file: &str| std::fs::read(bench.folder.join(file));
    let came_back = read("gate-1.2.3.tgz")? == read("back/gate-1.2.3.tgz")?;
    same("the chart came back as it went", &true, &came_back)?;
    helm(&["registry", "logout", host])?;
    refused("a pull after logout", pull()).map(drop)
}

fn podman(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "login")?;
    let podman = Containers { bench, program: "podman", flags: store(bench, &["--cgroup-manager", "cgroupfs"]) };
    let remote = bench.reference("admin/podman:v1");
    podman.call(&["build", "--tag", &remote, &sample.folder().display().to_string()])?;
    let id = podman.call(&["image", "inspect", "--format", "{{.Id}}", &remote])?;
    refused("a push without a login", podman.call(&["push", "--cert-dir", "certs", &remote]))?;
    podman.log_in()?;
    podman.call(&["push", "--cert-dir", "certs", &remote])?;
    podman.call(&["rmi", "--all", "--force"])?;
    podman.call(&["pull", "--cert-dir", "certs", &remote])?;
    same("image pulled", &id, &podman.call(&["image", "inspect", "--format", "{{.Id}}", &remote])?)?;
    podman.call(&["rmi", "--all", "--force"])?;
    podman.log_out()?;
    refused("a pull after logout", podman.call(&["pull", "--cert-dir", "certs", &remote])).map(drop)
}

fn buildah(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "login")?;
    let buildah = Containers { bench, program: "buildah", flags: store(bench, &[]) };
    let remote = bench.reference("admin/buildah:v1");
    let container = buildah.call(&["from", "scratch"])?;
    buildah.call(&["copy", &container, &sample.folder().join("small").display().to_string(), "/"])?;
    let image = buildah.call(&["commit", "--rm", &container])?;
    let push = || buildah.call(&["push", "--cert-dir", "certs", &image, &format!("docker://{remote}")]);
    refused("a push without a login", push())?;
    buildah.log_in()?;
    push()?;
    buildah.call(&["rmi", "--all", "--force"])?;
    buildah.call(&["pull", "--cert-dir", "certs", &remote])?;
    buildah.call(&["rmi", "--all", "--force"])?;
    buildah.log_out()?;
    refused("a pull after logout", buildah.call(&["pull", "--cert-dir", "certs", &remote])).map(drop)
}

/// A store of its own.
fn store(bench: &Bench, more: &[&str]) -> Vec<String> {
    let (root, runroot) = (bench.path("root"), bench.path("runroot"));
    let store = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
    store.iter().chain(more).map(|&word| word.to_owned()).collect()
}

/// Its command line keeps no login: each pull and push says who comes.
fn containerd(bench: &Bench) -> Result<(), Failure> {
    let daemon = Daemon::start(bench)?;
    let remote = bench.reference("admin/containerd:v1");
    let index = daemon.import(bench, &remote, "login")?;
    let (right, wrong) = (format!("admin:{PASSWORD}"), "admin:wrong horse");
    let push = |with: &[&str]| daemon.ctr(bench, &[&["images", "push"], with, &[remote.as_str()]].concat());
    let pull = |with: &[&str]| {
        let pull = ["images", "pull", "--all-platforms", "--snapshotter", "native"];
        daemon.ctr(bench, &[&pull[..], with, &[remote.as_str()]].concat())
    };
    let host = bench.registry.host();
    let server = format!("[host.\"https://{host}\"]\n");
    let authority = format!("{server}ca = \"{}\"\n", bench.path("certs/ca.crt"));
    for (folder, told) in [("nobody", &server), ("authority", &authority)] {
        let folder = bench.folder.join(folder).join(host);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("hosts.toml"), told)?;
    }
    let trust = ["--hosts-dir", "authority"];
    let by = |user| [&trust[..], &["--user", user]].concat();
    let said = refused("no trust", push(&["--hosts-dir", "nobody", "--user", &right]))?;
    contains("without the authority", &said, "unknown authority")?;
    refused("a push without a login", push(&trust))?;
    contains("a wrong password", &refused("a wrong password", push(&by(wrong)))?, "401")?;
    push(&by(&right))?;
    daemon.forget(bench, &remote)?;
    refused("a pull without a login", pull(&trust))?;
    contains("a wrong password", &refused("a wrong password", pull(&by(wrong)))?, "401")?;
    pull(&by(&right))?;
    contains("image pulled", &daemon.ctr(bench, &["images", "ls"])?, &index)?;
    daemon.stop()
}

fn docker(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "login")?;
    let engine = Engine::start(bench)?;
    let docker = |arguments: &[&str]| engine.docker(bench, arguments);
    let (host, remote) = (bench.registry.host(), bench.reference("admin/docker:v1"));
    let other = bench.reference("admin/other:v1");
    let login = |password: &str| docker(&["login", "--username", "admin", "--password", password, host]);
    let recipe = sample.folder().join("Containerfile").display().to_string();
    docker(&["build", "--file", &recipe, "--tag", &remote, "--tag", &other, &sample.folder().display().to_string()])?;
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &remote])?;
    refused("a push without a login", docker(&["push", &remote]))?;
    contains("a wrong password", &refused("a wrong password", login("wrong horse"))?, "unauthorized")?;
    contains("login", &login(PASSWORD)?, "Login Succeeded")?;
    docker(&["push", &remote])?;
    contains("pushed to the other repository", &docker(&["push", &other])?, "Mounted from admin/docker")?;
    for _ in 0..2 {
        docker(&["image", "rm", &remote])?;
        docker(&["pull", &remote])?;
    }
    same("image pulled", &id, &docker(&["image", "inspect", "--format", "{{.Id}}", &remote])?)?;
    docker(&["logout", host])?;
    refused("a pull after logout", docker(&["pull", &remote]))?;
    engine.stop()
}
