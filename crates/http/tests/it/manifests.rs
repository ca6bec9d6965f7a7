//! end-3, end-7, end-9: manifests.

use roadstead_metadata::Status;
use roadstead_oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::api::{Api, code, image, sha256};

const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn a_manifest_is_answered_byte_by_byte_under_tag_and_digest() {
    let api = Api::start().await;
    let (manifest, digest) = api.push_image("a/b", "v1").await;
    for (reference, caching) in [("v1", "no-cache"), (&*digest.to_string(), "max-age=31536000, immutable")] {
        let path = format!("/v2/a/b/manifests/{reference}");
        for method in ["GET", "HEAD"] {
            // Whatever the client would rather have.
            let answer = api.call(method, &path, &[("Accept", "text/plain")], b"").await;
            assert_eq!(answer.status, 200, "{method} {reference}");
            assert_eq!(answer.header("content-type"), Some(KIND));
            assert_eq!(answer.header("content-length"), Some(manifest.len().to_string().as_str()));
            assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
            assert_eq!(answer.header("cache-control"), Some(caching));
            assert_eq!(answer.body, if method == "GET" { manifest.as_slice() } else { b"" });
        }
        let tag = format!("\"{digest}\"");
        assert_eq!(api.call("GET", &path, &[("If-None-Match", &tag)], b"").await.status, 304);
        assert_eq!(api.call("HEAD", &path, &[("If-None-Match", &tag)], b"").await.status, 304);
    }
}

#[tokio::test]
async fn a_push_answers_location_digest_subject_and_tags() {
    let api = Api::start().await;
    let (_, subject) = api.push_image("a/b", "v1").await;
    let mut artifact = image();
    artifact["artifactType"] = json!("application/vnd.example");
    artifact["subject"] = json!({"mediaType": KIND, "digest": subject, "size": 1});
    let bytes = artifact.to_string().into_bytes();
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let answer = api.put_manifest("a/b", &format!("{digest}?tag=one&tag=two"), &bytes).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
    assert_eq!(answer.header("location"), Some(format!("/v2/a/b/manifests/{digest}").as_str()));
    assert_eq!(answer.header("oci-subject"), Some(subject.to_string().as_str()));
    let tags: Vec<_> = answer.headers.iter().filter(|(n, _)| n == "oci-tag").map(|(_, v)| v.as_str()).collect();
    assert_eq!(tags, ["one", "two"]);
    assert_eq!(api.get("/v2/a/b/manifests/two").await.body, bytes);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_kept_says_why() {
    let api = Api::start().await;
    let bytes = image().to_string().into_bytes();
    let answer = api.put_manifest("a/b", "v1", &bytes).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let missing: Vec<_> = body["errors"].as_array().unwrap().iter().map(|e| e["detail"]["digest"].clone()).collect();
    assert_eq!(answer.status, 400);
    assert_eq!(missing, [json!(sha256(b"{}")), json!(sha256(b"layer"))]);

    api.push_image("a/b", "v1").await;
    for (reference, bytes, wanted) in [
        ("v1", b"not json" as &[u8], "MANIFEST_INVALID"),
        ("v1", b"{\"schemaVersion\":2}", "MANIFEST_INVALID"),
        (&*sha256(b"other").to_string(), &bytes, "DIGEST_INVALID"),
        ("sha256:baddigeststring", &bytes, "DIGEST_INVALID"),
        (".bad", &bytes, "MANIFEST_INVALID"),
        ("v1?tag=.bad", &bytes, "MANIFEST_INVALID"),
    ] {
        let answer = api.put_manifest("a/b", reference, bytes).await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, wanted), "{reference}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_unknown() {
    let api = Api::start().await;
    let (_, digest) = api.push_image("a/b", "v1").await;
    for reference in ["v2", ".bad", &sha256(b"absent").to_string()] {
        let answer = api.get(&format!("/v2/a/b/manifests/{reference}")).await;
        assert_eq!((answer.status, code(&answer).as_str()), (404, "MANIFEST_UNKNOWN"), "{reference}");
    }
    let answer = api.get(&format!("/v2/other/manifests/{digest}")).await;
    assert_eq!((answer.status, code(&answer).as_str()), (404, "NAME_UNKNOWN"));
}

#[tokio::test]
async fn deleting_a_tag_keeps_the_manifest_and_deleting_that_takes_its_tags() {
    let api = Api::start().await;
    let (_, digest) = api.push_image("a/b", "v1").await;
    api.push_image("a/b", "v2").await;
    assert_eq!(api.call("DELETE", "/v2/a/b/manifests/v1", &[], b"").await.status, 202);
    assert_eq!(api.get("/v2/a/b/manifests/v1").await.status, 404);
    let path = format!("/v2/a/b/manifests/{digest}");
    assert_eq!(api.get(&path).await.status, 200);
    assert_eq!(api.call("DELETE", &path, &[], b"").await.status, 202);
    assert_eq!(api.get("/v2/a/b/manifests/v2").await.status, 404);
    assert_eq!(api.call("DELETE", &path, &[], b"").await.status, 404);
}

#[tokio::test]
async fn what_something_needs_is_not_deleted() {
    let api = Api::start().await;
    api.push_image("a/b", "v1").await;
    let answer = api.call("DELETE", &format!("/v2/a/b/blobs/{}", sha256(b"layer")), &[], b"").await;
    assert_eq!((answer.status, code(&answer).as_str()), (409, "DENIED"));
}

#[tokio::test]
async fn read_only_metadata_refuses_pushes_and_serves_pulls() {
    let api = Api::start().await;
    let (manifest, _) = api.push_image("a/b", "v1").await;
    api.metadata.set_status(Status::ReadOnly("no quorum on 10.0.0.7".into()));
    let answer = api.put_manifest("a/b", "v2", &manifest).await;
    assert_eq!((answer.status, code(&answer).as_str()), (503, "UNAVAILABLE"));
    assert!(answer.header("retry-after").is_some() && !answer.text().contains("10.0.0.7"), "{}", answer.text());
    assert_eq!(api.get("/v2/a/b/manifests/v1").await.status, 200);
    assert_eq!(api.get(&format!("/v2/a/b/blobs/{}", sha256(b"layer"))).await.status, 200);
}

#[tokio::test]
async fn conditions_hold_for_pushes_and_deletions_too() {
    let api = Api::start().await;
    let (manifest, digest) = api.push_image("a/b", "v1").await;
    let tag = format!("\"{digest}\"");
    let blob = format!("/v2/a/b/blobs/{}", sha256(b"layer"));
    let weak = format!("W/{tag}");
    for (method, path, header, value, wanted) in [
        ("PUT", "/v2/a/b/manifests/v1", "If-None-Match", "*", 412),
        ("PUT", "/v2/a/b/manifests/v1", "If-Match", "\"other\"", 412),
        ("PUT", "/v2/a/b/manifests/v1", "If-Match", &weak, 412),
        ("PUT", "/v2/a/b/manifests/v1", "If-None-Match", &weak, 412),
        ("PUT", "/v2/a/b/manifests/v2", "If-Match", "*", 412),
        ("PUT", "/v2/a/b/manifests/v2", "If-None-Match", "*", 201),
        ("PUT", "/v2/a/b/manifests/v1", "If-Match", &tag, 201),
        ("DELETE", "/v2/a/b/manifests/v1", "If-Match", "\"other\"", 412),
        ("DELETE", "/v2/a/b/manifests/v1", "If-Match", &tag, 202),
        ("DELETE", "/v2/a/b/manifests/v1", "If-Match", &tag, 404),
        ("DELETE", &blob, "If-Match", &tag, 412),
        ("POST", "/v2/a/b/blobs/uploads/", "If-Match", &tag, 412),
        ("POST", "/v2/a/b/blobs/uploads/", "If-None-Match", "*", 202),
    ] {
        let body = if method == "PUT" { &manifest[..] } else { b"" };
        let headers = [("Content-Type", KIND), (header, value)];
        let answer = api.call(method, path, &headers, body).await;
        assert_eq!(answer.status, wanted, "{method} {path} {header}: {value}: {}", answer.text());
        if wanted == 412 {
            assert_eq!(code(&answer), "DENIED");
        }
    }
    assert_eq!(api.get(&blob).await.status, 200);
}

#[tokio::test]
async fn more_tags_than_an_answer_can_name_are_refused() {
    let api = Api::start().await;
    let (manifest, digest) = api.push_image("a/b", "v1").await;
    let tags = |count: usize| (0..count).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");
    let answer = api.put_manifest("a/b", &format!("{digest}?{}", tags(51)), &manifest).await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "UNSUPPORTED"));
    assert!(answer.text().contains("at most 50"), "{}", answer.text());
    let answer = api.put_manifest("a/b", &format!("{digest}?{}", tags(50)), &manifest).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "oci-tag").count(), 50);
}

#[tokio::test]
async fn while_metadata_is_read_only_no_body_is_waited_for() {
    let api = Api::start().await;
    api.metadata.set_status(Status::ReadOnly("no quorum".into()));
    for target in [
        "PUT /v2/a/b/manifests/v1",
        "POST /v2/a/b/blobs/uploads/?digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let mut client = api.server.connect().await;
        client.send_bytes(format!("{target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, code(&answer).as_str()), (503, "UNAVAILABLE"), "{target}");
    }
}

#[tokio::test]
async fn a_manifest_of_the_largest_size_is_kept() {
    let api = Api::start().await;
    api.push_image("a/b", "v1").await;
    let mut large = image();
    large["annotations"] = json!({"padding": ""});
    let rest = (4 << 20) - large.to_string().len();
    large["annotations"] = json!({"padding": "x".repeat(rest)});
    let bytes = large.to_string().into_bytes();
    assert_eq!(bytes.len(), 4 << 20);
    assert_eq!(api.put_manifest("a/b", "large", &bytes).await.status, 201);
    assert_eq!(api.get("/v2/a/b/manifests/large").await.body, bytes);
}
