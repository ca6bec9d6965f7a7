//! What removed repositories held goes, however much it is and however often somebody is cut short.

use std::time::Duration;

use bytes::Bytes;
use roadstead_metadata::records::{removal, repository};
use roadstead_metadata::{Fault, Freshness, Statement};
use roadstead_oci::{Algorithm, Digest};
use roadstead_registry::{Error, Precondition, PutManifest};
use roadstead_workers::{Collect, Reaper, RemoveRepositories, Worker};
use serde_json::json;
use tokio::time::advance;

use crate::rig::{ME, REPOSITORY, Rig, once};

const HELD: [&str; 7] = [
    "SELECT count(*) FROM tag",
    "SELECT count(*) FROM tag_history",
    "SELECT count(*) FROM manifest",
    "SELECT count(*) FROM manifest_blob",
    "SELECT count(*) FROM manifest_content",
    "SELECT count(*) FROM repository_blob",
    "SELECT count(*) FROM repository",
];

/// An image with one blob, under a tag.
async fn push(rig: &Rig, bytes: &'static [u8]) {
    let (name, digest) = (REPOSITORY.parse().unwrap(), Digest::of(Algorithm::Sha256, bytes));
    rig.registry
        .push_blob(&ME, &name, digest, Some(bytes.len() as u64), once(Bytes::from_static(bytes)))
        .await
        .unwrap();
    let image = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
        "config": {"mediaType": "x/y", "digest": digest, "size": bytes.len()},
    });
    let put = PutManifest {
        reference: "latest".parse().unwrap(),
        content_type: None,
        tags: vec![],
        precondition: Precondition::default(),
        bytes: image.to_string().into(),
    };
    rig.registry.put_manifest(&ME, &name, put).await.unwrap();
}

async fn remove(rig: &Rig) {
    let id = repository::find(&*rig.metadata, Freshness::Latest, REPOSITORY).await.unwrap().unwrap();
    rig.commit(removal::remove(id, REPOSITORY, rig.id_from(Duration::ZERO), rig.registry.clock().now())).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_repository_goes_in_bounded_steps_beside_the_next_of_its_name() {
    let rig = Rig::new().await;
    push(&rig, b"first").await;
    // More tags than go in one step, as a statement makes them.
    let many = "INSERT INTO tag (repository_id, name, digest, version, updated_at) \
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) \
        SELECT t.repository_id, 't' || n.i, t.digest, 1, 1 FROM tag t CROSS JOIN n WHERE t.name = 'latest'";
    rig.commit([Statement::new(many, vec![])]).await;
    let session = rig.stage().await;
    let worker = || RemoveRepositories::new(rig.registry.clone());
    assert_eq!(worker().step().await.unwrap().done, 0);
    remove(&rig).await;
    push(&rig, b"second").await;

    // Each step by another process; some are cut short.
    let mut tags = Vec::new();
    for round in 0.. {
        if round < 3 {
            rig.metadata.fail_next_commit(Fault::UnavailableBefore);
            worker().step().await.unwrap_err();
        } else if round < 6 {
            rig.metadata.fail_next_commit(Fault::UnknownButDone);
        }
        let progress = worker().step().await.unwrap();
        tags.push(rig.count("SELECT count(*) FROM tag").await);
        if progress.done == 0 {
            break;
        }
        assert!(progress.more && progress.oldest.is_some());
    }
    assert_eq!(tags[..4], [1202, 702, 202, 1], "500 in a step, after the session");
    for table in HELD {
        assert_eq!(rig.count(table).await, 1, "{table}");
    }
    let refused = rig.registry.upload_status(&ME, &REPOSITORY.parse().unwrap(), &session).await;
    assert!(matches!(refused, Err(Error::UploadUnknown)), "{refused:?}");

    // Its blob is the collector's after the grace, the other one's is not.
    let collect = Collect::new(rig.registry.clone()).with_period(Duration::ZERO);
    collect.step().await.unwrap();
    collect.step().await.unwrap();
    assert_eq!(rig.count("SELECT count(*) FROM blob").await, 2);
    advance(Duration::from_secs(25 * 3600)).await;
    collect.step().await.unwrap();
    assert_eq!(rig.count("SELECT count(*) FROM blob").await, 1);
    Reaper::new(rig.registry.clone()).step().await.unwrap();
    assert_eq!(rig.objects("eu").await.iter().filter(|key| key.starts_with("blobs/")).count(), 1);
    assert_eq!(rig.count("SELECT count(*) FROM manifest").await, 1);
}

#[tokio::test(start_paused = true)]
async fn repositories_go_in_the_order_of_their_removal() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        push(&rig, b"bytes").await;
        remove(&rig).await;
        advance(Duration::from_secs(1)).await;
    }
    let worker = RemoveRepositories::new(rig.registry.clone());
    let mut last = 0;
    while let Some(at) = worker.step().await.unwrap().oldest {
        assert!(at >= last);
        last = at;
    }
    for table in HELD {
        assert_eq!(rig.count(table).await, 0, "{table}");
    }
}
