//! Upload sessions: chunks, resumption, takeover, ends.

use std::time::Duration;

use futures::StreamExt;
use proptest::prelude::*;
use roadstead_oci::{Algorithm, Digest};
use roadstead_registry::{BodyError, Chunk, Error, SESSION_LIFE};

use crate::rig::{ME, Rig, at, body, broken, length, name, noise, sha256};

const REPO: &str = "a/b";

async fn start(rig: &Rig) -> String {
    rig.registry.start_upload(&ME, &name(REPO), Algorithm::Sha256).await.unwrap().session
}

#[tokio::test]
async fn starting_writes_nothing() {
    let rig = Rig::new().await;
    start(&rig).await;
    assert_eq!(rig.count("SELECT count(*) FROM upload").await, 0);
    assert_eq!(rig.objects("").await, Vec::<String>::new());
}

#[tokio::test]
async fn chunks_become_a_blob_and_leave_no_staged_bytes() {
    let rig = Rig::new().await;
    let content = noise(2, 10_000);
    let session = start(&rig).await;
    let mut offset = 0;
    for chunk in content.chunks(3000) {
        let progress =
            rig.registry.append_upload(&ME, &name(REPO), &session, at(offset, chunk), body(chunk)).await.unwrap();
        offset += chunk.len() as u64;
        assert_eq!((progress.received, &progress.session), (offset, &session));
    }
    let digest = sha256(&content);
    rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
    let gone = rig.registry.upload_status(&ME, &name(REPO), &session).await;
    assert!(matches!(gone, Err(Error::UploadUnknown)), "{gone:?}");
    let again = rig.registry.append_upload(&ME, &name(REPO), &session, length(b"x"), body(b"x")).await;
    assert!(matches!(again, Err(Error::UploadUnknown)), "{again:?}");
}

#[tokio::test]
async fn a_chunk_elsewhere_is_refused_with_the_right_offset() {
    let rig = Rig::new().await;
    let session = start(&rig).await;
    rig.registry.append_upload(&ME, &name(REPO), &session, at(0, b"0123"), body(b"0123")).await.unwrap();
    for start in [0, 2, 5] {
        let wrong = rig.registry.append_upload(&ME, &name(REPO), &session, at(start, b"xx"), body(b"xx")).await;
        assert!(matches!(wrong, Err(Error::RangeInvalid { received: 4, .. })), "{wrong:?}");
    }
    let lying = Chunk { length: Some(5), ..at(4, b"4567") };
    let wrong = rig.registry.append_upload(&ME, &name(REPO), &session, lying, body(b"45678")).await;
    assert!(matches!(wrong, Err(Error::SizeInvalid { .. })), "{wrong:?}");
    let digest = sha256(b"01234567");
    rig.registry.finish_upload(&ME, &name(REPO), &session, digest, at(4, b"4567"), body(b"4567")).await.unwrap();
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), b"01234567");
}

#[tokio::test]
async fn a_broken_request_keeps_what_arrived() {
    let rig = Rig::new().await;
    let content = noise(3, 9000);
    let session = start(&rig).await;
    let cut = rig.registry.append_upload(&ME, &name(REPO), &session, length(&content), broken(&content[..7000])).await;
    assert!(matches!(cut, Err(Error::Body(BodyError::Broken(_)))), "{cut:?}");
    assert_eq!(rig.registry.upload_status(&ME, &name(REPO), &session).await.unwrap().received, 7000);
    let digest = sha256(&content);
    let rest = &content[7000..];
    rig.registry.finish_upload(&ME, &name(REPO), &session, digest, at(7000, rest), body(rest)).await.unwrap();
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
}

/// A request whose connection died unnoticed hangs with bytes on their way; the client comes back.
#[tokio::test]
async fn a_newer_request_takes_the_session_and_nothing_of_the_stale_one_is_mixed_in() {
    for acknowledged in [&b""[..], b"before "] {
        let rig = Rig::new().await;
        let session = start(&rig).await;
        let offset = acknowledged.len() as u64;
        if offset > 0 {
            let chunk = at(0, acknowledged);
            rig.registry.append_upload(&ME, &name(REPO), &session, chunk, body(acknowledged)).await.unwrap();
        }
        let (send, hung) = futures::channel::mpsc::unbounded();
        send.unbounded_send(Ok(bytes::Bytes::from_static(b"stale and longer"))).unwrap();
        let (registry, token) = (rig.registry.clone(), session.clone());
        let stale = tokio::spawn(async move {
            registry.append_upload(&ME, &name(REPO), &token, Chunk::default(), hung.boxed()).await
        });
        while rig.staged_bytes().await < offset + 16 {
            tokio::task::yield_now().await;
        }
        rig.registry.append_upload(&ME, &name(REPO), &session, at(offset, b"fresh"), body(b"fresh")).await.unwrap();
        let outcome = stale.await.unwrap();
        assert!(matches!(outcome, Err(Error::UploadBusy)), "{outcome:?}");
        let content = [acknowledged, b"fresh"].concat();
        let digest = sha256(&content);
        rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
        assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
        drop(send);
    }
}

#[tokio::test]
async fn what_a_cut_off_request_received_is_acknowledged_before_the_registry_has_settled() {
    let rig = Rig::new().await;
    let session = start(&rig).await;
    let (send, cut) = futures::channel::mpsc::unbounded();
    send.unbounded_send(Ok(bytes::Bytes::from_static(b"received"))).unwrap();
    let (registry, token) = (rig.registry.clone(), session.clone());
    let request =
        tokio::spawn(
            async move { registry.append_upload(&ME, &name(REPO), &token, Chunk::default(), cut.boxed()).await },
        );
    while rig.staged_bytes().await < 8 {
        tokio::task::yield_now().await;
    }
    request.abort();
    send.unbounded_send(Err(BodyError::Broken("cut off".to_owned()))).unwrap();
    rig.registry.settled().await;
    let status = rig.registry.upload_status(&ME, &name(REPO), &session).await.unwrap();
    assert_eq!(status.received, 8);
}

#[tokio::test]
async fn another_run_continues_at_the_acknowledged_offset() {
    let rig = Rig::new().await;
    let content = noise(4, 6000);
    let session = start(&rig).await;
    rig.registry
        .append_upload(&ME, &name(REPO), &session, at(0, &content[..2500]), body(&content[..2500]))
        .await
        .unwrap();
    let other = rig.restarted().await;
    assert_eq!(other.upload_status(&ME, &name(REPO), &session).await.unwrap().received, 2500);
    let rest = &content[2500..];
    other.append_upload(&ME, &name(REPO), &session, at(2500, rest), body(rest)).await.unwrap();
    assert_eq!(rig.count("SELECT epoch FROM upload").await, 1);
    let digest = sha256(&content);
    other.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
}

#[tokio::test]
async fn the_final_digest_may_use_another_algorithm() {
    let rig = Rig::new().await;
    let content = noise(5, 4000);
    let session = start(&rig).await;
    rig.registry.append_upload(&ME, &name(REPO), &session, length(&content), body(&content)).await.unwrap();
    let digest = Digest::of(Algorithm::Sha512, &content);
    rig.registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
}

#[tokio::test]
async fn a_wrong_digest_ends_the_session_and_stores_nothing() {
    let rig = Rig::new().await;
    let session = start(&rig).await;
    rig.registry.append_upload(&ME, &name(REPO), &session, length(b"bytes"), body(b"bytes")).await.unwrap();
    let wrong = rig.registry.finish_upload(&ME, &name(REPO), &session, sha256(b"other"), length(b""), body(b"")).await;
    assert!(matches!(wrong, Err(Error::DigestInvalid { .. })), "{wrong:?}");
    assert!(matches!(rig.registry.upload_status(&ME, &name(REPO), &session).await, Err(Error::UploadUnknown)));
    assert_eq!(rig.objects("blobs/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_cancelled_session_is_unknown_with_and_without_bytes() {
    let rig = Rig::new().await;
    for with_bytes in [false, true] {
        let session = start(&rig).await;
        if with_bytes {
            rig.registry.append_upload(&ME, &name(REPO), &session, length(b"x"), body(b"x")).await.unwrap();
        }
        rig.registry.cancel_upload(&ME, &name(REPO), &session).await.unwrap();
        for _ in 0..2 {
            assert!(matches!(rig.registry.upload_status(&ME, &name(REPO), &session).await, Err(Error::UploadUnknown)));
            assert!(matches!(rig.registry.cancel_upload(&ME, &name(REPO), &session).await, Err(Error::UploadUnknown)));
        }
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_repository_and_its_time() {
    let rig = Rig::new().await;
    let session = start(&rig).await;
    let elsewhere = rig.registry.upload_status(&ME, &name("a/c"), &session).await;
    assert!(matches!(elsewhere, Err(Error::UploadUnknown)), "{elsewhere:?}");
    rig.clock.advance(SESSION_LIFE + Duration::from_secs(1));
    assert!(matches!(rig.registry.upload_status(&ME, &name(REPO), &session).await, Err(Error::UploadUnknown)));
}

/// POST and PUT without a PATCH: the token has no row until the end.
#[tokio::test]
async fn a_session_finished_by_its_first_request_has_ended() {
    let rig = Rig::new().await;
    let session = start(&rig).await;
    let digest = sha256(b"bytes");
    let finish = |rig: &Rig| {
        let (registry, session) = (rig.registry.clone(), session.clone());
        async move { registry.finish_upload(&ME, &name(REPO), &session, digest, length(b"bytes"), body(b"bytes")).await }
    };
    rig.faults.fail_next_commit(roadstead_metadata::Fault::UnavailableBefore);
    assert!(matches!(finish(&rig).await, Err(Error::ReadOnly(_))));
    // A request that hangs gives way.
    let (send, hung) = futures::channel::mpsc::unbounded();
    send.unbounded_send(Ok(bytes::Bytes::from_static(b"stale"))).unwrap();
    let (registry, token) = (rig.registry.clone(), session.clone());
    let stale =
        tokio::spawn(
            async move { registry.append_upload(&ME, &name(REPO), &token, Chunk::default(), hung.boxed()).await },
        );
    while rig.staged_bytes().await < 5 {
        tokio::task::yield_now().await;
    }
    finish(&rig).await.unwrap();
    assert!(matches!(stale.await.unwrap(), Err(Error::UploadBusy)));
    assert_eq!(rig.pull(REPO, &digest).await.unwrap(), b"bytes");
    let gone = [
        finish(&rig).await,
        rig.registry.upload_status(&ME, &name(REPO), &session).await.map(drop),
        rig.registry.append_upload(&ME, &name(REPO), &session, length(b"x"), body(b"x")).await.map(drop),
        rig.registry.cancel_upload(&ME, &name(REPO), &session).await,
    ];
    assert!(gone.iter().all(|gone| matches!(gone, Err(Error::UploadUnknown))), "{gone:?}");
    assert_eq!(rig.objects("").await.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any split into chunks, each perhaps broken off and continued, perhaps by another run, gives the same blob.
    #[test]
    fn any_way_of_sending_gives_the_same_bytes(
        steps in prop::collection::vec((1usize..4000, any::<bool>(), any::<bool>()), 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new().await;
            let total: usize = steps.iter().map(|step| step.0).sum();
            let content = noise(9, total);
            let session = start(&rig).await;
            let mut registry = rig.registry.clone();
            let mut offset = 0;
            for (size, breaks, restarts) in steps {
                let chunk = &content[offset..offset + size];
                let sent = if breaks { &chunk[..size / 2] } else { chunk };
                let stream = if breaks { broken(sent) } else { body(sent) };
                let outcome =
                    registry.append_upload(&ME, &name(REPO), &session, at(offset as u64, chunk), stream).await;
                assert_eq!(outcome.is_err(), breaks);
                if restarts {
                    registry = rig.restarted().await;
                }
                let received = registry.upload_status(&ME, &name(REPO), &session).await.unwrap().received as usize;
                assert_eq!(received, offset + sent.len());
                if breaks {
                    let rest = &content[received..offset + size];
                    let chunk = at(received as u64, rest);
                    registry.append_upload(&ME, &name(REPO), &session, chunk, body(rest)).await.unwrap();
                }
                offset += size;
            }
            let digest = sha256(&content);
            registry.finish_upload(&ME, &name(REPO), &session, digest, length(b""), body(b"")).await.unwrap();
            assert_eq!(rig.pull(REPO, &digest).await.unwrap(), content);
        });
    }
}
