//! Request bodies as they should not be: too large, too short, too slow; and those that wait to be asked for.

use std::sync::Arc;
use std::time::Duration;

use roadstead_http::{Bounds, Stop};
use tokio::time::{Instant, timeout};

use crate::api::{Api, code, image, sha256};
use crate::wire::{Client, HeldClock};

const LIMIT: usize = 4 << 20;

#[tokio::test]
async fn a_manifest_over_the_limit_is_refused_before_and_while_it_is_read() {
    let api = Api::start().await;
    let bytes = vec![b' '; LIMIT + 1];
    let answer = api.put_manifest("a/b", "v1", &bytes).await;
    assert_eq!((answer.status, code(&answer).as_str()), (413, "SIZE_INVALID"));

    let mut client = api.server.connect().await;
    let head = "PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(&format!("{head}{:x}\r\n", 2 * LIMIT)).await;
    client.try_send(&vec![b' '; 2 * LIMIT]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, code(&answer).as_str()), (413, "SIZE_INVALID"));
    assert!(client.is_closed().await);
    assert_eq!(api.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_reaches_a_client_that_is_still_sending() {
    let api = Api::start().await;
    // Nothing reads this body: the session does not exist. A reset would overtake the answer.
    let mut client = api.server.connect().await;
    let head = "PATCH /v2/a/b/blobs/uploads/none HTTP/1.1\r\nHost: x\r\nContent-Length: 33554432\r\n\r\n";
    client.send(head).await;
    assert!(client.try_send(&[0; 1 << 20]).await);
    let answer = client.answer().await;
    assert_eq!((answer.status, code(&answer).as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(answer.header("connection"), Some("close"), "the next request would be lost");
    for _ in 0..8 {
        assert!(client.try_send(&[0; 1 << 20]).await, "what is still sent is discarded, not reset");
    }
    client.finish_sending().await;
    assert!(client.ends_cleanly().await);
}

#[tokio::test]
async fn a_body_shorter_than_announced_leaves_nothing() {
    let api = Api::start().await;
    api.push_image("a/b", "v1").await;
    let before = api.objects().await;
    let digest = sha256(b"0123456789");
    let manifest = image().to_string();
    for (target, body) in [
        (format!("POST /v2/a/b/blobs/uploads/?digest={digest}"), "01234"),
        ("PUT /v2/a/b/manifests/v2".to_owned(), &*manifest),
    ] {
        let mut client = api.server.connect().await;
        client.send(&format!("{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len() + 5)).await;
        client.finish_sending().await;
        // Whether the answer still reaches a client that is gone is up to the connection.
        if let Some(answer) = client.try_answer().await {
            assert_eq!(answer.status, 400, "{target}");
        }
    }
    assert_eq!(api.get(&format!("/v2/a/b/blobs/{digest}")).await.status, 404);
    assert_eq!(api.get("/v2/a/b/manifests/v2").await.status, 404);
    assert_eq!(api.objects().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_answered_408_and_ends_the_connection() {
    let api = Api::start().await;
    let digest = sha256(b"0123456789");
    let mut client = api.server.connect().await;
    client
        .send(&format!(
            "POST /v2/a/b/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234"
        ))
        .await;
    let begun = Instant::now();
    let answer = client.late_head().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert!(client.ends_after_its_body().await);
}

#[tokio::test]
async fn a_client_may_wait_to_be_asked_for_its_body() {
    let api = Api::start().await;
    let digest = sha256(b"content");
    let mut client = api.server.connect().await;
    client
        .send(&format!(
            "POST /v2/a/b/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n"
        ))
        .await;
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send("content").await;
    assert_eq!(client.answer().await.status, 201);

    // Who would be refused is not asked.
    let mut client = api.server.connect().await;
    client
        .send("PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap().status, 413);
}

/// The beginning of a manifest push whose rest is not sent.
async fn begin_manifest(api: &Api, announced: usize, sent: usize) -> Client {
    let mut client = api.server.connect().await;
    let head = "PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue";
    client.send(&format!("{head}\r\nContent-Length: {announced}\r\n\r\n")).await;
    assert_eq!(client.head().await.unwrap().status, 100);
    let _clock = HeldClock::hold();
    client.send_bytes(&vec![b' '; sent]).await;
    client
}

#[tokio::test(start_paused = true)]
async fn manifests_that_do_not_end_hold_a_bounded_memory_for_a_bounded_time() {
    let store = Arc::new(roadstead_storage::Memory::new());
    let api = Api::over(store, |api| api.with_bounds(Bounds::new(2 << 20, 1))).await;
    let begun = Instant::now();
    let mut dribbles = begin_manifest(&api, 3 << 20, (2 << 20) - 100).await;
    let ended = tokio::spawn(async move {
        while timeout(Duration::from_secs(50), dribbles.late_head()).await.is_err() {
            dribbles.send(" ").await;
        }
        begun.elapsed().as_secs()
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    // All the memory is taken. Who needs some waits as long as for a client, and is told to come back.
    let mut waits = begin_manifest(&api, 100, 100).await;
    let answer = waits.late_head().await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(begun.elapsed().as_secs(), 70);
    // One body timeout for the first megabyte and one for what came of the second.
    assert_eq!(ended.await.unwrap(), 120);
    let answer = begin_manifest(&api, 100, 100).await.answer().await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "MANIFEST_INVALID"), "what was held is free again");
}

#[tokio::test(start_paused = true)]
async fn blob_bodies_beyond_the_bound_wait_and_are_told_to_come_back() {
    let store = Arc::new(roadstead_storage::Memory::new());
    let api = Api::over(store, |api| api.with_bounds(Bounds::new(1 << 20, 1))).await;
    let digest = api.push("a/b", b"content").await;
    let location = api.call("POST", "/v2/a/b/blobs/uploads/", &[], b"").await;
    let location = location.header("location").unwrap();
    let mut pushes = api.server.connect().await;
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    pushes.send(&head).await;
    assert_eq!(pushes.head().await.unwrap().status, 100);
    let path = format!("/v2/a/b/blobs/{digest}");
    let mut pulls = api.server.connect().await;
    let begun = Instant::now();
    pulls.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    pushes.send("x").await;
    let answer = pulls.late_head().await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after"), begun.elapsed().as_secs()), (503, Some("5"), 60));
    // What needs no room is answered all the same.
    assert_eq!(api.call("HEAD", &path, &[], b"").await.status, 200);
    pushes.send("xx").await;
    assert_eq!(pushes.answer().await.status, 202);
    assert_eq!(api.get(&path).await.text(), "content");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_does_not_end_is_told_to_come_back_before_the_deadline() {
    let api = Api::start().await;
    let started = api.call("POST", "/v2/a/b/blobs/uploads/", &[], b"").await;
    let location = started.header("location").unwrap();
    let mut client = api.server.connect().await;
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    client.send(&head).await;
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send("01234").await;
    let begun = Instant::now();
    api.server.stop(Stop::Promptly);
    let answer = client.late_head().await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
    assert_eq!(begun.elapsed().as_millis(), 9_600);
    assert!(client.ends_after_its_body().await);
    assert_eq!(api.server.ended().await, roadstead_http::Ended::Drained);
}

#[tokio::test]
async fn an_upload_in_flight_finishes_while_the_server_drains() {
    let api = Api::start().await;
    let digest = sha256(b"0123456789");
    let mut client = api.server.connect().await;
    client
        .send(&format!("POST /v2/a/b/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"))
        .await;
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send("01234").await;
    api.server.stop(Stop::Promptly);
    while tokio::net::TcpStream::connect(api.server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    client.send("56789").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (201, Some("close")));
    assert_eq!(api.server.ended().await, roadstead_http::Ended::Drained);
}
