//! When the steps of an upload are acknowledged, and what stays of them when that fails.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use roadstead_metadata::{Fault, Status};
use roadstead_registry::{BodyError, Chunk, Error, Limits};
use roadstead_storage::{ErrorKind, Faults, Faulty, Operation};

use crate::rig::{ME, Rig, at, body, length, name, noise, sha256};
use crate::steps::{REPO, STEP, hang, received, settle, small_steps, start};
use crate::store::Forgetful;

/// A registry whose store fails as planned, and extends objects or makes one of each step.
async fn rig(extends: bool) -> (Rig, Faults) {
    let faults = Faults::new();
    let rig = Rig::with(Arc::new(Faulty::new(Forgetful::new(extends), faults.clone())), small_steps()).await;
    (rig, faults)
}

/// What makes a step durable.
fn end_of_a_step(extends: bool) -> Operation {
    if extends { Operation::Sync } else { Operation::Finish }
}

/// A client that is so slow that two steps take longer than a session may rest must not lose it to the purge.
#[tokio::test]
async fn a_step_is_acknowledged_once_it_is_durable_however_slowly_the_next_arrives() {
    for extends in [true, false] {
        let (rig, faults) = rig(extends).await;
        let (session, content) = (start(&rig).await, noise(1, 3000));
        let first = faults.hold(end_of_a_step(extends), 1);
        let (send, patch) = hang(&rig, &session, &content);
        settle().await;
        assert_eq!(rig.count("SELECT count(*) FROM upload").await, 0, "acknowledged before it is durable");
        first.release();
        settle().await;
        assert_eq!(received(&rig, &session).await, STEP, "it waits for a step that may never be full");
        drop(send);
        assert_eq!(patch.await.unwrap().unwrap().received, 3000);
        let digest = sha256(&content);
        rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
    }
}

#[tokio::test]
async fn a_chunk_whose_step_cannot_be_kept_ends_without_waiting_for_its_client() {
    for extends in [true, false] {
        for metadata in [true, false] {
            let (rig, faults) = rig(extends).await;
            let session = start(&rig).await;
            let first = faults.hold(end_of_a_step(extends), 1);
            match metadata {
                true => rig.faults.fail_next_commit(Fault::UnavailableBefore),
                false => faults.refuse(end_of_a_step(extends), 1, ErrorKind::Full),
            }
            let (_send, patch) = hang(&rig, &session, &noise(2, 3000));
            settle().await;
            first.release();
            settle().await;
            assert!(patch.is_finished(), "it waits for its client");
            let failed = patch.await.unwrap().unwrap_err();
            assert!(!matches!(failed, Error::UploadBusy | Error::Body(_)), "{failed:?}");
            assert_eq!((rig.staged_bytes().await, received(&rig, &session).await), (0, 0), "{failed:?}");
        }
    }
}

/// Whether the row names the step is not known when the chunk turns out to be wrong: it may, so it stays.
#[tokio::test(start_paused = true)]
async fn a_step_that_may_be_acknowledged_stays_when_its_chunk_is_refused() {
    for extends in [true, false] {
        let (rig, faults) = rig(extends).await;
        let (session, content) = (start(&rig).await, noise(3, 2000));
        let first = faults.hold(end_of_a_step(extends), 1);
        // One byte more than this, and it is too long.
        let announced = Chunk { length: None, ..at(0, &noise(3, 2500)) };
        let (send, stream) = futures::channel::mpsc::unbounded();
        send.unbounded_send(Ok(Bytes::from(content.clone()))).unwrap();
        let (registry, its) = (rig.registry.clone(), session.clone());
        let patch =
            tokio::spawn(
                async move { registry.append_upload(&ME, &name(REPO), &its, announced, Box::pin(stream)).await },
            );
        settle().await;
        rig.faults.fail_next_commit(Fault::UnknownButDone);
        first.release();
        settle().await;
        rig.faults.set_status(Status::Down("no leader".into()));
        send.unbounded_send(Ok(Bytes::from(noise(4, 1000)))).unwrap();
        let failed = patch.await.unwrap();
        assert!(matches!(failed, Err(Error::Uncertain(_))), "{failed:?}");

        rig.faults.set_status(Status::Writable);
        assert_eq!(received(&rig, &session).await, 2000, "it was acknowledged");
        let digest = sha256(&content);
        rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
    }
}

/// Of a step that may be acknowledged nothing is lost, but what follows it would be sent to the bucket for nothing.
#[tokio::test(start_paused = true)]
async fn what_follows_a_step_that_may_be_acknowledged_is_not_made_an_object() {
    let (rig, faults) = rig(false).await;
    let session = start(&rig).await;
    let first = faults.hold(Operation::Finish, 1);
    let (_send, patch) = hang(&rig, &session, &noise(6, 3000));
    settle().await;
    rig.faults.fail_next_commit(Fault::UnknownButDone);
    first.release();
    settle().await;
    rig.faults.set_status(Status::Down("no leader".into()));
    let failed = patch.await.unwrap();
    assert!(matches!(failed, Err(Error::Uncertain(_))), "{failed:?}");
    assert_eq!((rig.objects("uploads/").await.len(), rig.staged_bytes().await), (1, STEP));
    rig.faults.set_status(Status::Writable);
    assert_eq!(received(&rig, &session).await, STEP);
}

#[tokio::test]
async fn a_step_is_kept_when_what_follows_it_is_lost() {
    for late in [true, false] {
        let (rig, faults) = rig(false).await;
        let session = start(&rig).await;
        // The step is still becoming an object when the connection breaks, or has become one.
        let first = late.then(|| faults.hold(Operation::Finish, 1));
        let (send, patch) = hang(&rig, &session, &noise(5, 3000));
        settle().await;
        faults.refuse(Operation::Finish, 1, ErrorKind::Unavailable);
        send.unbounded_send(Err(BodyError::Broken("connection reset".into()))).unwrap();
        settle().await;
        drop(first);
        let failed = patch.await.unwrap();
        assert!(matches!(failed, Err(Error::Body(_))), "{failed:?}");
        assert_eq!(faults.pending(), 0, "the bytes after it were lost");
        assert_eq!((received(&rig, &session).await, rig.staged_bytes().await), (STEP, STEP));
    }
}

#[tokio::test]
async fn an_upload_of_as_many_pieces_as_there_can_be_is_whole() {
    let limits = Limits { pieces: 3, ..small_steps() };
    let content = noise(9, 3 * STEP as usize + 1);
    let whole = &content[..3 * STEP as usize];
    for announced in [true, false] {
        let rig = Rig::with(Arc::new(Forgetful::new(false)), limits.clone()).await;
        let session = start(&rig).await;
        // Each step comes alone, and ends where a piece does.
        let steps = |content: &[u8]| {
            let steps: Vec<_> = content.chunks(STEP as usize).map(|step| Ok(Bytes::copy_from_slice(step))).collect();
            futures::stream::iter(steps)
                .then(|step| async {
                    tokio::task::yield_now().await;
                    step
                })
                .boxed()
        };
        let chunk = |content: &[u8]| if announced { length(content) } else { Chunk { range: None, length: None } };
        let refused = rig.registry.append_upload(&ME, &name(REPO), &session, chunk(&content), steps(&content)).await;
        assert!(matches!(refused, Err(Error::TooManyPieces { most: 3 })), "{refused:?}");
        let session = start(&rig).await;
        let progress = rig.registry.append_upload(&ME, &name(REPO), &session, chunk(whole), steps(whole)).await;
        assert_eq!(progress.unwrap().received, 3 * STEP);
        let digest = sha256(whole);
        let end = if announced { length(b"") } else { Chunk { range: None, length: None } };
        rig.registry.finish_upload(&ME, &name(REPO), &session, digest, end, body(b"")).await.unwrap();
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), whole);
    }
}
