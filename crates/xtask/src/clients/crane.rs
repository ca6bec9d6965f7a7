//! crane: the Go library most build tools push with.

use std::path::Path;

use super::sample::{Sample, compare_layouts};
use super::{Bench, contains, same};
use crate::stage::Failure;

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "crane")?;
    let layout = bench.path("layout");
    let index = sample.layout(Path::new(&layout), "v1")?;
    let crane = |arguments: &[&str]| bench.call("crane", &[&["--insecure"], arguments].concat());
    let (first, second) = (bench.reference("crane/a:v1"), bench.reference("crane/b:v1"));

    // A layout holds an index of indexes; its only entry is pushed.
    crane(&["push", &layout, &first, "--index"])?;
    let pushed = bench.registry.manifest("crane/a", "v1")?;
    let children: Vec<_> = pushed["manifests"].as_array().into_iter().flatten().map(|m| m["digest"].clone()).collect();
    same(
        "the index is reachable",
        &true,
        &(children.iter().any(|d| d == index.as_str()) || bench.registry.digest("crane/a", "v1")? == index),
    )?;
    let digest = crane(&["digest", &first])?;
    same("digest", &bench.registry.digest("crane/a", "v1")?, &digest)?;
    crane(&["validate", "--remote", &first])?;

    crane(&["copy", &first, &second])?;
    same("digest of the copy", &digest, &bench.registry.digest("crane/b", "v1")?)?;
    let back = bench.path("back");
    crane(&["pull", "--format=oci", &second, &back])?;
    compare_layouts(Path::new(&layout), Path::new(&back))?;

    crane(&["tag", &first, "latest"])?;
    same("tags", &vec!["latest".to_owned(), "v1".to_owned()], &bench.registry.tags("crane/a")?)?;
    same("tags listed", &"latest\nv1".to_owned(), &crane(&["ls", &bench.reference("crane/a")])?)?;
    contains("catalog", &crane(&["catalog", bench.registry.host()])?, "crane/b")?;
    mutate(bench, &first)?;

    crane(&["delete", &bench.reference(&format!("crane/b@{digest}"))])?;
    same("the deleted index", &404, &bench.registry.status(&format!("/v2/crane/b/manifests/{digest}"))?)?;
    same("the one it was copied from", &digest, &bench.registry.digest("crane/a", "v1")?)
}

/// A layer appended and a label set without pulling the image; a file read back out of it.
fn mutate(bench: &Bench, image: &str) -> Result<(), Failure> {
    let layer = bench.path("layer.tar");
    std::fs::write(bench.folder.join("note"), "appended")?;
    bench.call("tar", &["--create", "--file", &layer, "note"])?;
    let changed = bench.reference("crane/c:changed");
    let crane =
        |arguments: &[&str]| bench.call("crane", &[&["--insecure", "--platform=linux/amd64"], arguments].concat());
    crane(&["append", "--base", image, "--new_layer", &layer, "--new_tag", &changed])?;
    crane(&["mutate", &changed, "--label", "gate=yes", "--tag", &changed])?;
    contains("labels of the changed image", &crane(&["config", &changed])?, r#""gate":"yes""#)?;
    let files = bench.path("files.tar");
    crane(&["export", &changed, &files])?;
    same(
        "the appended file",
        &"appended".to_owned(),
        &bench.call("tar", &["--extract", "--to-stdout", "--file", &files, "note"])?,
    )
}
