//! skopeo: copies between layouts and registries without a daemon.

use std::path::Path;

use super::registry::text;
use super::sample::{Sample, compare_layouts};
use super::{Bench, contains, same};
use crate::stage::Failure;

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "skopeo")?;
    let layout = bench.path("layout");
    let index = sample.layout(Path::new(&layout), "v1")?;
    let copy = |from: &str, to: &str| {
        let flags = ["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
        bench.call("skopeo", &[&flags[..], &[from, to]].concat())
    };
    let remote = |reference: &str| format!("docker://{}", bench.reference(reference));

    copy(&format!("oci:{layout}:v1"), &remote("skopeo/a:v1"))?;
    same("digest of the index", &index, &bench.registry.digest("skopeo/a", "v1")?)?;

    // Another repository: every blob is there already, by mount.
    copy(&remote("skopeo/a:v1"), &remote("skopeo/deep/er/b:v2"))?;
    same("digest of the copy", &index, &bench.registry.digest("skopeo/deep/er/b", "v2")?)?;

    let catalog = bench.registry.catalog()?;
    same(
        "catalog lists both",
        &true,
        &["skopeo/a", "skopeo/deep/er/b"].iter().all(|name| catalog.iter().any(|c| c == name)),
    )?;

    let back = bench.path("back");
    copy(&remote(&format!("skopeo/deep/er/b@{index}")), &format!("oci:{back}:v2"))?;
    compare_layouts(Path::new(&layout), Path::new(&back))?;

    schema_2(bench)?;
    let listed = bench.call("skopeo", &["list-tags", "--tls-verify=false", &remote("skopeo/a")])?;
    contains("tags listed", &listed, "\"v1\"")?;
    contains("tags listed", &listed, "\"schema2\"")?;

    bench.call("skopeo", &["delete", "--tls-verify=false", &remote("skopeo/a:v1")])?;
    same("the deleted manifest", &404, &bench.registry.status("/v2/skopeo/a/manifests/v1")?)?;
    same("its copy elsewhere", &index, &bench.registry.digest("skopeo/deep/er/b", "v2")?)
}

/// The same image converted to a Docker schema 2 manifest, with other compression on the way.
fn schema_2(bench: &Bench) -> Result<(), Failure> {
    let from = format!("oci:{}:v1", bench.path("layout"));
    let to = format!("docker://{}", bench.reference("skopeo/a:schema2"));
    let flags =
        ["--insecure-policy", "--override-arch", "arm64", "copy", "--format", "v2s2", "--dest-tls-verify=false"];
    bench.call("skopeo", &[&flags[..], &[&from, &to]].concat())?;
    let manifest = bench.registry.manifest("skopeo/a", "schema2")?;
    let media_type = text(&manifest["mediaType"]);
    same("media type", &"application/vnd.docker.distribution.manifest.v2+json".to_owned(), &media_type)?;
    let inspected = bench.call("skopeo", &["--override-arch", "arm64", "inspect", "--tls-verify=false", &to])?;
    contains("inspected", &inspected, &bench.registry.digest("skopeo/a", "schema2")?)
}
