//! Everything at once, in a random order: pushes whole and in flight, deletions, damage, the collector, the reaper and
//! scrub, against what must be there.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_metadata::records::placement::Placement;
use roadstead_oci::Reference;
use roadstead_registry::{Precondition, PutManifest};
use roadstead_workers::Collect;
use serde_json::json;
use tokio::time::{Instant, advance};

use super::orphans::{acknowledge, publish};
use super::*;

const BLOBS: u64 = 10;
/// For longer no push holds on to what it published: a commit is retried for an hour at most.
const LONGEST_FLIGHT: Duration = Duration::from_secs(40 * 3600);

fn content(blob: u64) -> Vec<u8> {
    format!("blob {blob} {}", "x".repeat(blob as usize * 100)).into_bytes()
}

fn digest(blob: u64) -> Digest {
    Digest::of(Algorithm::Sha256, &content(blob))
}

/// A blob is pinned by an image of it alone, so that the collector leaves it.
async fn pin(rig: &Claimed, blob: u64) -> Result<Digest, Error> {
    let descriptor = json!({"mediaType": "x/y", "digest": digest(blob), "size": content(blob).len()});
    let image = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor, "layers": [],
    });
    let put = PutManifest {
        reference: format!("b{blob}").parse().unwrap(),
        content_type: None,
        tags: vec![],
        precondition: Precondition::default(),
        bytes: image.to_string().into(),
    };
    Ok(rig.registry.put_manifest(&ME, &REPOSITORY.parse().unwrap(), put).await?.digest)
}

struct Flying {
    blob: u64,
    placement: Placement,
    at: Instant,
}

struct World {
    rig: Claimed,
    collect: Collect,
    random: u64,
    /// The image of each blob that has one.
    images: BTreeMap<u64, Digest>,
    /// Blobs of which an object was damaged since they were last pushed.
    doubtful: BTreeSet<u64>,
    /// Pushes that have published and not committed.
    flying: Vec<Flying>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let rig = Claimed::new().await;
        rig.push(b"makes the repository").await;
        let collect = Collect::new(rig.registry.clone()).with_period(Duration::ZERO);
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { rig, collect, random, images: BTreeMap::new(), doubtful: BTreeSet::new(), flying: Vec::new() }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    async fn act(&mut self, number: u32) {
        let blob = self.draw(BLOBS);
        self.flying.retain(|push| push.at.elapsed() < LONGEST_FLIGHT);
        match self.draw(16) {
            0..=3 => {
                if self.rig.head(&digest(blob)).await.is_err() {
                    self.rig.push(&content(blob)).await;
                }
                // Not pushed anew: a HEAD that found a copy of the right size says nothing about its bytes.
                self.images.insert(blob, pin(&self.rig, blob).await.unwrap());
            }
            4 => {
                self.rig.push(&content(blob)).await;
                self.doubtful.remove(&blob);
                self.images.insert(blob, pin(&self.rig, blob).await.unwrap());
            }
            5 | 6 => {
                let placement = publish(&self.rig, &content(blob), number).await;
                self.flying.push(Flying { blob, placement, at: Instant::now() });
            }
            7 | 8 => {
                if self.flying.is_empty() {
                    return;
                }
                let chosen = self.draw(self.flying.len() as u64) as usize;
                let Flying { blob, placement, .. } = self.flying.swap_remove(chosen);
                if acknowledge(&self.rig, &placement).await.is_ok() {
                    self.doubtful.remove(&blob);
                    self.images.insert(blob, pin(&self.rig, blob).await.unwrap());
                }
            }
            9 => {
                if let Some(image) = self.images.remove(&blob) {
                    let reference = Reference::Digest(image);
                    self.rig.registry.delete_manifest(&ME, &REPOSITORY.parse().unwrap(), &reference).await.unwrap();
                }
            }
            10 => self.damage(blob).await,
            11 => {
                let hours = self.draw(30);
                advance(HOUR * hours as u32).await;
            }
            12 => drop(self.rig.scrub.begin(blob.is_multiple_of(2), None).await.unwrap()),
            13 => drop(self.collect.step().await.unwrap()),
            14 => self.rig.reap().await,
            _ => {
                self.rig.scrub.step().await.unwrap();
            }
        }
    }

    /// Flips, cuts or removes an object of a blob.
    async fn damage(&mut self, blob: u64) {
        let flying: Vec<&String> = self.flying.iter().map(|push| &push.placement.object_key).collect();
        let keys = self.rig.blobs().await;
        let found = keys.iter().find(|key| key.contains(&digest(blob).hex()) && !flying.contains(key));
        let Some(key) = found.cloned() else { return };
        match self.draw(3) {
            0 => self.rig.flip(&key).await,
            1 => self.rig.overwrite(&key, b"cut").await,
            _ => self.rig.remove(&key).await,
        }
        self.doubtful.insert(blob);
    }

    async fn check(&self, seed: u64) {
        for blob in self.images.keys() {
            let damaged = self.doubtful.contains(blob);
            match self.rig.pull(&digest(*blob)).await {
                Ok(bytes) => assert!(damaged || bytes == content(*blob), "seed {seed}: wrong bytes of blob {blob}"),
                Err(error) => assert!(damaged, "seed {seed}: blob {blob}, which is whole: {error}"),
            }
        }
    }

    /// Nothing is named any more, and nothing is left.
    async fn end(mut self, seed: u64) {
        self.rig.run_to_end().await;
        self.rig.run(true).await.unwrap();
        for blob in self.images.keys() {
            let pulled = self.rig.pull(&digest(*blob)).await;
            assert!(pulled.is_err() || pulled.unwrap() == content(*blob), "seed {seed}: wrong bytes after scrub");
        }
        let repository = REPOSITORY.parse().unwrap();
        for image in std::mem::take(&mut self.images).into_values() {
            self.rig.registry.delete_manifest(&ME, &repository, &Reference::Digest(image)).await.unwrap();
        }
        for _ in 0..4 {
            advance(GRACE + HOUR).await;
            while self.collect.step().await.unwrap().done > 0 {}
            self.rig.run(true).await.unwrap();
            self.rig.rest().await;
            self.rig.reap().await;
        }
        assert_eq!(self.rig.blobs().await, Vec::<String>::new(), "seed {seed}");
        for table in ["blob", "placement", "owed", "damage", "reap"] {
            let count: &'static str = match table {
                "blob" => "SELECT count(*) FROM blob",
                "placement" => "SELECT count(*) FROM placement",
                "owed" => "SELECT count(*) FROM owed",
                "damage" => "SELECT count(*) FROM damage",
                _ => "SELECT count(*) FROM reap",
            };
            assert_eq!(self.rig.count(count).await, 0, "seed {seed}: {table}");
        }
    }
}

impl Claimed {
    async fn run_to_end(&self) {
        while self.is_running().await {
            self.scrub.step().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_order_no_whole_blob_is_lost_and_nothing_is_left() {
    for seed in 1..=12 {
        let mut world = World::new(seed).await;
        for number in 0..400 {
            world.act(number).await;
            if number % 20 == 0 {
                world.check(seed).await;
            }
        }
        world.check(seed).await;
        world.end(seed).await;
    }
}
