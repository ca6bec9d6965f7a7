//! podman: builds, pushes and pulls with a store of its own, without a daemon.

use std::path::Path;

use super::registry::text;
use super::sample::Sample;
use super::{Bench, contains, same};
use crate::stage::Failure;

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "podman")?;
    let (root, runroot) = (bench.path("root"), bench.path("runroot"));
    let store = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
    let podman =
        |arguments: &[&str]| bench.call("podman", &[&store[..], &["--events-backend", "none"], arguments].concat());
    let (first, second) = (bench.reference("podman/a:v1"), bench.reference("podman/b:v1"));

    podman(&["build", "--layers", "--tag", &first, &sample.folder().display().to_string()])?;
    let id = podman(&["image", "inspect", "--format", "{{.Id}}", &first])?;
    podman(&["push", "--tls-verify=false", "--digestfile", "digest", &first])?;
    let digest = std::fs::read_to_string(bench.folder.join("digest"))?;
    same("digest", &bench.registry.digest("podman/a", "v1")?, &digest)?;
    let layers = bench.registry.manifest("podman/a", "v1")?["layers"].as_array().map_or(0, Vec::len);
    same("layers", &3, &layers)?;

    podman(&["tag", &first, &second])?;
    podman(&["push", "--tls-verify=false", &second])?;
    same("digest in the other repository", &digest, &bench.registry.digest("podman/b", "v1")?)?;
    index(bench, &podman, &first)?;

    podman(&["rmi", "--all", "--force"])?;
    podman(&["pull", "--tls-verify=false", &bench.reference(&format!("podman/b@{digest}"))])?;
    let pulled = podman(&["images", "--quiet", "--no-trunc"])?;
    same("image pulled by digest", &format!("sha256:{id}"), &pulled)?;
    let mounted = podman(&["image", "mount", &id])?;
    sample.compare(Path::new(&mounted))?;
    podman(&["image", "unmount", &id])?;

    let listed = podman(&["search", "--list-tags", "--tls-verify=false", &bench.reference("podman/a")])?;
    contains("tags listed", &listed, "v1")?;
    contains("tags listed", &listed, "list")
}

/// An index of one image, pushed and looked at.
fn index(bench: &Bench, podman: &dyn Fn(&[&str]) -> Result<String, Failure>, image: &str) -> Result<(), Failure> {
    let list = bench.reference("podman/a:list");
    podman(&["manifest", "create", "gate-list"])?;
    podman(&["manifest", "add", "--tls-verify=false", "gate-list", &format!("docker://{image}")])?;
    podman(&["manifest", "push", "--all", "--tls-verify=false", "gate-list", &format!("docker://{list}")])?;
    let children = bench.registry.manifest("podman/a", "list")?["manifests"].clone();
    same("the index's only image", &bench.registry.digest("podman/a", "v1")?, &text(&children[0]["digest"]))
}
