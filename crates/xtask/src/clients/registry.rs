//! The registry as a plain HTTP request sees it, so that no client is believed about itself.

use std::process::Command;

use crate::process::capture;
use crate::stage::Failure;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry on this machine, without TLS and without authentication.
pub(super) struct Registry {
    host: String,
}

impl Registry {
    pub(super) fn at(host: &str) -> Self {
        Self { host: host.to_owned() }
    }

    /// `HOST:PORT`.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The body of a GET that must succeed.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        let url = format!("http://{}{path}", self.host);
        let accept = format!("Accept: {MANIFEST_TYPES}");
        capture(Command::new("curl").args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "60",
            "-H",
            &accept,
            &url,
        ]))
    }

    /// The status of a GET, whatever it is.
    pub(super) fn status(&self, path: &str) -> Result<String, Failure> {
        let url = format!("http://{}{path}", self.host);
        let accept = format!("Accept: {MANIFEST_TYPES}");
        let quiet =
            ["--silent", "--max-time", "60", "--output", "/dev/null", "--write-out", "%{http_code}", "-H", &accept];
        capture(Command::new("curl").args(quiet).arg(&url))
    }

    /// `Docker-Content-Digest` of a manifest.
    pub(super) fn digest(&self, repository: &str, reference: &str) -> Result<String, Failure> {
        let url = format!("http://{}/v2/{repository}/manifests/{reference}", self.host);
        let accept = format!("Accept: {MANIFEST_TYPES}");
        let head = ["--silent", "--show-error", "--fail", "--head", "--max-time", "60", "-H", &accept];
        let headers = capture(Command::new("curl").args(head).arg(&url))?;
        let digest = headers.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("docker-content-digest").then(|| value.trim().to_owned())
        });
        digest.ok_or_else(|| Failure::new(format!("HEAD {url} has no Docker-Content-Digest")))
    }

    /// A manifest, parsed.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Result<serde_json::Value, Failure> {
        self.json(&format!("/v2/{repository}/manifests/{reference}"))
    }

    /// The tags of a repository, in the registry's order.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>, Failure> {
        Ok(strings(&self.json(&format!("/v2/{repository}/tags/list"))?["tags"]))
    }

    /// Every repository of the first page of the catalog.
    pub(super) fn catalog(&self) -> Result<Vec<String>, Failure> {
        Ok(strings(&self.json("/v2/_catalog?n=1000")?["repositories"]))
    }

    fn json(&self, path: &str) -> Result<serde_json::Value, Failure> {
        let body = self.get(path)?;
        serde_json::from_str(&body).map_err(|e| Failure::new(format!("GET {path}: {e} in {body:?}")))
    }
}

/// The strings of a JSON list; none for anything else.
pub(super) fn strings(list: &serde_json::Value) -> Vec<String> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
