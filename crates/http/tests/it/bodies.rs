//! Request bodies as they should not be: too large, too short, too slow; and those that wait to be asked for.

use roadstead_http::Stop;
use tokio::time::Instant;

use crate::api::{Api, code, image, sha256};

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
