//! Scrub: what is damaged is named and no longer served, what is whole is left alone, whatever happens to the store.

mod away;
mod brake;
mod damaged;
mod model;
mod orphans;
mod runs;
mod suspects;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use roadstead_metadata::records::damage::{self, Damaged, Kind};
use roadstead_oci::{Algorithm, Digest};
use roadstead_registry::Error;
use roadstead_storage::{Engine, Filesystem, Identity, Memory};
use roadstead_workers::{Reaper, Scrub, StepError, Worker};
use tempfile::TempDir;
use uuid::Uuid;

use crate::rig::{ME, REPOSITORY, Rig, key_of, once};

const HOUR: Duration = Duration::from_secs(3600);
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// A rig whose stores carry their identities, and a scrub that begins no run by itself.
struct Claimed {
    rig: Rig,
    scrub: Scrub,
    /// The root of the first store, when it is a directory.
    root: Option<TempDir>,
}

impl Deref for Claimed {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl Claimed {
    /// Over memory, with faults.
    async fn new() -> Self {
        Self::of(Rig::new().await, None).await
    }

    /// The first store is a directory.
    async fn on_disk() -> Self {
        let root = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Engine> = Arc::new(Filesystem::open(root.path()).unwrap());
        Self::of(Rig::over(disk, Arc::new(Memory::new())).await, Some(root)).await
    }

    async fn both() -> [Self; 2] {
        [Self::new().await, Self::on_disk().await]
    }

    async fn of(rig: Rig, root: Option<TempDir>) -> Self {
        for location in rig.registry.locations().iter() {
            let identity = Identity::new(Uuid::from_u128(9), location.id);
            Identity::claim(&*location.engine, &identity).await.unwrap();
        }
        let scrub = scrub(&rig);
        Self { rig, scrub, root }
    }

    async fn push(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let body = once(Bytes::copy_from_slice(bytes));
        let name = REPOSITORY.parse().unwrap();
        self.registry.push_blob(&ME, &name, digest, Some(bytes.len() as u64), body).await.unwrap();
        digest
    }

    async fn pull(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let blob = self.registry.open_blob(&ME, &REPOSITORY.parse().unwrap(), digest).await?;
        let body: Result<Vec<Bytes>, _> = blob.read(None).await?.try_collect().await;
        body.map(|chunks| chunks.concat()).map_err(|_| Error::Damaged("body".into()))
    }

    async fn head(&self, digest: &Digest) -> Result<u64, Error> {
        self.registry.blob_stat(&ME, &REPOSITORY.parse().unwrap(), digest).await
    }

    /// Keys of all objects of blobs in the first store.
    async fn blobs(&self) -> Vec<String> {
        let listed = self.location("eu").engine.list("blobs/", None, 10_000).await.unwrap();
        listed.into_iter().map(|object| object.key.to_string()).collect()
    }

    /// The key of the newest object of a blob.
    async fn key(&self, digest: &Digest) -> String {
        self.blobs().await.into_iter().filter(|key| key.contains(&digest.hex())).max().unwrap()
    }

    async fn bytes(&self, key: &str) -> Vec<u8> {
        let read = self.location("eu").engine.read(&key_of(key), None).await.unwrap();
        read.body.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    /// Puts other bytes where an object is or was, behind everybody's back.
    async fn overwrite(&self, key: &str, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.location("eu").engine.put_small(&key_of(key), bytes, false).await.unwrap();
    }

    async fn flip(&self, key: &str) {
        let mut bytes = self.bytes(key).await;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.overwrite(key, &bytes).await;
    }

    async fn remove(&self, key: &str) {
        self.location("eu").engine.delete(&key_of(key)).await.unwrap();
    }

    /// A whole run over all locations.
    async fn run(&self, deep: bool) -> Result<(), StepError> {
        self.scrub.begin(deep, None).await?.expect("no other run is under way");
        while self.is_running().await {
            self.scrub.step().await?;
        }
        Ok(())
    }

    async fn is_running(&self) -> bool {
        let states = self.scrub.state().await.unwrap();
        states.iter().filter_map(|state| state.last.as_ref()).any(|run| run.ended_at.is_none())
    }

    /// Steps until nothing is left to do, without a run.
    async fn rest(&self) {
        while self.scrub.step().await.unwrap().done > 0 {}
    }

    async fn reap(&self) {
        let reaper = Reaper::new(self.registry.clone());
        while reaper.step().await.unwrap().done > 0 {}
    }

    /// What is recorded as damaged, by key.
    async fn damaged(&self) -> Vec<Damaged> {
        damage::page(&*self.metadata, self.location("eu").id, "", 1000).await.unwrap()
    }

    async fn kinds(&self) -> Vec<(Digest, Kind)> {
        let mut kinds: Vec<_> = self.damaged().await.into_iter().map(|found| (found.digest, found.kind)).collect();
        kinds.sort();
        kinds
    }
}

/// A scrub as another process would run it.
fn scrub(rig: &Rig) -> Scrub {
    Scrub::new(rig.registry.clone()).with_interval(100 * GRACE)
}
