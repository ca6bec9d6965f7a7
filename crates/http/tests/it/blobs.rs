//! end-1, end-2, end-10: the base, and blobs whole, in ranges, conditionally.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use roadstead_storage::{Memory, ObjectKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::{Api, code, sha256};
use crate::wire::{collect, http2, http2_get, http2_request};

#[tokio::test]
async fn the_base_says_what_this_is() {
    let api = Api::start().await;
    for path in ["/v2/", "/v2"] {
        let answer = api.get(path).await;
        assert_eq!((answer.status, answer.text()), (200, "{}"));
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"));
    }
}

#[tokio::test]
async fn a_blob_is_answered_whole_with_what_clients_and_caches_need() {
    let api = Api::start().await;
    let digest = api.push("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    for method in ["GET", "HEAD"] {
        let answer = api.call(method, &path, &[], b"").await;
        assert_eq!(answer.status, 200, "{method}");
        for (name, value) in [
            ("content-length", "10"),
            ("content-type", "application/octet-stream"),
            ("accept-ranges", "bytes"),
            ("docker-content-digest", &digest.to_string()),
            ("etag", &format!("\"{digest}\"")),
            ("cache-control", "max-age=31536000, immutable"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {name}");
        }
        assert_eq!(answer.body, if method == "GET" { b"0123456789" as &[u8] } else { b"" });
    }
}

#[tokio::test]
async fn ranges_are_answered_in_part() {
    let api = Api::start().await;
    let digest = api.push("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    for (range, content_range, body) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-50", "bytes 8-9/10", "89"),
    ] {
        let answer = api.call("GET", &path, &[("Range", range)], b"").await;
        assert_eq!((answer.status, answer.text()), (206, body), "{range}");
        assert_eq!(answer.header("content-range"), Some(content_range));
    }
    for range in ["bytes=10-", "bytes=5-2", "bytes=-0"] {
        let answer = api.call("GET", &path, &[("Range", range)], b"").await;
        assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */10")), "{range}");
        assert_eq!(code(&answer), "UNSUPPORTED");
    }
    let changed = api.call("GET", &path, &[("Range", "bytes=2-4"), ("If-Range", "\"other\"")], b"").await;
    assert_eq!((changed.status, changed.text()), (200, "0123456789"));
    let same = [("Range", "bytes=2-4"), ("If-Range", &*format!("\"{digest}\""))];
    assert_eq!(api.call("GET", &path, &same, b"").await.status, 206);
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let api = Api::start().await;
    let digest = api.push("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let tag = format!("\"{digest}\"");
    for method in ["GET", "HEAD"] {
        let answer = api.call(method, &path, &[("If-None-Match", &tag)], b"").await;
        assert_eq!((answer.status, answer.header("etag")), (304, Some(tag.as_str())), "{method}");
        assert_eq!(api.call(method, &path, &[("If-None-Match", "\"x\"")], b"").await.status, 200);
        assert_eq!(api.call(method, &path, &[("If-Match", "\"x\"")], b"").await.status, 412);
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_head_says_so_without_a_body() {
    let api = Api::start().await;
    let there = api.push("a/b", b"x").await;
    let absent = sha256(b"absent");
    let answer = api.get(&format!("/v2/a/b/blobs/{absent}")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (404, "BLOB_UNKNOWN"));
    let answer = api.get(&format!("/v2/other/blobs/{there}")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (404, "NAME_UNKNOWN"));
    let mut client = api.server.connect().await;
    client
        .send(&format!("HEAD /v2/a/b/blobs/{absent} HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert_eq!(client.head().await.unwrap().status, 404);
    assert_eq!(client.answer().await.text(), "{}", "the connection goes on: no byte of an error body was sent");
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_refused_in_json() {
    let api = Api::start().await;
    for (method, path, status, wanted) in [
        ("GET", "/", 404, "UNSUPPORTED"),
        ("GET", "/v2/a/b/nothing", 404, "UNSUPPORTED"),
        ("GET", "/v1/a", 404, "UNSUPPORTED"),
        ("PUT", "/v2/", 405, "UNSUPPORTED"),
        ("POST", "/v2/a/b/tags/list", 405, "UNSUPPORTED"),
        ("GET", "/v2/A/B/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/../b/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a%2Fb/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/tags/list?n=%zz", 400, "UNSUPPORTED"),
    ] {
        let answer = api.call(method, path, &[], b"").await;
        assert_eq!((answer.status, code(&answer).as_str()), (status, wanted), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
    }
}

#[tokio::test]
async fn a_blob_is_deleted_once() {
    let api = Api::start().await;
    let digest = api.push("a/b", b"x").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    assert_eq!(api.call("DELETE", &path, &[], b"").await.status, 202);
    let again = api.call("DELETE", &path, &[], b"").await;
    assert_eq!((again.status, code(&again).as_str()), (404, "BLOB_UNKNOWN"));
    assert_eq!(api.call("HEAD", &path, &[], b"").await.status, 404);
}

#[tokio::test]
async fn a_blob_that_cannot_be_read_is_an_error_not_a_broken_body() {
    let api = Api::over(Arc::new(Memory::new()), |api| api).await;
    let digest = api.push("a/b", b"content").await;
    let key = api.objects().await.into_iter().find(|key| key.starts_with("blobs/")).unwrap();
    let key = ObjectKey::new(key).unwrap();
    api.store.delete(&key).await.unwrap();
    let answer = api.get(&format!("/v2/a/b/blobs/{digest}")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (500, "UNKNOWN"));
    assert!(!answer.text().contains("blobs/"), "keys are for the log: {}", answer.text());
    let id = answer.header("x-request-id").unwrap();
    assert!(answer.text().contains(id), "{}", answer.text());
    // An object of another length is found out before the head is sent, too.
    let mut writer = api.store.writer(&key).await.unwrap();
    writer.write(vec![Bytes::from_static(b"short")]).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(api.get(&format!("/v2/a/b/blobs/{digest}")).await.status, 500);
}

#[tokio::test]
async fn the_empty_blob_is_a_blob() {
    let api = Api::start().await;
    let digest = api.push("a/b", b"").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let answer = api.get(&path).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
    assert_eq!(api.call("GET", &path, &[("Range", "bytes=0-")], b"").await.status, 416);
}

#[tokio::test]
async fn over_http2_everything_is_the_same() {
    let api = Api::start().await;
    let (mut sender, connection) = http2(api.server.addr).await;
    let driver = tokio::spawn(connection);
    let mut call =
        |method, path: String, body| sender.send_request(http2_request(api.server.addr, method, &path, body));
    let digest = sha256(b"0123456789");

    let started = call("POST", "/v2/a/b/blobs/uploads/".into(), b"").await.unwrap();
    assert_eq!(started.status(), 202);
    let at = started.headers()["location"].to_str().unwrap().to_owned();
    let patched = call("PATCH", at.clone(), b"01234").await.unwrap();
    assert_eq!(
        (patched.status().as_u16(), &patched.headers()["range"]),
        (202, &"0-4".parse::<http::HeaderValue>().unwrap())
    );
    let put = call("PUT", format!("{at}?digest={digest}"), b"56789").await.unwrap();
    assert_eq!(put.status(), 201);

    let path = format!("/v2/a/b/blobs/{digest}");
    let head = call("HEAD", path.clone(), b"").await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &http::HeaderValue::from(10)));
    assert_eq!(collect(call("GET", path, b"").await.unwrap()).await, "0123456789");
    let absent = call("HEAD", format!("/v2/a/b/blobs/{}", sha256(b"absent")), b"").await.unwrap();
    assert_eq!(absent.status(), 404);
    assert_eq!(collect(absent).await, "");
    driver.abort();
}

/// Puts other bytes into the only blob there is.
async fn tamper(api: &Api, bytes: &[u8]) {
    let key = ObjectKey::new(api.objects().await.into_iter().find(|key| key.starts_with("blobs/")).unwrap()).unwrap();
    api.store.delete(&key).await.unwrap();
    let mut writer = api.store.writer(&key).await.unwrap();
    writer.write(bytes.chunks(64 << 10).map(Bytes::copy_from_slice).collect()).await.unwrap();
    writer.finish().await.unwrap();
}

#[tokio::test]
async fn a_blob_with_wrong_bytes_breaks_its_connection_or_stream() {
    let api = Api::start().await;
    let mut bytes = vec![7; 300_000];
    let digest = api.push("a/b", &bytes).await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let (mut sender, connection) = http2(api.server.addr).await;
    let driver = tokio::spawn(connection);
    for at in [0, bytes.len() - 1] {
        bytes[at] = 8;
        tamper(&api, &bytes).await;
        let mut client = TcpStream::connect(api.server.addr).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Ended by the server, in order or not, long before the client gives up waiting.
        let _ = client.read_to_end(&mut answer).await;
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() - head < bytes.len(), "byte {at}");

        let answer = sender.send_request(http2_get(api.server.addr, &path)).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.is_err(), "byte {at}: the stream is reset");
        bytes[at] = 7;
    }
    tamper(&api, &bytes).await;
    let answer = sender.send_request(http2_get(api.server.addr, &path)).await.unwrap();
    assert_eq!(collect(answer).await, bytes, "and its connection lives");
    driver.abort();
}

#[tokio::test]
async fn a_small_blob_with_wrong_bytes_is_an_error() {
    let api = Api::start().await;
    let digest = api.push("a/b", b"right").await;
    tamper(&api, b"wrong").await;
    let answer = api.get(&format!("/v2/a/b/blobs/{digest}")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (500, "UNKNOWN"), "{}", answer.text());
    assert_eq!(answer.header("docker-content-digest"), None);
}

#[tokio::test]
async fn head_answers_errors_with_the_head_of_get() {
    let api = Api::start().await;
    for path in ["/v2/a/b/manifests/v1", "/v2/a/b/nothing", "/v2/A/manifests/v1"] {
        let (get, head) = (api.get(path).await, api.call("HEAD", path, &[], b"").await);
        assert!(get.status >= 400 && head.status == get.status, "{path}");
        for name in ["content-length", "content-type"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
        assert!(get.header("content-length").is_some(), "{path}");
    }
}
