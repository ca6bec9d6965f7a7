//! Uploads of many steps: what is acknowledged while a body still arrives, and what is left when it ends badly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt};
use roadstead_metadata::{Fault, Status};
use roadstead_oci::Algorithm;
use roadstead_registry::{BodyError, ByteStream, Chunk, Error, Limits, Result, UploadProgress};
use roadstead_storage::{Engine, Faults, Faulty, Filesystem, Operation};
use tokio::task::JoinHandle;

use crate::rig::{ME, Rig, at, body, broken, length, name, noise, sha256};
use crate::store::Forgetful;

pub const REPO: &str = "a/b";
pub const STEP: u64 = 2000;

pub fn small_steps() -> Limits {
    Limits { step: STEP, ..Limits::default() }
}

pub async fn start(rig: &Rig) -> String {
    rig.registry.start_upload(&ME, &name(REPO), Algorithm::Sha256).await.unwrap().session
}

pub async fn received(rig: &Rig, session: &str) -> u64 {
    rig.registry.upload_status(&ME, &name(REPO), session).await.unwrap().received
}

pub type Sender = UnboundedSender<std::result::Result<Bytes, BodyError>>;

/// Begins a PATCH whose body has `content` and then hangs for as long as the sender lives.
pub fn hang(rig: &Rig, session: &str, content: &[u8]) -> (Sender, JoinHandle<Result<UploadProgress>>) {
    let (send, stream) = unbounded();
    for chunk in content.chunks(1000) {
        send.unbounded_send(Ok(Bytes::copy_from_slice(chunk))).unwrap();
    }
    let (registry, session) = (rig.registry.clone(), session.to_owned());
    let patch =
        async move { registry.append_upload(&ME, &name(REPO), &session, Chunk::default(), stream.boxed()).await };
    (send, tokio::spawn(patch))
}

/// Lets all tasks go as far as they can.
pub async fn settle() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn steps_are_acknowledged_while_the_body_arrives_and_survive_a_crash() {
    let acknowledged = 8000;
    for extends in [true, false] {
        let store = Forgetful::new(extends);
        let rig = Rig::with(Arc::new(store.clone()), small_steps()).await;
        let content = noise(1, 9500);
        let session = start(&rig).await;
        let (send, stale) = hang(&rig, &session, &content[..9000]);
        settle().await;
        assert_eq!(received(&rig, &session).await, acknowledged, "a step waits for the next one");

        store.crash().await;
        let other = rig.restarted().await;
        let rest = &content[acknowledged as usize..];
        other.append_upload(&ME, &name(REPO), &session, at(acknowledged, rest), body(rest)).await.unwrap();
        drop(send);
        let late = stale.await.unwrap();
        assert!(matches!(late, Err(Error::UploadBusy)), "{late:?}");
        let digest = sha256(&content);
        other.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
    }
}

#[tokio::test]
async fn a_step_is_acknowledged_only_when_it_is_durable() {
    let (store, faults) = (Forgetful::new(true), Faults::new());
    let rig = Rig::with(Arc::new(Faulty::new(store.clone(), faults.clone())), small_steps()).await;
    let session = start(&rig).await;
    let held = faults.hold(Operation::Sync, 1);
    let (_send, _stale) = hang(&rig, &session, &noise(2, 9000));
    settle().await;
    assert_eq!(rig.count("SELECT count(*) FROM upload").await, 0, "acknowledged before it was synced");
    held.release();
    settle().await;
    assert_eq!(received(&rig, &session).await, 8000);
}

#[tokio::test]
async fn a_step_becomes_an_object_while_the_next_one_arrives() {
    let faults = Faults::new();
    let rig = Rig::with(Arc::new(Faulty::new(Forgetful::new(false), faults.clone())), small_steps()).await;
    let session = start(&rig).await;
    let (first, second) = (faults.hold(Operation::Finish, 1), faults.hold(Operation::Writer, 2));
    let (_send, _stale) = hang(&rig, &session, &noise(2, 9000));
    settle().await;
    assert!(second.arrived().now_or_never().is_some(), "the next step waits");
    second.release();
    settle().await;
    assert_eq!(rig.count("SELECT count(*) FROM upload").await, 0, "acknowledged before there was an object");
    first.release();
    settle().await;
    assert_eq!(received(&rig, &session).await, 8000);
}

#[tokio::test]
async fn a_step_that_becomes_an_object_late_is_removed_with_the_chunk_that_failed() {
    let faults = Faults::new();
    let rig = Rig::with(Arc::new(Faulty::new(Forgetful::new(false), faults.clone())), small_steps()).await;
    let session = start(&rig).await;
    let first = faults.hold(Operation::Finish, 1);
    let (send, patch) = hang(&rig, &session, &noise(2, 3000));
    settle().await;
    faults.cut_write(1, 10, roadstead_storage::ErrorKind::Full);
    send.unbounded_send(Ok(Bytes::from_static(b"more"))).unwrap();
    settle().await;
    first.release();
    assert!(patch.await.unwrap().is_err());
    settle().await;
    assert_eq!(rig.staged_bytes().await, 0);
    assert_eq!(rig.count("SELECT count(*) FROM upload").await, 0);
}

#[tokio::test]
async fn an_acknowledged_chunk_survives_a_crash() {
    for (extends, size) in [(true, 100), (true, 5100), (false, 5100)] {
        let store = Forgetful::new(extends);
        let rig = Rig::with(Arc::new(store.clone()), small_steps()).await;
        let content = noise(3, size);
        let session = start(&rig).await;
        rig.registry.append_upload(&ME, &name(REPO), &session, at(0, &content), body(&content)).await.unwrap();
        store.crash().await;
        let (other, digest) = (rig.restarted().await, sha256(&content));
        other.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
    }
}

#[tokio::test]
async fn steps_grow_where_each_makes_an_object() {
    for (extends, objects) in [(false, 500 + 50), (true, 1)] {
        let rig = Rig::with(Arc::new(Forgetful::new(extends)), Limits { step: 100, ..Limits::default() }).await;
        let content = noise(5, 500 * 100 + 50 * 200 - 1);
        let session = start(&rig).await;
        let pieces: Vec<_> = content.chunks(100).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = futures::stream::iter(pieces).boxed();
        // Each chunk comes alone, so that a step is no longer than it has to be.
        let body = body
            .then(|piece| async {
                tokio::task::yield_now().await;
                piece
            })
            .boxed();
        rig.registry.append_upload(&ME, &name(REPO), &session, at(0, &content), body).await.unwrap();
        assert_eq!(rig.objects("uploads/").await.len(), objects);
        let digest = sha256(&content);
        rig.registry
            .finish_upload(&ME, &name(REPO), &session, digest, length(b""), crate::rig::body(b""))
            .await
            .unwrap();
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
    }
}

#[tokio::test]
async fn an_upload_of_too_many_pieces_is_told_so_and_keeps_what_it_has() {
    let limits = Limits { pieces: 3, ..small_steps() };
    let rig = Rig::with(Arc::new(Forgetful::new(false)), limits).await;
    let (session, content) = (start(&rig).await, noise(6, 400));
    let append = async |from: usize| {
        let chunk = &content[from..from + 100];
        rig.registry.append_upload(&ME, &name(REPO), &session, at(from as u64, chunk), body(chunk)).await
    };
    for from in [0, 100, 200] {
        append(from).await.unwrap();
    }
    for _ in 0..2 {
        let refused = append(300).await;
        assert!(matches!(refused, Err(Error::TooManyPieces { most: 3 })), "{refused:?}");
        assert_eq!((received(&rig, &session).await, rig.objects("uploads/").await.len()), (300, 3));
    }
    // Nobody is in the way of its end.
    let digest = sha256(&content[..300]);
    rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content[..300]);
}

#[tokio::test]
async fn a_chunk_that_ends_with_a_step_makes_no_empty_piece() {
    let rig = Rig::with(Arc::new(Forgetful::new(false)), small_steps()).await;
    let (session, content) = (start(&rig).await, noise(8, 3 * STEP as usize));
    for chunk in content.chunks(STEP as usize) {
        rig.registry.append_upload(&ME, &name(REPO), &session, length(chunk), body(chunk)).await.unwrap();
    }
    assert_eq!(rig.count("SELECT json_array_length(parts) FROM upload").await, 3);
    assert_eq!(rig.objects("uploads/").await.len(), 3);
    // Nor does one of nothing.
    rig.registry.append_upload(&ME, &name(REPO), &session, length(b""), body(b"")).await.unwrap();
    assert_eq!(rig.count("SELECT json_array_length(parts) FROM upload").await, 3);
    let digest = sha256(&content);
    rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
}

/// A body of 64 MB that counts what is taken of it.
fn endless() -> (ByteStream, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let chunks = (0..1000).map(move |_| {
        count.fetch_add(64_000, Ordering::SeqCst);
        Ok(Bytes::from_static(&[7; 64_000]))
    });
    (futures::stream::iter(chunks).boxed(), taken)
}

#[tokio::test]
async fn a_chunk_longer_than_announced_is_refused_at_once_and_as_a_whole() {
    for extends in [true, false] {
        let rig = Rig::with(Arc::new(Forgetful::new(extends)), small_steps()).await;
        let session = start(&rig).await;
        let (content, after) = (noise(4, 1500), noise(5, 300));
        for (offset, before) in [(0, &b""[..]), (1500, &content)] {
            if offset > 0 {
                rig.registry.append_upload(&ME, &name(REPO), &session, length(before), body(before)).await.unwrap();
            }
            let announced = Chunk { length: None, ..at(offset, &after) };
            let (long, taken) = endless();
            let refused = rig.registry.append_upload(&ME, &name(REPO), &session, announced, long).await;
            assert!(matches!(refused, Err(Error::SizeInvalid { stated: 300, .. })), "{refused:?}");
            assert!(taken.load(Ordering::SeqCst) < 3 << 20, "the body was read on");
            // Also when the connection breaks after too much.
            let late = rig.registry.append_upload(&ME, &name(REPO), &session, announced, broken(&content)).await;
            assert!(matches!(late, Err(Error::SizeInvalid { stated: 300, .. })), "{late:?}");
            assert_eq!((received(&rig, &session).await, rig.staged_bytes().await), (offset, offset));
        }
        let (long, taken) = endless();
        let refused = rig.registry.push_blob(&ME, &name(REPO), sha256(b""), Some(300), long).await;
        assert!(matches!(refused, Err(Error::SizeInvalid { stated: 300, .. })), "{refused:?}");
        assert!(taken.load(Ordering::SeqCst) < 3 << 20, "the body was read on");
    }
}

/// What ends a PATCH in its middle.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    ReadOnly,
    CommitFails,
    StoreFull,
    TooLarge,
    Superseded,
}

#[tokio::test]
async fn after_a_failed_chunk_no_byte_stays_that_was_not_acknowledged() {
    use Trouble::{CommitFails, ReadOnly, StoreFull, Superseded, TooLarge};
    for store in [Store::Extends, Store::Immutable, Store::Directory] {
        for trouble in [ReadOnly, CommitFails, StoreFull, TooLarge, Superseded] {
            for before in [0, 700] {
                for late in [500, 7000] {
                    failed_chunk(store, trouble, before, late).await;
                }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Store {
    Extends,
    Immutable,
    Directory,
}

impl Store {
    fn open(self, directory: &std::path::Path, faults: Faults) -> Arc<dyn Engine> {
        match self {
            Store::Extends => Arc::new(Faulty::new(Forgetful::new(true), faults)),
            Store::Immutable => Arc::new(Faulty::new(Forgetful::new(false), faults)),
            Store::Directory => Arc::new(Faulty::new(Filesystem::open(directory).unwrap(), faults)),
        }
    }
}

/// A chunk that meets trouble `late` bytes after the `before` that were acknowledged.
async fn failed_chunk(store: Store, trouble: Trouble, before: usize, late: usize) {
    let case = format!("{trouble:?} {late} bytes after {before}, {store:?}");
    let (directory, faults) = (tempfile::tempdir().unwrap(), Faults::new());
    let limits = match trouble {
        Trouble::TooLarge => Limits { blob: Some((before + late) as u64), ..small_steps() },
        _ => small_steps(),
    };
    let rig = Rig::with(store.open(directory.path(), faults.clone()), limits).await;
    let session = start(&rig).await;
    let content = noise(6, before + late);
    if before > 0 {
        let first = &content[..before];
        rig.registry.append_upload(&ME, &name(REPO), &session, length(first), body(first)).await.unwrap();
    }
    let (send, patch) = hang(&rig, &session, &content[before..]);
    settle().await;
    match trouble {
        Trouble::ReadOnly => rig.faults.set_status(Status::ReadOnly("no quorum".into())),
        Trouble::CommitFails => rig.faults.fail_next_commit(Fault::UnavailableBefore),
        Trouble::StoreFull => faults.cut_write(1, 10, roadstead_storage::ErrorKind::Full),
        Trouble::TooLarge | Trouble::Superseded => {}
    }
    if let Trouble::Superseded = trouble {
        let registry = rig.registry.clone();
        let newer = Chunk { length: Some(9), ..Chunk::default() };
        let wrong = registry.append_upload(&ME, &name(REPO), &session, newer, body(b"short")).await;
        assert!(matches!(wrong, Err(Error::SizeInvalid { .. })), "{case}: {wrong:?}");
    } else {
        send.unbounded_send(Ok(Bytes::from_static(b"more"))).unwrap();
        drop(send);
    }
    let outcome = patch.await.unwrap();
    assert!(outcome.is_err(), "{case}");
    rig.faults.set_status(Status::Writable);
    assert_eq!(rig.staged_bytes().await, received(&rig, &session).await, "{case}: {outcome:?}");
    // And the session goes on.
    if !matches!(trouble, Trouble::TooLarge) {
        let offset = received(&rig, &session).await as usize;
        let (rest, digest) = (&content[offset..], sha256(&content));
        let finish = rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(rest), body(rest)).await;
        finish.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content, "{case}");
        rig.registry.settled().await;
        assert_eq!(rig.staged_bytes().await, 0, "{case}");
    }
}

#[tokio::test]
async fn while_metadata_is_read_only_no_body_is_read() {
    let rig = Rig::new().await;
    let session = start(&rig).await;
    rig.registry.append_upload(&ME, &name(REPO), &session, length(b"x"), body(b"x")).await.unwrap();
    let fresh = start(&rig).await;
    for status in [Status::ReadOnly("no quorum".into()), Status::Down("no leader".into())] {
        rig.faults.set_status(status.clone());
        let unread = || futures::stream::poll_fn(|_| panic!("the body was read")).boxed();
        let digest = sha256(b"xyz");
        let (whole, repository) = (Chunk { range: None, length: Some(3) }, name(REPO));
        let mut outcomes = vec![rig.registry.push_blob(&ME, &repository, digest, Some(3), unread()).await];
        outcomes.push(rig.registry.start_upload(&ME, &repository, Algorithm::Sha256).await.map(drop));
        for session in [&session, &fresh] {
            let patch = rig.registry.append_upload(&ME, &repository, session, whole, unread()).await;
            outcomes.push(patch.map(drop));
            outcomes.push(rig.registry.finish_upload(&ME, &repository, session, digest, whole, unread()).await);
        }
        for outcome in outcomes {
            assert!(matches!(outcome, Err(Error::ReadOnly(_) | Error::Unavailable { .. })), "{outcome:?}");
        }
    }
}

/// The purge of another instance, or an operator, took the session away under a request.
#[tokio::test]
async fn a_writer_whose_session_has_gone_is_no_fault_of_the_registry() {
    let faults = Faults::new();
    let rig = Rig::with(Arc::new(Faulty::new(Forgetful::new(true), faults.clone())), small_steps()).await;
    let session = start(&rig).await;
    let (send, patch) = hang(&rig, &session, &noise(7, 5000));
    settle().await;
    rig.commit("DELETE FROM upload").await;
    faults.refuse(Operation::Write, 1, roadstead_storage::ErrorKind::Other);
    send.unbounded_send(Ok(Bytes::from_static(b"more"))).unwrap();
    let refused = patch.await.unwrap();
    assert!(matches!(refused, Err(Error::UploadBusy)), "{refused:?}");
}
