//! The registry as a plain HTTP request sees it, so that no client is believed about itself.

use std::net::SocketAddr;

use roadstead_testkit::{Body, Client, Request, Response};
use serde_json::Value;

use crate::stage::Failure;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry on this machine, without TLS and without authentication.
pub(super) struct Registry {
    client: Client,
    host: String,
}

impl Registry {
    pub(super) fn at(addr: SocketAddr) -> Self {
        Self { client: Client::new(addr), host: addr.to_string() }
    }

    /// `HOST:PORT`.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The status of a GET, whatever it is.
    pub(super) fn status(&self, path: &str) -> Result<u16, Failure> {
        Ok(self.request("GET", path)?.status)
    }

    /// `Docker-Content-Digest` of a manifest.
    pub(super) fn digest(&self, repository: &str, reference: &str) -> Result<String, Failure> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let response = self.request("HEAD", &path)?;
        match (response.status, response.header("docker-content-digest")) {
            (200, Some(digest)) => Ok(digest.to_owned()),
            (status, digest) => Err(Failure::new(format!("HEAD {path}: {status}, Docker-Content-Digest {digest:?}"))),
        }
    }

    /// A manifest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Result<Value, Failure> {
        self.json(&format!("/v2/{repository}/manifests/{reference}"))
    }

    /// The digests of what is listed as referring to a manifest, of one artifact type or of all.
    pub(super) fn referrers(&self, repository: &str, digest: &str, filter: &str) -> Result<Vec<String>, Failure> {
        let listed = self.json(&format!("/v2/{repository}/referrers/{digest}{filter}"))?;
        Ok(listed["manifests"].as_array().into_iter().flatten().map(|found| text(&found["digest"])).collect())
    }

    /// The tags of a repository, in the registry's order.
    pub(super) fn tags(&self, repository: &str) -> Result<Vec<String>, Failure> {
        let listed = self.json(&format!("/v2/{repository}/tags/list"))?;
        Ok(listed["tags"].as_array().into_iter().flatten().map(text).collect())
    }

    /// Every repository of the first page of the catalog.
    pub(super) fn catalog(&self) -> Result<Vec<String>, Failure> {
        let listed = self.json("/v2/_catalog?n=1000")?;
        Ok(listed["repositories"].as_array().into_iter().flatten().map(text).collect())
    }

    /// How many pulls it sent to the store so far, by its own count. None where it does not count.
    pub(super) fn redirected(&self) -> Result<u64, Failure> {
        let metrics = self.request("GET", "/metrics")?;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let sent = metrics.lines().filter(|line| line.starts_with("roadstead_http_requests_total{"));
        let sent = sent.filter(|line| line.contains(r#"status="307""#));
        Ok(sent.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    fn json(&self, path: &str) -> Result<Value, Failure> {
        let response = self.request("GET", path)?;
        match response.status {
            200 => Ok(response.json()),
            status => Err(Failure::new(format!("GET {path}: {status} {}", String::from_utf8_lossy(&response.body)))),
        }
    }

    fn request(&self, method: &str, path: &str) -> Result<Response, Failure> {
        let request = Request::new(method, path).header("Accept", MANIFEST_TYPES);
        self.client.send(&request, Body::None).map_err(|refused| Failure::new(format!("{method} {path}: {refused}")))
    }
}

/// A JSON string; empty for anything else.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
