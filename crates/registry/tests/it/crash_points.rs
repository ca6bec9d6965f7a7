//! What is left when a use case ends in the middle: between object and commit, or at a commit without an answer.

use std::time::Duration;

use roadstead_metadata::{Fault, Status};
use roadstead_oci::Algorithm;
use roadstead_registry::Error;

use crate::rig::{ME, Rig, body, image, length, name, sha256};

#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_happens_once() {
    for fault in [Fault::UnknownButDone, Fault::UnknownNotDone] {
        let rig = Rig::new().await;
        rig.faults.fail_next_commit(fault);
        let digest = rig.push("a/b", b"bytes").await;
        assert_eq!(rig.pull("a/b", &digest).await.unwrap(), b"bytes");
        assert_eq!(rig.count("SELECT count(*) FROM placement").await, 1);
        assert_eq!(rig.count("SELECT count(*) FROM reap").await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_commit_may_have_happened_stays() {
    let rig = Rig::new().await;
    rig.faults.fail_next_commit(Fault::UnknownButDone);
    (0..100).for_each(|_| rig.faults.fail_next_commit(Fault::UnknownNotDone));
    let digest = sha256(b"bytes");
    let outcome = rig.registry.push_blob(&ME, &name("a/b"), digest, Some(5), body(b"bytes")).await;
    assert!(matches!(outcome, Err(Error::Uncertain(_))), "{outcome:?}");
    assert_eq!(rig.pull("a/b", &digest).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn read_only_metadata_refuses_pushes_serves_pulls_and_leaves_no_object() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap();
    let before = rig.objects("").await;
    rig.clock.advance(Duration::from_secs(48 * 3600));
    rig.faults.set_status(Status::ReadOnly("no quorum".into()));
    let refused = rig.registry.push_blob(&ME, &name("a/b"), sha256(b"new"), Some(3), body(b"new")).await;
    assert!(matches!(&refused, Err(Error::ReadOnly(why)) if why.contains("no quorum")), "{refused:?}");
    assert_eq!(rig.objects("").await, before);
    assert_eq!(rig.pull("a/b", &config).await.unwrap(), b"{}");
    rig.registry.blob_stat(&ME, &name("a/b"), &config).await.unwrap();
    rig.registry.manifest(&ME, &name("a/b"), &crate::rig::reference("v1")).await.unwrap();
    rig.faults.set_status(Status::Writable);
    // What is newest can be had, and nothing can be written: a disk is full.
    rig.faults.fail_next_commit(Fault::UnavailableBefore);
    rig.registry.blob_stat(&ME, &name("a/b"), &config).await.unwrap();
    rig.push("a/b", b"new").await;
}

#[tokio::test]
async fn a_session_survives_a_finish_that_could_not_commit() {
    let rig = Rig::new().await;
    let session = rig.registry.start_upload(&ME, &name("a/b"), Algorithm::Sha256).await.unwrap().session;
    rig.registry.append_upload(&ME, &name("a/b"), &session, length(b"bytes"), body(b"bytes")).await.unwrap();
    let digest = sha256(b"bytes");
    rig.faults.fail_next_commit(Fault::UnavailableBefore);
    let refused = rig.registry.finish_upload(&ME, &name("a/b"), &session, digest, length(b""), body(b"")).await;
    assert!(matches!(refused, Err(Error::ReadOnly(_))), "{refused:?}");
    rig.registry.finish_upload(&ME, &name("a/b"), &session, digest, length(b""), body(b"")).await.unwrap();
    assert_eq!(rig.pull("a/b", &digest).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn a_missing_object_is_an_error_and_never_an_empty_answer() {
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"bytes").await;
    let key = roadstead_storage::ObjectKey::new(rig.objects("blobs/").await.remove(0)).unwrap();
    rig.store.delete(&key).await.unwrap();
    let damaged = rig.pull("a/b", &digest).await;
    assert!(matches!(damaged, Err(Error::Damaged(_))), "{damaged:?}");
}
