//! What the batch itself refuses, however the use case came to it: two sessions that both looked before either wrote.

use bytes::Bytes;
use roadstead_metadata::records::damage::Kind;
use roadstead_metadata::records::manifest::{ManifestStat, NewManifest};
use roadstead_metadata::records::{blob, damage, manifest, placement, repository, upload};
use roadstead_metadata::{Batch, CommitError, Freshness, Statement};
use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::ObjectKey;
use uuid::Uuid;

use crate::rig::{ME, Rig, at, body, image, name, sha256};

async fn commit(rig: &Rig, statements: impl IntoIterator<Item = Statement>) -> Result<(), CommitError> {
    let mut batch = Batch::new(Uuid::now_v7(), 5);
    batch.extend(statements);
    rig.sql.commit(batch).await.map(drop)
}

async fn repository_id(rig: &Rig, repository: &str) -> Uuid {
    repository::find(&*rig.sql, Freshness::Latest, repository).await.unwrap().unwrap()
}

fn rows(repository: Uuid, stat: &ManifestStat, blobs: &[Digest], children: &[Digest]) -> Vec<Statement> {
    let new = NewManifest { repository, stat, subject: None, blobs, children };
    let mut statements = vec![manifest::put_content(&stat.digest, b"{}")];
    statements.extend(manifest::put(&new, 5));
    statements
}

/// What scrub commits when it finds an object damaged.
pub(crate) async fn lose(rig: &Rig, digest: &Digest) {
    let copy = placement::here(&*rig.sql, rig.location.id, digest).await.unwrap().unwrap();
    commit(rig, damage::quarantine(&copy, Kind::WrongHash, 5)).await.unwrap();
}

/// Scrub found the last copy damaged after the push had looked.
#[tokio::test]
async fn a_manifest_whose_blob_lost_its_copy_is_refused_by_its_own_batch() {
    let rig = Rig::new().await;
    let [kept, lost] = [rig.push("a/b", b"kept").await, rig.push("a/b", b"lost").await];
    let repository = repository_id(&rig, "a/b").await;
    let stat = ManifestStat { digest: sha256(b"{}"), media_type: "x/y".into(), size: 2, untagged_since: None };
    lose(&rig, &lost).await;
    let refused = commit(&rig, rows(repository, &stat, &[kept, lost], &[])).await;
    assert!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
    commit(&rig, rows(repository, &stat, &[kept], &[])).await.unwrap();
}

/// The collector, or a deletion, took the blob after the push had looked.
#[tokio::test]
async fn a_manifest_whose_blob_or_child_is_gone_is_refused_by_its_own_batch() {
    let rig = Rig::new().await;
    let kept = rig.push("a/b", b"kept").await;
    let repository = repository_id(&rig, "a/b").await;
    let gone = sha256(b"gone");
    let stat = ManifestStat { digest: sha256(b"{}"), media_type: "x/y".into(), size: 2, untagged_since: None };
    for (blobs, children) in [(&[kept, gone][..], &[][..]), (&[kept], &[gone])] {
        let refused = commit(&rig, rows(repository, &stat, blobs, children)).await;
        assert!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
    }
    assert_eq!(rig.count("SELECT count(*) FROM manifest").await, 0);
    commit(&rig, rows(repository, &stat, &[kept], &[])).await.unwrap();
}

/// The collector has marked the blob; a mount must not bring its link back without its bytes.
#[tokio::test]
async fn a_doomed_blob_is_not_relied_on_but_saved_by_its_bytes() {
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"bytes").await;
    commit(&rig, [Statement::new("UPDATE blob SET doomed_at = 1", vec![])]).await.unwrap();
    let refused = commit(&rig, blob::rely(&digest, 9)).await;
    assert!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
    let mounted = rig.registry.mount_blob(&ME, &name("a/c"), &digest, None).await;
    assert!(mounted.is_err(), "{mounted:?}");
    rig.push("a/c", b"bytes").await;
    assert_eq!(rig.count("SELECT count(*) FROM blob WHERE doomed_at IS NULL").await, 1);
    assert_eq!(rig.pull("a/c", &digest).await.unwrap(), b"bytes");
}

/// Two instances continue one session from the same offset: one of them wins.
#[tokio::test]
async fn a_session_that_moved_refuses_the_attempt_that_did_not_see_it() {
    let rig = Rig::new().await;
    let session = rig.registry.start_upload(&ME, &name("a/b"), Algorithm::Sha256).await.unwrap().session;
    rig.registry.append_upload(&ME, &name("a/b"), &session, at(0, b"one"), body(b"one")).await.unwrap();
    let id = rig.sql.query(Freshness::Latest, Statement::new("SELECT id FROM upload", vec![])).await.unwrap()[0].id(0);
    let seen = upload::get(&*rig.sql, id.unwrap()).await.unwrap().unwrap();
    rig.registry.append_upload(&ME, &name("a/b"), &session, at(3, b"two"), body(b"two")).await.unwrap();
    let mut mine = seen.clone();
    mine.received = 7;
    for late in [commit(&rig, upload::advance(&seen, &mine)).await, commit(&rig, [upload::guard(&seen)]).await] {
        assert!(matches!(late, Err(CommitError::Conflict(_))), "{late:?}");
    }
    assert_eq!(rig.registry.upload_status(&ME, &name("a/b"), &session).await.unwrap().received, 6);
}

/// What the guard of a session compares, one by one.
#[tokio::test]
async fn a_session_is_guarded_by_its_offset_its_epoch_and_being_open() {
    let rig = Rig::new().await;
    let session = rig.registry.start_upload(&ME, &name("a/b"), Algorithm::Sha256).await.unwrap().session;
    rig.registry.append_upload(&ME, &name("a/b"), &session, at(0, b"one"), body(b"one")).await.unwrap();
    let id = rig.sql.query(Freshness::Latest, Statement::new("SELECT id FROM upload", vec![])).await.unwrap()[0].id(0);
    let row = upload::get(&*rig.sql, id.unwrap()).await.unwrap().unwrap();
    commit(&rig, [upload::guard(&row)]).await.unwrap();
    let (offset, epoch) = (row.received + 1, row.epoch + 1);
    for other in
        [upload::UploadRecord { received: offset, ..row.clone() }, upload::UploadRecord { epoch, ..row.clone() }]
    {
        let refused = commit(&rig, [upload::guard(&other)]).await;
        assert!(matches!(refused, Err(CommitError::Conflict(_))), "{other:?}: {refused:?}");
    }
    commit(&rig, [upload::close(row.id, 9)]).await.unwrap();
    let closed = commit(&rig, [upload::guard(&row)]).await;
    assert!(matches!(closed, Err(CommitError::Conflict(_))), "{closed:?}");
}

/// A repository that was deleted and made again is another one: what names the old id is refused.
#[tokio::test]
async fn rows_of_a_repository_that_is_gone_are_refused() {
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"bytes").await;
    let refused = commit(&rig, [blob::link(Uuid::now_v7(), &digest)]).await;
    assert!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
}

/// Somebody truncated an object behind the registry's back.
#[tokio::test]
async fn an_object_of_another_size_is_never_served() {
    let rig = Rig::new().await;
    let digest = rig.push("a/b", b"whole bytes").await;
    let key = ObjectKey::new(rig.objects("blobs/").await.remove(0)).unwrap();
    rig.store.put_small(&key, Bytes::from_static(b"whole"), false).await.unwrap();
    let damaged = rig.pull("a/b", &digest).await;
    assert!(matches!(damaged, Err(roadstead_registry::Error::Damaged(_))), "{damaged:?}");
    // Of a range there is nothing else to tell it by.
    let blob = rig.registry.open_blob(&ME, &name("a/b"), &digest).await.unwrap();
    assert!(matches!(blob.read(Some(0..3)).await.map(drop), Err(roadstead_registry::Error::Damaged(_))));
}

/// An image is there as a whole or not at all, while its blobs are being deleted under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_against_deletions_leave_no_broken_image() {
    let rig = Rig::new().await;
    for round in 0..40 {
        let layer = format!("layer {round}");
        let config = rig.push("a/b", b"{}").await;
        let digest = rig.push("a/b", layer.as_bytes()).await;
        let registry = rig.registry.clone();
        let delete = tokio::spawn(async move { registry.delete_blob(&ME, &name("a/b"), &digest).await });
        let pushed = rig.put("a/b", "latest", &image((&config, 2), &[(&digest, layer.len())])).await;
        let deleted = delete.await.unwrap();
        assert!(pushed.is_ok() != deleted.is_ok(), "round {round}: {pushed:?} {deleted:?}");
        assert_eq!(rig.pull("a/b", &digest).await.is_ok(), pushed.is_ok());
    }
}
