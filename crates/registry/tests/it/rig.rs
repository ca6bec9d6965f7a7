//! A registry over the memory engines, with a clock the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use roadstead_metadata::records::placement::{self, Placement};
use roadstead_metadata::records::{blob, repository};
use roadstead_metadata::{Batch, Freshness, Memory, Millis, Sql, Statement, migrate, schema};
use roadstead_oci::{Algorithm, Digest, Page, Reference, RepositoryName};
use roadstead_registry::{
    BodyError, ByteStream, Caller, Chunk, Clock, Everyone, Limits, ManifestPushed, Parts, Precondition, PutManifest,
    Registry, Result,
};
use roadstead_storage::{Engine, Location, Locations, Memory as MemoryStore, Scope};
use uuid::Uuid;

#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::SeqCst)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now() as u64)
    }
}

pub const ME: Caller = Caller::Anonymous;

pub struct Rig {
    pub registry: Arc<Registry>,
    pub sql: Arc<dyn Sql>,
    pub faults: Arc<Memory>,
    pub store: Arc<dyn Engine>,
    pub clock: Arc<TestClock>,
    pub location: Location,
    limits: Limits,
}

impl Rig {
    pub async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    pub async fn over(store: Arc<dyn Engine>) -> Self {
        Self::with(store, Limits::default()).await
    }

    pub async fn with(store: Arc<dyn Engine>, limits: Limits) -> Self {
        let memory = Arc::new(Memory::open().unwrap());
        let sql: Arc<dyn Sql> = memory.clone();
        migrate(&*sql, schema::MIGRATIONS, 1).await.unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(1_800_000_000_000)));
        let location =
            Location { name: "main".into(), id: Uuid::from_u128(7), scope: Scope::Shared, engine: store.clone() };
        let registry = start(&sql, &location, &clock, &limits).await;
        Self { registry, sql, faults: memory, store, clock, location, limits }
    }

    /// Another run of the registry over the same metadata and store.
    pub async fn restarted(&self) -> Arc<Registry> {
        start(&self.sql, &self.location, &self.clock, &self.limits).await
    }

    /// The same over metadata that the test put something around.
    pub async fn restarted_over(&self, sql: Arc<dyn Sql>) -> Arc<Registry> {
        start(&sql, &self.location, &self.clock, &self.limits).await
    }

    pub async fn objects(&self, prefix: &str) -> Vec<String> {
        let listed = self.store.list(prefix, None, 10_000).await.unwrap();
        listed.into_iter().map(|object| object.key.to_string()).collect()
    }

    /// Bytes in staged objects, acknowledged or not.
    pub async fn staged_bytes(&self) -> u64 {
        let listed = self.store.list("uploads/", None, 10_000).await.unwrap();
        listed.iter().map(|object| object.size).sum()
    }

    pub async fn push(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        self.registry.push_blob(&ME, &name(repository), digest, Some(bytes.len() as u64), body(bytes)).await.unwrap();
        digest
    }

    pub async fn pull(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>> {
        let mut stream = self.registry.open_blob(&ME, &name(repository), digest).await?.read(None).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    pub async fn put(&self, repository: &str, reference: &str, json: &serde_json::Value) -> Result<ManifestPushed> {
        let put = PutManifest {
            reference: reference.parse().unwrap(),
            content_type: None,
            tags: vec![],
            bytes: Bytes::from(json.to_string()),
            precondition: Precondition::default(),
        };
        self.registry.put_manifest(&ME, &name(repository), put).await
    }

    pub async fn tags(&self, repository: &str) -> Vec<String> {
        self.registry.tags(&ME, &name(repository), &Page::default()).await.unwrap().names
    }

    /// Makes blobs of one byte each known to a repository that exists, without their bytes.
    pub async fn link_all(&self, repository: &str, digests: &[Digest]) {
        let id = repository::find(&*self.sql, Freshness::Latest, repository).await.unwrap().unwrap();
        for some in digests.chunks(80) {
            let mut batch = Batch::new(Uuid::now_v7(), 5);
            for digest in some {
                let object_key = format!("blobs/sha256/{}", digest.hex());
                let copy = Placement { digest: *digest, location: self.location.id, object_key, size: 1 };
                batch.push(blob::arrive(digest, 1, 5)).extend(placement::put(&copy, 5));
                batch.push(blob::link(id, digest));
            }
            self.sql.commit(batch).await.unwrap();
        }
    }

    /// Carries out a statement of the test's own.
    pub async fn commit(&self, statement: &'static str) {
        let mut batch = Batch::new(Uuid::now_v7(), 5);
        batch.push(Statement::new(statement, vec![]));
        self.sql.commit(batch).await.unwrap();
    }

    /// Rows of a table, for what must not be left behind.
    pub async fn count(&self, statement: &'static str) -> i64 {
        let rows = self.sql.query(Freshness::Latest, Statement::new(statement, vec![])).await.unwrap();
        rows[0].integer(0).unwrap()
    }
}

async fn start(sql: &Arc<dyn Sql>, location: &Location, clock: &Arc<TestClock>, limits: &Limits) -> Arc<Registry> {
    let parts = Parts {
        sql: sql.clone(),
        locations: Locations::single(location.clone()),
        clock: clock.clone(),
        policy: Arc::new(Everyone),
        limits: limits.clone(),
    };
    Registry::start(parts).await.unwrap()
}

pub fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

/// A body in chunks of odd size.
pub fn body(bytes: &[u8]) -> ByteStream {
    let chunks: Vec<_> = bytes.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    futures::stream::iter(chunks).boxed()
}

/// A body that breaks off after its bytes.
pub fn broken(bytes: &[u8]) -> ByteStream {
    body(bytes).chain(futures::stream::iter([Err(BodyError::Broken("connection reset".into()))])).boxed()
}

pub fn length(bytes: &[u8]) -> Chunk {
    Chunk { range: None, length: Some(bytes.len() as u64) }
}

pub fn at(start: u64, bytes: &[u8]) -> Chunk {
    let text = format!("{start}-{}", start + bytes.len() as u64 - 1);
    Chunk { range: Some(text.parse().unwrap()), length: Some(bytes.len() as u64) }
}

/// An image manifest of a config and layers, each given as digest and size.
pub fn image(config: (&Digest, usize), layers: &[(&Digest, usize)]) -> serde_json::Value {
    let layers: Vec<_> = layers
        .iter()
        .map(|(digest, size)| serde_json::json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size}))
        .collect();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1},
        "layers": layers,
    })
}

/// Deterministic bytes.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
