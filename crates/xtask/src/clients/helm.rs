//! helm: charts as OCI artifacts, with a configuration and media types of their own.

use super::registry::text;
use super::{Bench, contains, same};
use crate::stage::Failure;

pub(super) fn run(bench: &Bench) -> Result<(), Failure> {
    let helm = |arguments: &[&str]| bench.call("helm", arguments);
    let charts = format!("oci://{}", bench.reference("helm/charts"));
    helm(&["create", "gate"])?;
    helm(&["package", "gate", "--version", "1.2.3+build.7"])?;
    helm(&["push", "gate-1.2.3+build.7.tgz", &charts, "--plain-http"])?;

    // A tag cannot hold a plus sign; helm writes an underscore and must find its chart again.
    same("tags", &vec!["1.2.3_build.7".to_owned()], &bench.registry.tags("helm/charts/gate")?)?;
    let manifest = bench.registry.manifest("helm/charts/gate", "1.2.3_build.7")?;
    let config = text(&manifest["config"]["mediaType"]);
    same("media type of the configuration", &"application/vnd.cncf.helm.config.v1+json".to_owned(), &config)?;

    let chart = format!("{charts}/gate");
    std::fs::create_dir(bench.folder.join("back"))?;
    helm(&["pull", &chart, "--version", "1.2.3+build.7", "--plain-http", "--destination", "back"])?;
    let sent = std::fs::read(bench.folder.join("gate-1.2.3+build.7.tgz"))?;
    let found = std::fs::read(bench.folder.join("back/gate-1.2.3+build.7.tgz"))?;
    same("the chart came back as it went", &true, &(sent == found))?;
    contains("shown", &helm(&["show", "chart", &chart, "--version", "1.2.3+build.7", "--plain-http"])?, "name: gate")?;
    contains(
        "rendered",
        &helm(&["template", "it", &chart, "--version", "1.2.3+build.7", "--plain-http"])?,
        "kind: Service",
    )
}
