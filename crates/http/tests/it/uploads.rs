//! end-4, end-5, end-6, end-11, end-13, and cancelling: uploads in every form.

use std::sync::Arc;

use roadstead_oci::{Algorithm, Digest};
use roadstead_storage::Memory;

use crate::api::{Api, code, sha256};
use crate::wire::Answer;

async fn start(api: &Api) -> String {
    let answer = api.call("POST", "/v2/a/b/blobs/uploads/", &[], b"").await;
    assert_eq!((answer.status, answer.header("range")), (202, Some("0-0")));
    assert!(answer.header("docker-upload-uuid").is_some());
    location(&answer)
}

fn location(answer: &Answer) -> String {
    answer.header("location").unwrap().to_owned()
}

async fn pulls(api: &Api, digest: &Digest, content: &[u8]) {
    assert_eq!(api.get(&format!("/v2/a/b/blobs/{digest}")).await.body, content);
}

#[tokio::test]
async fn in_one_put_after_a_post() {
    let api = Api::start().await;
    let digest = sha256(b"content");
    let answer = api.call("PUT", &format!("{}?digest={digest}", start(&api).await), &[], b"content").await;
    assert_eq!((answer.status, answer.header("docker-content-digest")), (201, Some(digest.to_string().as_str())));
    assert_eq!(location(&answer), format!("/v2/a/b/blobs/{digest}"));
    pulls(&api, &digest, b"content").await;
}

#[tokio::test]
async fn in_one_post_with_either_algorithm() {
    let api = Api::start().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, b"content");
        let answer = api.call("POST", &format!("/v2/a/b/blobs/uploads/?digest={digest}"), &[], b"content").await;
        assert_eq!((answer.status, location(&answer)), (201, format!("/v2/a/b/blobs/{digest}")));
        pulls(&api, &digest, b"content").await;
    }
}

#[tokio::test]
async fn in_chunks_of_which_the_last_may_come_with_the_put() {
    let api = Api::start().await;
    for last_with_put in [false, true] {
        let mut at = start(&api).await;
        let chunks: &[(&str, &[u8])] =
            if last_with_put { &[("0-3", b"0123")] } else { &[("0-3", b"0123"), ("4-6", b"456")] };
        for (range, chunk) in chunks {
            let answer = api.call("PATCH", &at, &[("Content-Range", range)], chunk).await;
            let end = range.split('-').nth(1).unwrap();
            assert_eq!((answer.status, answer.header("range")), (202, Some(format!("0-{end}").as_str())));
            at = location(&answer);
        }
        let status = api.get(&at).await;
        assert_eq!(status.status, 204);
        assert_eq!(status.header("range"), Some(if last_with_put { "0-3" } else { "0-6" }));
        let digest = sha256(b"0123456");
        let (headers, rest): (&[(&str, &str)], &[u8]) =
            if last_with_put { (&[("Content-Range", "4-6")], b"456") } else { (&[], b"") };
        let answer = api.call("PUT", &format!("{at}?digest={digest}"), headers, rest).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        pulls(&api, &digest, b"0123456").await;
    }
}

#[tokio::test]
async fn a_chunk_out_of_order_is_told_where_the_upload_stands() {
    let api = Api::start().await;
    let at = start(&api).await;
    assert_eq!(api.call("PATCH", &at, &[("Content-Range", "0-3")], b"0123").await.status, 202);
    let digest = sha256(b"0123456");
    for (method, path, range) in [
        ("PATCH", at.clone(), "0-3"),
        ("PATCH", at.clone(), "2-5"),
        ("PATCH", at.clone(), "6-9"),
        ("PUT", format!("{at}?digest={digest}"), "6-9"),
    ] {
        let answer = api.call(method, &path, &[("Content-Range", range)], b"0123").await;
        assert_eq!((answer.status, answer.header("range")), (416, Some("0-3")), "{method} {range}");
        assert_eq!((code(&answer).as_str(), location(&answer).as_str()), ("BLOB_UPLOAD_INVALID", at.as_str()));
    }
    let answer = api.call("PATCH", &at, &[("Content-Range", "nonsense")], b"x").await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "BLOB_UPLOAD_INVALID"));
    assert_eq!(api.call("PUT", &format!("{at}?digest={digest}"), &[], b"456").await.status, 201);
}

#[tokio::test]
async fn streamed_without_a_length() {
    let api = Api::start().await;
    let at = start(&api).await;
    let mut client = api.server.connect().await;
    client
        .send(&format!(
            "PATCH {at} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n3\r\n456\r\n0\r\n\r\n"
        ))
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("range")), (202, Some("0-6")));
    let digest = sha256(b"0123456");
    assert_eq!(api.call("PUT", &format!("{at}?digest={digest}"), &[], b"").await.status, 201);
    pulls(&api, &digest, b"0123456").await;
}

#[tokio::test]
async fn wrong_content_is_refused_and_not_kept() {
    let api = Api::start().await;
    let digest = sha256(b"announced");
    let at = start(&api).await;
    for (method, path) in
        [("POST", format!("/v2/a/b/blobs/uploads/?digest={digest}")), ("PUT", format!("{at}?digest={digest}"))]
    {
        let answer = api.call(method, &path, &[], b"something else").await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, "DIGEST_INVALID"), "{method}");
    }
    assert_eq!(api.get(&format!("/v2/a/b/blobs/{digest}")).await.status, 404);
    assert_eq!(api.objects().await, Vec::<String>::new());
    for query in ["", "?digest=", "?digest=sha256:abc", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = api.call("PUT", &format!("{}{query}", start(&api).await), &[], b"x").await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, "DIGEST_INVALID"), "{query}");
    }
}

#[tokio::test]
async fn cancelled_finished_and_foreign_sessions_are_unknown() {
    let api = Api::start().await;
    let at = start(&api).await;
    assert_eq!(api.call("DELETE", &at, &[], b"").await.status, 204);
    let finished = start(&api).await;
    let digest = sha256(b"x");
    assert_eq!(api.call("PUT", &format!("{finished}?digest={digest}"), &[], b"x").await.status, 201);
    let foreign = start(&api).await.replace("/a/b/", "/c/");
    for path in [at.as_str(), &foreign, "/v2/a/b/blobs/uploads/made-up"] {
        for method in ["GET", "PATCH", "DELETE"] {
            let answer = api.call(method, path, &[], b"").await;
            assert_eq!((answer.status, code(&answer).as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_it_is_or_uploaded() {
    let api = Api::start().await;
    let digest = api.push("source", b"shared").await;
    for (query, target) in [("&from=source", "one"), ("", "two")] {
        let answer = api.call("POST", &format!("/v2/{target}/blobs/uploads/?mount={digest}{query}"), &[], b"").await;
        assert_eq!((answer.status, location(&answer)), (201, format!("/v2/{target}/blobs/{digest}")), "{query}");
        assert_eq!(api.get(&format!("/v2/{target}/blobs/{digest}")).await.body, b"shared");
    }
    let absent = Digest::of(Algorithm::Sha512, b"absent");
    for query in ["&from=source", "&from=nowhere", ""] {
        let answer = api.call("POST", &format!("/v2/three/blobs/uploads/?mount={absent}{query}"), &[], b"").await;
        assert_eq!(answer.status, 202, "{query}");
        let path = format!("{}?digest={absent}", location(&answer));
        assert_eq!(api.call("PUT", &path, &[], b"other").await.status, 400);
    }
    let answer = api.call("POST", &format!("/v2/one/blobs/uploads/?mount={digest}&from=NO"), &[], b"").await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "NAME_INVALID"));
}

#[tokio::test]
async fn locations_are_absolute_when_the_host_is_configured() {
    let api = Api::over(Arc::new(Memory::new()), |api| api.with_host("https://registry.example.com/")).await;
    let answer = api.call("POST", "/v2/a/b/blobs/uploads/", &[], b"").await;
    assert!(location(&answer).starts_with("https://registry.example.com/v2/a/b/blobs/uploads/"));
    let path = location(&answer).replace("https://registry.example.com", "");
    let answer = api.call("PATCH", &path, &[("Content-Range", "7-8")], b"xx").await;
    assert!(answer.status == 416 && location(&answer).starts_with("https://registry.example.com/v2/"));
}
