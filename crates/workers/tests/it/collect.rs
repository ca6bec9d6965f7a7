//! The collector: what nothing names goes after its grace, and nothing else, whatever happens in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use roadstead_metadata::records::preview::{self, Cursor};
use roadstead_metadata::{Freshness, Sql, Statement};
use roadstead_oci::{Algorithm, Digest, Reference};
use roadstead_registry::{Error, Mount, Precondition, PutManifest};
use roadstead_workers::{Collect, Collection, Reaper, Totals, Turn, Worker};
use serde_json::json;
use tokio::time::advance;

use crate::rig::{ME, Rig, once};

const HOUR: Duration = Duration::from_secs(3600);
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// Collects and reaps until nothing is left to do: exactly what a preview told.
async fn collect(rig: &Rig) {
    let collect = Collect::new(rig.registry.clone()).with_period(Duration::ZERO);
    let collection = Collection::new(Arc::new(collect), Arc::new(Reaper::new(rig.registry.clone())));
    let told = preview(rig).await;
    let before = blobs(rig).await;
    let mut totals = Totals::default();
    let first = collection.turn(&mut totals).await.unwrap();
    assert_eq!(first, Turn::ClockUnproven(Duration::ZERO), "the first look at a clock tells nothing");
    while collection.turn(&mut totals).await.unwrap() == Turn::More {}
    let after = blobs(rig).await;
    assert_eq!(before.difference(&after).copied().collect::<BTreeSet<_>>(), told);
}

/// What the collector would remove now, asked in pages of two.
async fn preview(rig: &Rig) -> BTreeSet<Digest> {
    let before = rig.registry.clock().now() - GRACE.as_millis() as i64;
    let mut told = BTreeSet::new();
    let mut from = Some(Cursor::default());
    while let Some(cursor) = from {
        let (page, next) = preview::page(&*rig.metadata, before, cursor, 2).await.unwrap();
        for candidate in page {
            assert!(candidate.since <= before);
            assert!(told.insert(candidate.digest), "{} told twice", candidate.digest);
        }
        from = next;
    }
    told
}

async fn blobs(rig: &Rig) -> BTreeSet<Digest> {
    let all = Statement::new("SELECT digest FROM blob", vec![]);
    rig.metadata.query(Freshness::Latest, all).await.unwrap().iter().map(|row| row.digest(0).unwrap()).collect()
}

async fn push(rig: &Rig, repository: &str, bytes: &[u8]) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let body = once(Bytes::copy_from_slice(bytes));
    let name = repository.parse().unwrap();
    rig.registry.push_blob(&ME, &name, digest, Some(bytes.len() as u64), body).await.unwrap();
    digest
}

/// An image of layers of the repository, the first of which serves as its configuration too.
async fn put(rig: &Rig, repository: &str, tag: &str, layers: &[(Digest, usize)]) -> Result<Digest, Error> {
    let descriptor = |(digest, size): &(Digest, usize)| json!({"mediaType": "x/y", "digest": digest, "size": size});
    let image = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(&layers[0]), "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
    });
    let put = PutManifest {
        reference: tag.parse().unwrap(),
        content_type: None,
        tags: vec![],
        precondition: Precondition::default(),
        bytes: image.to_string().into(),
    };
    Ok(rig.registry.put_manifest(&ME, &repository.parse().unwrap(), put).await?.digest)
}

async fn pull(rig: &Rig, repository: &str, digest: &Digest) -> Result<Vec<u8>, Error> {
    let blob = rig.registry.open_blob(&ME, &repository.parse().unwrap(), digest).await?;
    Ok(blob.read(None).await?.try_collect::<Vec<Bytes>>().await.unwrap().concat())
}

async fn delete(rig: &Rig, repository: &str, digest: Digest) {
    let reference = Reference::Digest(digest);
    rig.registry.delete_manifest(&ME, &repository.parse().unwrap(), &reference).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_no_manifest_names_goes_after_its_grace() {
    let rig = Rig::new().await;
    let named = push(&rig, "a/b", b"named").await;
    push(&rig, "a/b", b"never named").await;
    put(&rig, "a/b", "v1", &[(named, 5)]).await.unwrap();
    advance(GRACE - HOUR).await;
    collect(&rig).await;
    assert_eq!(rig.objects("eu").await.len(), 2, "within the grace");
    advance(2 * HOUR).await;
    let worker = Collect::new(rig.registry.clone());
    assert_eq!(worker.waiting().await.unwrap().count, 1);
    let worker = worker.with_period(Duration::ZERO);
    assert_eq!(worker.step().await.unwrap().done, 0, "the first look at a clock tells nothing");
    let progress = worker.step().await.unwrap();
    assert_eq!((progress.done, progress.bytes, progress.backlog), (2, 11, Some(0)), "the link and the blob");
    collect(&rig).await;
    assert_eq!(worker.waiting().await.unwrap().count, 0);
    assert_eq!(rig.objects("eu").await.len(), 1);
    assert_eq!(pull(&rig, "a/b", &named).await.unwrap(), b"named");
    for table in ["blob", "repository_blob", "placement"] {
        let count: &'static str = match table {
            "blob" => "SELECT count(*) FROM blob",
            "placement" => "SELECT count(*) FROM placement",
            _ => "SELECT count(*) FROM repository_blob",
        };
        assert_eq!(rig.count(count).await, 1, "{table}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_manifest_frees_what_it_alone_named() {
    let rig = Rig::new().await;
    let shared = push(&rig, "a/b", b"shared").await;
    let own = push(&rig, "a/b", b"own").await;
    let first = put(&rig, "a/b", "first", &[(shared, 6), (own, 3)]).await.unwrap();
    put(&rig, "a/b", "second", &[(shared, 6)]).await.unwrap();
    advance(10 * GRACE).await;
    collect(&rig).await;
    assert_eq!(rig.objects("eu").await.len(), 2, "all of it is named");
    delete(&rig, "a/b", first).await;
    collect(&rig).await;
    assert_eq!(rig.objects("eu").await.len(), 2, "the grace begins with the deletion");
    advance(GRACE + HOUR).await;
    collect(&rig).await;
    assert!(matches!(pull(&rig, "a/b", &own).await, Err(Error::BlobUnknown(_))));
    assert_eq!(pull(&rig, "a/b", &shared).await.unwrap(), b"shared");
    assert_eq!(rig.objects("eu").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_relies_on_a_blob_keeps_it() {
    let rig = Rig::new().await;
    let name = "a/b".parse().unwrap();
    let headed = push(&rig, "a/b", b"headed").await;
    let mounted = push(&rig, "a/b", b"mounted").await;
    let again = push(&rig, "a/b", b"again").await;
    let lost = push(&rig, "a/b", b"lost").await;
    advance(GRACE - HOUR).await;
    assert_eq!(rig.registry.blob_stat(&ME, &name, &headed).await.unwrap(), 6);
    let to = "c/d".parse().unwrap();
    assert_eq!(rig.registry.mount_blob(&ME, &to, &mounted, Some(&name)).await.unwrap(), Mount::Mounted);
    push(&rig, "a/b", b"again").await;
    advance(2 * HOUR).await;
    collect(&rig).await;
    put(&rig, "a/b", "v1", &[(headed, 6), (again, 5)]).await.unwrap();
    put(&rig, "c/d", "v1", &[(mounted, 7)]).await.unwrap();
    assert_eq!(pull(&rig, "c/d", &mounted).await.unwrap(), b"mounted");
    // And who comes too late is told so, and uploads.
    assert!(matches!(rig.registry.blob_stat(&ME, &name, &lost).await, Err(Error::BlobUnknown(_))));
    assert_eq!(rig.registry.mount_blob(&ME, &to, &lost, Some(&name)).await.unwrap(), Mount::NotMounted);
    assert!(matches!(put(&rig, "a/b", "v2", &[(lost, 4)]).await, Err(Error::ManifestBlobUnknown(_))));
    push(&rig, "a/b", b"lost").await;
    put(&rig, "a/b", "v2", &[(lost, 4)]).await.unwrap();
    assert_eq!(pull(&rig, "a/b", &lost).await.unwrap(), b"lost");
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_was_deleted_goes_after_its_grace_unless_it_comes_back() {
    let rig = Rig::new().await;
    let name = "a/b".parse().unwrap();
    let (gone, back) = (push(&rig, "a/b", b"gone").await, push(&rig, "a/b", b"back").await);
    advance(10 * GRACE).await;
    for digest in [gone, back] {
        rig.registry.delete_blob(&ME, &name, &digest).await.unwrap();
    }
    collect(&rig).await;
    assert_eq!(rig.objects("eu").await.len(), 2, "within the grace");
    push(&rig, "a/b", b"back").await;
    put(&rig, "a/b", "v1", &[(back, 4)]).await.unwrap();
    advance(GRACE + HOUR).await;
    collect(&rig).await;
    assert_eq!(pull(&rig, "a/b", &back).await.unwrap(), b"back");
    assert_eq!(rig.objects("eu").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_hint_is_put_right_and_removes_nothing() {
    let rig = Rig::new().await;
    let named = push(&rig, "a/b", b"named").await;
    put(&rig, "a/b", "v1", &[(named, 5)]).await.unwrap();
    advance(10 * GRACE).await;
    let wrong = |sql| roadstead_metadata::Statement::new(sql, vec![]);
    rig.commit([wrong("UPDATE repository_blob SET unused_since = 0"), wrong("UPDATE blob SET doomed_at = 0")]).await;
    collect(&rig).await;
    assert_eq!(pull(&rig, "a/b", &named).await.unwrap(), b"named");
    assert_eq!(rig.count("SELECT count(*) FROM repository_blob WHERE unused_since IS NOT NULL").await, 0);
    assert_eq!(rig.count("SELECT count(*) FROM blob WHERE doomed_at IS NOT NULL").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_kept_as_a_blob_is_used_by_itself() {
    let rig = Rig::new().await;
    let config = push(&rig, "a/b", b"{}").await;
    let mut image = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "x/y", "digest": config, "size": 2}, "layers": [],
    });
    image["annotations"] = json!({"large": "A".repeat(100_000)});
    let bytes = Bytes::from(image.to_string());
    let put = PutManifest {
        reference: "v1".parse().unwrap(),
        content_type: None,
        tags: vec![],
        precondition: Precondition::default(),
        bytes: bytes.clone(),
    };
    let name = "a/b".parse().unwrap();
    let pushed = rig.registry.put_manifest(&ME, &name, put).await.unwrap().digest;
    advance(10 * GRACE).await;
    collect(&rig).await;
    assert_eq!(rig.registry.manifest(&ME, &name, &"v1".parse().unwrap()).await.unwrap().bytes, bytes);
    delete(&rig, "a/b", pushed).await;
    advance(GRACE + HOUR).await;
    collect(&rig).await;
    assert_eq!(rig.objects("eu").await, Vec::<String>::new());
}

/// Thousands of pushes, mounts, deletions and collections in a random order, against what must be there: everything
/// that an acknowledged image names, at any time. And at the end, when nothing is named any more, nothing is left.
#[tokio::test(start_paused = true)]
async fn whatever_the_order_no_image_breaks_and_nothing_is_left() {
    const REPOSITORIES: [&str; 3] = ["a/one", "a/two", "b/three"];
    for seed in 1..=4u64 {
        let rig = Rig::new().await;
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut images: BTreeMap<(usize, String), (Digest, BTreeSet<u64>)> = BTreeMap::new();
        let bytes = |blob: u64| format!("blob {blob}").into_bytes();
        for _ in 0..600 {
            let repository = draw(3) as usize;
            let name = REPOSITORIES[repository];
            match draw(10) {
                0..=3 => {
                    let blobs: BTreeSet<u64> = (0..1 + draw(3)).map(|_| draw(12)).collect();
                    let mut layers = Vec::new();
                    for blob in &blobs {
                        let digest = Digest::of(Algorithm::Sha256, &bytes(*blob));
                        let from = REPOSITORIES[draw(3) as usize].parse().unwrap();
                        let to = name.parse().unwrap();
                        // A client asks, then tries to mount, then uploads.
                        let there = rig.registry.blob_stat(&ME, &to, &digest).await.is_ok()
                            || rig.registry.mount_blob(&ME, &to, &digest, Some(&from)).await.unwrap() == Mount::Mounted;
                        if !there {
                            push(&rig, name, &bytes(*blob)).await;
                        }
                        layers.push((digest, bytes(*blob).len()));
                        if draw(4) == 0 {
                            collect(&rig).await;
                        }
                    }
                    let tag = format!("t{}", draw(4));
                    let digest = put(&rig, name, &tag, &layers).await.unwrap();
                    images.insert((repository, digest.to_string()), (digest, blobs));
                }
                4 => drop(push(&rig, name, &bytes(draw(12))).await),
                5 => {
                    let digest = Digest::of(Algorithm::Sha256, &bytes(draw(12)));
                    // Refused while an image names it.
                    let _ = rig.registry.delete_blob(&ME, &name.parse().unwrap(), &digest).await;
                }
                6 => {
                    let chosen = images.keys().nth(draw(images.len().max(1) as u64) as usize).cloned();
                    if let Some(key) = chosen {
                        let (digest, _) = images.remove(&key).unwrap();
                        delete(&rig, REPOSITORIES[key.0], digest).await;
                    }
                }
                7 => advance(Duration::from_secs(draw(40) * 3600)).await,
                _ => collect(&rig).await,
            }
        }
        for ((repository, _), (digest, blobs)) in &images {
            let name = REPOSITORIES[*repository];
            let reference = Reference::Digest(*digest);
            rig.registry.manifest(&ME, &name.parse().unwrap(), &reference).await.unwrap();
            for blob in blobs {
                let digest = Digest::of(Algorithm::Sha256, &bytes(*blob));
                assert_eq!(pull(&rig, name, &digest).await.unwrap(), bytes(*blob), "seed {seed}");
            }
        }
        for ((repository, _), (digest, _)) in images {
            delete(&rig, REPOSITORIES[repository], digest).await;
        }
        for _ in 0..3 {
            advance(GRACE + HOUR).await;
            collect(&rig).await;
        }
        assert_eq!(rig.objects("eu").await, Vec::<String>::new(), "seed {seed}");
        assert_eq!(rig.count("SELECT count(*) FROM blob").await, 0);
        assert_eq!(rig.count("SELECT count(*) FROM reap").await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumped_collects_nothing() {
    let rig = Rig::new().await;
    let fresh = push(&rig, "a/b", b"fresh").await;
    let worker = Collect::new(rig.registry.clone()).with_period(HOUR);
    for _ in 0..3 {
        worker.step().await.unwrap();
        advance(HOUR).await;
    }
    rig.clock.jump(10 * 24 * 3600 * 1000);
    for _ in 0..3 {
        assert_eq!(worker.step().await.unwrap().done, 0);
        advance(Duration::from_secs(60)).await;
    }
    rig.clock.jump(-10 * 24 * 3600 * 1000);
    put(&rig, "a/b", "v1", &[(fresh, 5)]).await.unwrap();
    assert_eq!(pull(&rig, "a/b", &fresh).await.unwrap(), b"fresh");
}
