//! Manifests that nothing holds, under a policy that lets them go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::records::untagged;
use roadstead_metadata::{Freshness, Sql, Statement};
use roadstead_oci::{Algorithm, Digest, Reference};
use roadstead_registry::{Precondition, PutManifest};
use roadstead_workers::{Collect, Collection, Reaper, Totals, Turn};
use serde_json::{Value, json};
use tokio::time::advance;

use crate::rig::{ME, REPOSITORY, Rig, once};

const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn collection(rig: &Rig, kept: Option<Duration>) -> Collection {
    let collect = Collect::new(rig.registry.clone()).with_period(Duration::ZERO).with_untagged(kept);
    Collection::new(Arc::new(collect), Arc::new(Reaper::new(rig.registry.clone())))
}

/// Collects until nothing is left; how many manifests went.
async fn collect(rig: &Rig, kept: Option<Duration>) -> u64 {
    let collection = collection(rig, kept);
    let (mut told, mut page) = (0, None);
    loop {
        let (going, next) = collection.preview_manifests(page.as_ref()).await.unwrap();
        told += going.len() as u64;
        match next {
            Some(next) => page = Some(next),
            None => break,
        }
    }
    let mut totals = Totals::default();
    assert!(matches!(collection.turn(&mut totals).await.unwrap(), Turn::ClockUnproven(_)));
    let mut first = None;
    loop {
        let turn = collection.turn(&mut totals).await.unwrap();
        first.get_or_insert(totals.manifests);
        // What goes lets others go, which are due a moment later.
        advance(Duration::from_millis(1)).await;
        if turn != Turn::More && collection.turn(&mut totals).await.unwrap() != Turn::More {
            break;
        }
    }
    assert!(first.unwrap_or(0) <= told && told <= totals.manifests, "{first:?} {told} {totals:?}");
    totals.manifests
}

async fn put(rig: &Rig, reference: Option<&str>, manifest: &Value) -> Digest {
    let bytes = manifest.to_string();
    let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
    let put = PutManifest {
        reference: reference.map_or(Reference::Digest(digest), |tag| tag.parse().unwrap()),
        content_type: None,
        tags: vec![],
        precondition: Precondition::default(),
        bytes: bytes.into(),
    };
    rig.registry.put_manifest(&ME, &REPOSITORY.parse().unwrap(), put).await.unwrap().digest
}

async fn image(rig: &Rig, number: u64, subject: Option<Digest>) -> Value {
    let layer = number.to_string();
    let digest = Digest::of(Algorithm::Sha256, layer.as_bytes());
    let (name, length) = (REPOSITORY.parse().unwrap(), layer.len() as u64);
    rig.registry.push_blob(&ME, &name, digest, Some(length), once(layer.into())).await.unwrap();
    let blob = json!({"mediaType": "x/y", "digest": digest, "size": length});
    let mut image = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": blob, "layers": [blob]});
    if let Some(subject) = subject {
        image["subject"] = json!({"mediaType": IMAGE, "digest": subject, "size": 2});
    }
    image
}

fn index(number: u64, children: &[Digest]) -> Value {
    let children: Vec<_> = children.iter().map(|d| json!({"mediaType": IMAGE, "digest": d, "size": 2})).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children, "annotations": {"n": number.to_string()}})
}

async fn delete(rig: &Rig, reference: Reference) {
    rig.registry.delete_manifest(&ME, &REPOSITORY.parse().unwrap(), &reference).await.unwrap();
}

async fn present(rig: &Rig) -> BTreeSet<Digest> {
    let all = Statement::new("SELECT digest FROM manifest", vec![]);
    rig.metadata.query(Freshness::Latest, all).await.unwrap().iter().map(|row| row.digest(0).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn they_stay_for_ever_without_a_policy_and_for_its_time_with_one() {
    let rig = Rig::new().await;
    let first = put(&rig, Some("v1"), &image(&rig, 1, None).await).await;
    let bare = put(&rig, None, &image(&rig, 2, None).await).await;
    advance(100 * KEPT).await;
    assert_eq!(collect(&rig, None).await, 0);
    assert_eq!(present(&rig).await, [first, bare].into());
    // The tag moves on: only then does the time of what it pointed at begin.
    let second = put(&rig, Some("v1"), &image(&rig, 3, None).await).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 1);
    assert_eq!(present(&rig).await, [first, second].into());
    advance(KEPT - HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 0);
    advance(2 * HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 1);
    assert_eq!(present(&rig).await, [second].into());
    delete(&rig, "v1".parse().unwrap()).await;
    advance(KEPT - HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 0);
    advance(2 * HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 1);
    advance(KEPT).await;
    collect(&rig, Some(KEPT)).await;
    assert_eq!(rig.objects("eu").await, Vec::<String>::new(), "blobs follow after their own grace");
    assert_eq!(rig.count("SELECT count(*) FROM manifest_content").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_push_or_a_tag_keeps_them() {
    let rig = Rig::new().await;
    let (again, tagged) = (image(&rig, 1, None).await, image(&rig, 2, None).await);
    let (again_digest, tagged_digest) = (put(&rig, None, &again).await, put(&rig, None, &tagged).await);
    advance(KEPT - HOUR).await;
    put(&rig, None, &again).await;
    put(&rig, Some("kept"), &tagged).await;
    advance(2 * HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 0);
    advance(KEPT).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 1);
    assert_eq!(present(&rig).await, [tagged_digest].into(), "{again_digest} was pushed again, long ago");
}

#[tokio::test(start_paused = true)]
async fn what_an_index_names_and_what_refers_to_it_go_with_it() {
    let rig = Rig::new().await;
    let child = put(&rig, None, &image(&rig, 1, None).await).await;
    let inner = put(&rig, None, &index(1, &[child])).await;
    let outer = put(&rig, Some("v1"), &index(2, &[inner])).await;
    let signature = put(&rig, None, &image(&rig, 2, Some(child)).await).await;
    let orphan = put(&rig, None, &image(&rig, 3, Some(Digest::of(Algorithm::Sha256, b"absent"))).await).await;
    advance(KEPT + HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 1, "{orphan} refers to nothing that is there");
    assert_eq!(present(&rig).await, [child, inner, outer, signature].into());
    delete(&rig, "v1".parse().unwrap()).await;
    advance(KEPT + HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 4, "all of it at once, not one level a week");
    assert_eq!(present(&rig).await, BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_index_or_subject_lets_the_others_go() {
    let rig = Rig::new().await;
    let child = put(&rig, None, &image(&rig, 1, None).await).await;
    let parent = put(&rig, Some("v1"), &index(1, &[child])).await;
    let signature = put(&rig, None, &image(&rig, 2, Some(parent)).await).await;
    advance(KEPT + HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 0);
    delete(&rig, Reference::Digest(parent)).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 0, "their time begins with the deletion");
    assert_eq!(present(&rig).await, [child, signature].into());
    advance(KEPT + HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_index_is_not_held_by_what_it_holds_itself() {
    let rig = Rig::new().await;
    let child = put(&rig, None, &image(&rig, 1, None).await).await;
    let mut index = index(1, &[child]);
    index["subject"] = json!({"mediaType": IMAGE, "digest": child, "size": 2});
    put(&rig, None, &index).await;
    advance(KEPT + HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 2);
}

#[tokio::test(start_paused = true)]
async fn who_may_push_and_finds_one_by_its_digest_keeps_it() {
    let rig = Rig::new().await;
    let child = put(&rig, None, &image(&rig, 1, None).await).await;
    let (name, reference) = (REPOSITORY.parse().unwrap(), Reference::Digest(child));
    advance(KEPT - HOUR).await;
    rig.registry.manifest_info(&ME, &name, &reference).await.unwrap();
    advance(2 * HOUR).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 0);
    put(&rig, Some("v1"), &index(1, &[child])).await;
    advance(KEPT).await;
    assert_eq!(collect(&rig, Some(KEPT)).await, 0, "an index holds it");
}

/// The collector has found an index and its child; before it commits, the child's tag goes.
#[tokio::test(start_paused = true)]
async fn a_mark_that_is_renewed_meanwhile_counts() {
    let rig = Rig::new().await;
    let child = put(&rig, Some("a"), &image(&rig, 1, None).await).await;
    put(&rig, Some("b"), &image(&rig, 1, None).await).await;
    put(&rig, Some("a"), &image(&rig, 2, None).await).await;
    let parent = put(&rig, None, &index(1, &[child])).await;
    advance(KEPT + HOUR).await;
    let (now, kept) = (rig.registry.clock().now(), KEPT.as_millis() as i64);
    let found = untagged::candidates(&*rig.metadata, now - kept, None, 10).await.unwrap();
    let digests: Vec<Digest> = found.iter().map(|manifest| manifest.digest).collect();
    assert!(digests.contains(&child) && digests.contains(&parent));
    delete(&rig, "b".parse().unwrap()).await;
    rig.commit(untagged::remove(found[0].repository, &digests, now - kept, now)).await;
    advance(HOUR).await;
    collect(&rig, Some(KEPT)).await;
    assert!(present(&rig).await.contains(&child), "its last tag went an hour ago");
    advance(KEPT).await;
    collect(&rig, Some(KEPT)).await;
    assert!(!present(&rig).await.contains(&child));
}

/// A manifest as the model knows it.
#[derive(Default)]
struct Known {
    holds: Vec<Digest>,
    subject: Option<Digest>,
    /// When it was last pushed, let go by a tag, an index or a subject.
    since: i64,
}

/// What tags hold, directly or through indexes and subjects.
fn held(known: &BTreeMap<Digest, Known>, tags: &BTreeMap<u64, Digest>) -> BTreeSet<Digest> {
    let mut held: BTreeSet<Digest> = tags.values().copied().collect();
    loop {
        let more: Vec<Digest> = known
            .iter()
            .flat_map(|(digest, manifest)| {
                let by_index = manifest.holds.iter().copied().filter(|_| held.contains(digest));
                let by_subject = manifest.subject.filter(|subject| held.contains(subject)).map(|_| *digest);
                by_index.chain(by_subject).collect::<Vec<_>>()
            })
            .filter(|digest| known.contains_key(digest) && !held.contains(digest))
            .collect();
        if more.is_empty() {
            return held;
        }
        held.extend(more);
    }
}

/// Thousands of pushes, tags and deletions in a random order: nothing that is held or young ever goes, and once nothing
/// happens any more, nothing else stays.
#[tokio::test(start_paused = true)]
async fn whatever_the_order_only_what_nothing_holds_goes() {
    for seed in 0..12_u64 {
        let rig = Rig::new().await;
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut known: BTreeMap<Digest, Known> = BTreeMap::new();
        let mut tags: BTreeMap<u64, Digest> = BTreeMap::new();
        for _ in 0..150 {
            let now = rig.registry.clock().now();
            match draw(10) {
                0..=4 => {
                    let some: Vec<Digest> = known.keys().copied().filter(|_| draw(4) == 0).collect();
                    let (manifest, new) = match draw(3) {
                        0 if !some.is_empty() => {
                            (index(draw(3), &some), Known { holds: some, subject: None, since: now })
                        }
                        1 if !some.is_empty() => (
                            image(&rig, draw(9), Some(some[0])).await,
                            Known { holds: vec![], subject: Some(some[0]), since: now },
                        ),
                        _ => (image(&rig, draw(9), None).await, Known { since: now, ..Known::default() }),
                    };
                    let tag = (draw(2) == 0).then(|| draw(4));
                    let digest = put(&rig, tag.map(|tag| format!("t{tag}")).as_deref(), &manifest).await;
                    known.insert(digest, new);
                    if let Some(before) = tag.and_then(|tag| tags.insert(tag, digest)) {
                        known.entry(before).and_modify(|manifest| manifest.since = now);
                    }
                }
                5 | 6 => {
                    let tag = draw(4);
                    if let Some(digest) = tags.remove(&tag) {
                        delete(&rig, format!("t{tag}").parse().unwrap()).await;
                        known.entry(digest).and_modify(|manifest| manifest.since = now);
                    }
                }
                7 | 8 => advance(KEPT / 3).await,
                _ => {
                    collect(&rig, Some(KEPT)).await;
                    let (present, held) = (present(&rig).await, held(&known, &tags));
                    let before = rig.registry.clock().now() - KEPT.as_millis() as i64;
                    for (digest, manifest) in &known {
                        let stays = held.contains(digest) || manifest.since > before;
                        assert!(!stays || present.contains(digest), "seed {seed}: {digest} went too soon");
                    }
                    known.retain(|digest, _| present.contains(digest));
                }
            }
        }
        advance(2 * KEPT).await;
        collect(&rig, Some(KEPT)).await;
        assert_eq!(present(&rig).await, held(&known, &tags), "seed {seed}");
        advance(2 * KEPT).await;
        collect(&rig, Some(KEPT)).await;
        let unused = "SELECT count(*) FROM repository_blob l WHERE NOT EXISTS (SELECT 1 FROM manifest_blob m WHERE m.blob = l.digest)";
        assert_eq!(rig.count(unused).await, 0, "seed {seed}: a blob outlived its manifests");
    }
}
