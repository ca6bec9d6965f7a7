//! Copies whose bytes are not those of their blob: a pull never gets all of them.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_registry::{Action, Caller, Error, Limits, Making, Parts, Permit, Policy, Registry};
use roadstead_storage::{
    Engine, Error as StorageError, Extend, Listed, Memory, ObjectKey, ObjectRead, ObjectStat, Part, Version, Writer,
};

use crate::rig::{ME, Rig, body, image, length, name, noise, reference};

/// A store that says of every object what it is told to say.
#[derive(Debug)]
struct Vouching {
    inner: Memory,
    says: Mutex<Option<Version>>,
}

const SAME: Version = Version::new([1; 4]);
const OTHER: Version = Version::new([2; 4]);

impl Vouching {
    fn new(says: Option<Version>) -> Arc<Self> {
        Arc::new(Self { inner: Memory::new(), says: Mutex::new(says) })
    }

    fn say(&self, version: Option<Version>) {
        *self.says.lock() = version;
    }

    /// Puts other bytes into every blob.
    async fn tamper(&self, chunks: &[Bytes]) {
        for listed in self.inner.list("blobs/", None, 10).await.unwrap() {
            self.inner.delete(&listed.key).await.unwrap();
            let mut writer = self.inner.writer(&listed.key).await.unwrap();
            writer.write(chunks.to_vec()).await.unwrap();
            writer.finish().await.unwrap();
        }
    }
}

struct Finishing(Box<dyn Writer>, Option<Version>);

#[async_trait]
impl Writer for Finishing {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), StorageError> {
        self.0.write(chunks).await
    }
    fn sync(&mut self) -> futures::future::BoxFuture<'static, Result<(), StorageError>> {
        self.0.sync()
    }
    async fn finish(self: Box<Self>) -> Result<ObjectStat, StorageError> {
        Ok(ObjectStat { version: self.1, ..self.0.finish().await? })
    }
    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.0.abort().await
    }
}

#[async_trait]
impl Engine for Vouching {
    fn kind(&self) -> &'static str {
        "vouching"
    }
    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, StorageError> {
        let stat = self.inner.stat(key).await?;
        Ok(ObjectStat { version: *self.says.lock(), ..stat })
    }
    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, StorageError> {
        let read = self.inner.read(key, range).await?;
        Ok(ObjectRead { version: *self.says.lock(), ..read })
    }
    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, StorageError> {
        let inner = self.inner.writer(key).await?;
        Ok(Box::new(Finishing(inner, *self.says.lock())))
    }
    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), StorageError> {
        self.inner.compose(parts, key).await
    }
    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, StorageError> {
        self.inner.list(prefix, after, limit).await
    }
    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), StorageError> {
        self.inner.put_small(key, bytes, only_if_absent).await
    }
    async fn probe(&self) -> Result<(), StorageError> {
        self.inner.probe().await
    }
    fn extend(&self) -> Option<&dyn Extend> {
        self.inner.extend()
    }
}

/// Bytes in chunks that are hashed in place and elsewhere.
fn chunks(bytes: &[u8], size: usize) -> Vec<Bytes> {
    bytes.chunks(size).map(Bytes::copy_from_slice).collect()
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = !bytes[at];
    bytes
}

/// What a pull gets before it ends, and whether it ends well.
async fn pulled(registry: &Arc<Registry>, digest: &Digest, range: Option<Range<u64>>) -> (Vec<u8>, bool) {
    let blob = registry.open_blob(&ME, &name("a/b"), digest).await.unwrap();
    let mut stream = match blob.read(range).await {
        Ok(stream) => stream,
        Err(Error::Damaged(_)) => return (Vec::new(), false),
        Err(other) => panic!("{other}"),
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => {
                assert!(stream.next().await.is_none(), "an error ends the body");
                return (bytes, false);
            }
        }
    }
    (bytes, true)
}

#[tokio::test]
async fn no_pull_gets_all_bytes_of_a_copy_that_has_others() {
    let store = Vouching::new(None);
    let rig = Rig::over(store.clone()).await;
    // Chunks small and large, one and many.
    for (size, chunk) in [(1, 1), (5_000, 5_000), (5_000, 700), (300_000, 64 << 10), (300_000, 300_000)] {
        let bytes = noise(size as u64, size);
        let digest = rig.push("a/b", &bytes).await;
        rig.registry.suspects().take(10);
        for at in [0, size / 2, size - 1] {
            store.tamper(&chunks(&flipped(&bytes, at), chunk)).await;
            let (got, whole) = pulled(&rig.registry, &digest, None).await;
            assert!(!whole && got.len() < size, "{} of {size} bytes, flipped at {at}", got.len());
            assert_eq!(got.is_empty(), chunk >= size, "what fits into one chunk is refused before it begins");
            assert_eq!(rig.registry.suspects().take(10).len(), 1, "and scrub is told");
        }
        // Resumed from the start is all of it, too.
        let (got, whole) = pulled(&rig.registry, &digest, Some(0..size as u64)).await;
        assert!(!whole && got.len() < size);
        store.tamper(&chunks(&bytes, chunk)).await;
        assert_eq!(pulled(&rig.registry, &digest, None).await, (bytes, true));
        rig.registry.delete_blob(&ME, &name("a/b"), &digest).await.unwrap();
        rig.store.delete(&ObjectKey::new(rig.objects("blobs/").await.remove(0)).unwrap()).await.unwrap();
    }
}

/// Other bytes than the blob's are served only by a copy that nobody hashes any more.
async fn hashes(rig: &Rig, registry: &Arc<Registry>, store: &Vouching, bytes: &[u8], digest: &Digest) -> bool {
    store.tamper(&chunks(&flipped(bytes, 0), 1000)).await;
    let (_, whole) = pulled(registry, digest, None).await;
    store.tamper(&chunks(bytes, 1000)).await;
    rig.registry.suspects().take(10);
    !whole
}

#[tokio::test]
async fn a_copy_is_hashed_once_while_its_store_vouches_for_it() {
    let (store, bytes) = (Vouching::new(Some(SAME)), noise(1, 5_000));
    let rig = Rig::over(store.clone()).await;
    let digest = rig.push("a/b", &bytes).await;
    assert!(!hashes(&rig, &rig.registry, &store, &bytes, &digest).await, "hashed on its way in");

    let registry = rig.restarted().await;
    assert!(hashes(&rig, &registry, &store, &bytes, &digest).await, "another process knows nothing");
    assert_eq!(pulled(&registry, &digest, Some(0..10)).await.0, bytes[..10]);
    assert!(hashes(&rig, &registry, &store, &bytes, &digest).await, "a range proves nothing");
    assert!(pulled(&registry, &digest, None).await.1);
    assert!(!hashes(&rig, &registry, &store, &bytes, &digest).await, "hashed by a pull");

    store.say(Some(OTHER));
    assert!(hashes(&rig, &registry, &store, &bytes, &digest).await, "touched");
    assert_eq!(pulled(&registry, &digest, None).await, (bytes.clone(), true), "touched, but equal");
    assert!(!hashes(&rig, &registry, &store, &bytes, &digest).await);

    store.say(None);
    assert!(pulled(&registry, &digest, None).await.1);
    assert!(hashes(&rig, &registry, &store, &bytes, &digest).await, "a store that cannot tell");
}

#[tokio::test]
async fn what_a_session_staged_is_known_if_this_process_hashed_it() {
    for restarted in [false, true] {
        let (store, bytes) = (Vouching::new(Some(SAME)), noise(1, 5_000));
        let rig = Rig::over(store.clone()).await;
        let digest = crate::rig::sha256(&bytes);
        let session = rig.registry.start_upload(&ME, &name("a/b"), Algorithm::Sha256).await.unwrap().session;
        let part = &bytes[..2_000];
        rig.registry.append_upload(&ME, &name("a/b"), &session, length(part), body(part)).await.unwrap();
        let registry = if restarted { rig.restarted().await } else { rig.registry.clone() };
        let rest = &bytes[2_000..];
        registry.finish_upload(&ME, &name("a/b"), &session, digest, length(rest), body(rest)).await.unwrap();
        registry.settled().await;
        assert_eq!(hashes(&rig, &registry, &store, &bytes, &digest).await, restarted);
    }
}

#[tokio::test]
async fn a_manifest_that_is_kept_as_a_blob_is_verified_too() {
    let store = Vouching::new(None);
    let rig = Rig::over(store.clone()).await;
    let config = rig.push("a/b", b"{}").await;
    let mut json = image((&config, 2), &[]);
    json["annotations"] = serde_json::json!({"large": "A".repeat(100 << 10)});
    rig.put("a/b", "v1", &json).await.unwrap();
    let bytes = json.to_string().into_bytes();
    for at in [0, bytes.len() - 1] {
        store.tamper(&chunks(&flipped(&bytes, at), 64 << 10)).await;
        let found = rig.registry.manifest(&ME, &name("a/b"), &reference("v1")).await;
        assert!(matches!(found, Err(Error::Damaged(_))));
    }
    store.tamper(&chunks(&bytes, 64 << 10)).await;
    assert_eq!(rig.registry.manifest(&ME, &name("a/b"), &reference("v1")).await.unwrap().bytes, bytes);
}

/// Pulls for everybody, pushes for nobody.
#[derive(Debug)]
struct Readers;

impl Policy for Readers {
    fn at_once(&self, _: &Caller, action: Action, _: &RepositoryName) -> Option<Result<Permit, Error>> {
        let permit = Permit { making: Making::Nowhere };
        Some(if action == Action::Pull { Ok(permit) } else { Err(Error::Unauthorized) })
    }
}

#[tokio::test]
async fn a_blob_without_a_copy_is_unknown_to_a_pusher_and_damaged_to_a_reader() {
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"no copy left").await;
    let readers = Registry::start(Parts {
        sql: rig.sql.clone(),
        locations: rig.registry.locations().clone(),
        clock: rig.clock.clone(),
        policy: Arc::new(Readers),
        limits: Limits::default(),
    });
    let readers = readers.await.unwrap();
    assert_eq!(readers.blob_stat(&ME, &name("a/b"), &digest).await.unwrap(), 12);
    rig.commit("DELETE FROM placement").await;
    assert!(matches!(readers.blob_stat(&ME, &name("a/b"), &digest).await, Err(Error::Damaged(_))));
    assert!(matches!(rig.registry.blob_stat(&ME, &name("a/b"), &digest).await, Err(Error::BlobUnknown(_))));
    for registry in [&readers, &rig.registry] {
        assert!(matches!(registry.open_blob(&ME, &name("a/b"), &digest).await, Err(Error::Damaged(_))));
    }
}
