//! regctl: artifacts that refer to an image, and their copies.

use std::path::Path;

use super::sample::Sample;
use super::{Bench, contains, same};
use crate::process::capture;
use crate::stage::Failure;

const ARTIFACT: &str = "application/vnd.example.report";

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let sample = Sample::write(&bench.folder.join("sample"), "regctl")?;
    let layout = bench.path("layout");
    let index = sample.layout(Path::new(&layout), "v1")?;
    let regctl = |arguments: &[&str]| bench.call("regctl", arguments);
    let (first, second) = (bench.reference("regctl/a:v1"), bench.reference("regctl/b:v1"));

    regctl(&["registry", "set", "--tls", "disabled", "--skip-check", bench.registry.host()])?;
    regctl(&["image", "copy", &format!("ocidir://{layout}:v1"), &first])?;
    same("digest of the index", &index, &bench.registry.digest("regctl/a", "v1")?)?;

    // With a registry that lacks the referrers API the client keeps them under a tag; both ways must list them.
    let artifact = attach(bench, &first)?;
    let listed = regctl(&["artifact", "list", &first, "--format", "{{jsonPretty .}}"])?;
    contains("referrers listed", &listed, &artifact)?;
    contains("referrers listed", &listed, ARTIFACT)?;
    if bench.referrers {
        same("referrers", &vec![artifact.clone()], &bench.registry.referrers("regctl/a", &index, "")?)?;
        let typed = format!("?artifactType={ARTIFACT}");
        same("referrers of its type", &vec![artifact.clone()], &bench.registry.referrers("regctl/a", &index, &typed)?)?;
        let others = bench.registry.referrers("regctl/a", &index, "?artifactType=application/none")?;
        same("referrers of another type", &Vec::new(), &others)?;
    }

    regctl(&["image", "copy", "--referrers", &first, &second])?;
    same("digest of the copy", &index, &bench.registry.digest("regctl/b", "v1")?)?;
    let copied = regctl(&["artifact", "get", &bench.reference(&format!("regctl/b@{artifact}"))])?;
    same("the artifact of the copy", &"all is well".to_owned(), &copied)?;

    contains("repositories", &regctl(&["repo", "ls", bench.registry.host()])?, "regctl/b")?;
    regctl(&["image", "mod", &first, "--create", "v2", "--label", "gate=yes"])?;
    contains("tags", &regctl(&["tag", "ls", &bench.reference("regctl/a")])?, "v2")?;
    regctl(&["tag", "delete", &bench.reference("regctl/a:v2")])?;
    same("the deleted tag", &404, &bench.registry.status("/v2/regctl/a/manifests/v2")?)?;
    same("its neighbour", &index, &bench.registry.digest("regctl/a", "v1")?)?;
    regctl(&["manifest", "delete", &bench.reference(&format!("regctl/b@{index}"))])?;
    same("the deleted index", &404, &bench.registry.status(&format!("/v2/regctl/b/manifests/{index}"))?)
}

/// Attaches a small report to an image; answers the artifact's digest.
fn attach(bench: &Bench, subject: &str) -> Result<String, Failure> {
    std::fs::write(bench.folder.join("report"), "all is well")?;
    let arguments = ["artifact", "put", "--subject", subject, "--artifact-type", ARTIFACT, "--file", "report"];
    capture(
        &mut bench.command("regctl", &[&arguments[..], &["--format", "{{.Manifest.GetDescriptor.Digest}}"]].concat()),
    )
}
