//! The OCI API over memory engines, and a client that speaks to it.

use std::sync::Arc;

use roadstead_http::OciApi;
use roadstead_metadata::{Memory, Sql, migrate, schema};
use roadstead_oci::{Algorithm, Digest};
use roadstead_registry::{Clock, Everyone, Limits, Parts, Policy, Registry, SystemClock};
use roadstead_storage::{Engine, Location, Locations, Memory as MemoryStore, Scope};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::wire::{Answer, Running};

/// A registry that runs, and the engines below it.
pub(crate) struct Api {
    pub(crate) server: Running,
    pub(crate) metadata: Arc<Memory>,
    pub(crate) store: Arc<dyn Engine>,
}

/// What a registry is made of that keeps its bytes in `engine`.
pub(crate) fn parts(
    sql: Arc<dyn Sql>,
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    policy: Arc<dyn Policy>,
) -> Parts {
    let location = Location { name: "main".into(), id: Uuid::from_u128(7), scope: Scope::Shared, engine };
    Parts { sql, locations: Locations::single(location), clock, policy, limits: Limits::default() }
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::over(Arc::new(MemoryStore::new()), |api| api).await
    }

    pub(crate) async fn over(store: Arc<dyn Engine>, change: impl FnOnce(OciApi) -> OciApi) -> Self {
        let metadata = Arc::new(Memory::open().unwrap());
        let sql: Arc<dyn Sql> = metadata.clone();
        migrate(&*sql, schema::MIGRATIONS, 1).await.unwrap();
        let parts = parts(sql, store.clone(), Arc::new(SystemClock::new()), Arc::new(Everyone));
        let api = change(OciApi::new(Registry::start(parts).await.unwrap()));
        Self { server: Running::start(api.router(), |_| {}).await, metadata, store }
    }

    /// One request on a connection of its own. A body is sent with its length.
    pub(crate) async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut client = self.server.connect().await;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        client.send_bytes(&[head.as_bytes(), body].concat()).await;
        if method == "HEAD" { client.head().await.unwrap() } else { client.answer().await }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"").await
    }

    /// Pushes a blob in one request.
    pub(crate) async fn push(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = sha256(content);
        let answer = self.call("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], content).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        digest
    }

    /// Pushes an image of two blobs under a tag.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str) -> (Vec<u8>, Digest) {
        self.push(repository, b"{}").await;
        self.push(repository, b"layer").await;
        let manifest = image().to_string().into_bytes();
        let answer = self.put_manifest(repository, tag, &manifest).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let digest = sha256(&manifest);
        (manifest, digest)
    }

    pub(crate) async fn put_manifest(&self, repository: &str, reference: &str, manifest: &[u8]) -> Answer {
        let kind = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
        self.call("PUT", &format!("/v2/{repository}/manifests/{reference}"), &kind, manifest).await
    }

    /// The objects in the store.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let listed = self.store.list("", None, 1000).await.unwrap();
        listed.into_iter().map(|object| object.key.to_string()).collect()
    }
}

pub(crate) fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// The manifest of the image of [`Api::push_image`].
pub(crate) fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/octet-stream", "digest": sha256(b"layer"), "size": 5}],
    })
}

/// The code of an error answer.
pub(crate) fn code(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}
