//! buildah: an image made step by step, without a container file.

use std::path::Path;

use super::sample::Sample;
use super::{Bench, same};
use crate::stage::Failure;

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "buildah")?;
    let (root, runroot) = (bench.path("root"), bench.path("runroot"));
    let store = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
    let buildah = |arguments: &[&str]| bench.call("buildah", &[&store[..], arguments].concat());
    let (first, second) = (bench.reference("buildah/a:v1"), bench.reference("buildah/b:v1"));

    // Committed after each step: one layer on top of the other.
    let mut image = String::from("scratch");
    for name in ["small", "middle", "large"] {
        let container = buildah(&["from", "--pull-never", &image])?;
        let file = sample.folder().join(name).display().to_string();
        buildah(&["copy", &container, &file, "/"])?;
        image = buildah(&["commit", "--rm", &container])?;
    }
    let push = |to: &str, format: &str| {
        let flags = ["push", "--tls-verify=false", "--digestfile", "digest", "--format", format];
        buildah(&[&flags[..], &[&image, &format!("docker://{to}")]].concat())?;
        Ok::<_, Failure>(std::fs::read_to_string(bench.folder.join("digest"))?)
    };
    let digest = push(&first, "oci")?;
    same("digest", &bench.registry.digest("buildah/a", "v1")?, &digest)?;
    same("layers", &3, &bench.registry.manifest("buildah/a", "v1")?["layers"].as_array().map_or(0, Vec::len))?;
    let schema_2 = push(&second, "v2s2")?;
    same("digest of the schema 2 form", &bench.registry.digest("buildah/b", "v1")?, &schema_2)?;

    buildah(&["rmi", "--all", "--force"])?;
    let container = buildah(&["from", "--tls-verify=false", &bench.reference(&format!("buildah/a@{digest}"))])?;
    let mounted = buildah(&["mount", &container])?;
    sample.compare(Path::new(&mounted))?;
    buildah(&["umount", &container])?;
    buildah(&["rm", &container])?;
    Ok(())
}
