#![allow(clippy::unwrap_used, clippy::expect_used)]

use http_body_util::BodyExt as _;
use roadstead_oci::{Algorithm, Descriptor, Reference};

use super::*;

const SECRET: &str = "connect 10.0.0.7:5432 refused";

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

/// Status, body and headers of an error in repository `a/b` of `https://r`.
async fn rendered(failure: impl Into<Failure>) -> (u16, Value, http::HeaderMap) {
    let name: RepositoryName = "a/b".parse().unwrap();
    let (head, body) = render(failure.into(), "https://r", Some(&name), "id-7").into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), serde_json::from_slice(&body).unwrap(), head.headers)
}

#[tokio::test]
async fn each_error_has_its_status_and_code() {
    let manifest = Reference::Tag("v1".parse().unwrap());
    let size = Error::SizeInvalid { what: "layers[0].size".into(), stated: 1, actual: 2 };
    let wrong = Error::DigestInvalid { expected: Box::new(digest("a")), actual: Box::new(digest("b")) };
    let down = Error::Unavailable { component: "storage", cause: SECRET.into() };
    for (error, status, code) in [
        (Error::NameUnknown("a/b".parse().unwrap()), 404, "NAME_UNKNOWN"),
        (Error::BlobUnknown(digest("a")), 404, "BLOB_UNKNOWN"),
        (Error::ManifestUnknown(manifest), 404, "MANIFEST_UNKNOWN"),
        (size, 400, "SIZE_INVALID"),
        (wrong, 400, "DIGEST_INVALID"),
        (Error::UploadUnknown, 404, "BLOB_UPLOAD_UNKNOWN"),
        (Error::UploadBusy, 409, "BLOB_UPLOAD_INVALID"),
        (Error::TooLarge { limit: 4 }, 413, "SIZE_INVALID"),
        (Error::TooManyPieces { most: 4 }, 413, "SIZE_INVALID"),
        (Error::Body(BodyError::Broken("reset".into())), 400, "BLOB_UPLOAD_INVALID"),
        (Error::Body(BodyError::TooSlow), 408, "BLOB_UPLOAD_INVALID"),
        (Error::Body(BodyError::Superseded), 409, "BLOB_UPLOAD_INVALID"),
        (Error::Body(BodyError::Draining), 503, "UNAVAILABLE"),
        (Error::Unauthorized, 401, "UNAUTHORIZED"),
        (Error::Denied("no".into()), 403, "DENIED"),
        (Error::InUse("named by".into()), 409, "DENIED"),
        (Error::Unsupported("no".into()), 400, "UNSUPPORTED"),
        (Error::Contended, 503, "UNAVAILABLE"),
        (Error::ReadOnly(SECRET.into()), 503, "UNAVAILABLE"),
        (down, 503, "UNAVAILABLE"),
        (Error::SourceUnavailable { name: "the issuer", cause: SECRET.into() }, 503, "UNAVAILABLE"),
        (Error::Full(SECRET.into()), 507, "UNAVAILABLE"),
        (Error::Damaged(SECRET.into()), 500, "UNKNOWN"),
        (Error::Internal(SECRET.into()), 500, "UNKNOWN"),
    ] {
        let shown = format!("{error:?}");
        let (got, body, headers) = rendered(error).await;
        assert_eq!((got, body["errors"][0]["code"].as_str().unwrap()), (status, code), "{shown}");
        assert!(!body.to_string().contains(SECRET), "{shown}: the cause is for the log");
        assert_eq!(matches!(got, 503 | 507), headers.contains_key("retry-after") && got != 409, "{shown}");
        assert_eq!(headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn every_missing_blob_is_listed() {
    let missing = vec![Descriptor::new("a/b", digest("1"), 3), Descriptor::new("c/d", digest("2"), 4)];
    let (status, body, _) = rendered(Error::ManifestBlobUnknown(missing)).await;
    let entries = body["errors"].as_array().unwrap();
    assert_eq!((status, entries.len()), (400, 2));
    for (entry, content) in entries.iter().zip(["1", "2"]) {
        assert_eq!(entry["code"], "MANIFEST_BLOB_UNKNOWN");
        assert_eq!(entry["detail"]["digest"], digest(content).to_string());
    }
}

#[tokio::test]
async fn a_chunk_out_of_order_is_told_where_to_go_on() {
    let (status, _, headers) = rendered(Error::RangeInvalid { session: "s-1".into(), received: 100 }).await;
    assert_eq!(status, 416);
    assert_eq!(
        (&headers["location"], &headers["range"]),
        (&HeaderValue::from_static("https://r/v2/a/b/blobs/uploads/s-1"), &HeaderValue::from_static("0-99"))
    );
}

#[tokio::test]
async fn a_fault_of_ours_is_found_in_the_log_by_its_id() {
    let (_, body, _) = rendered(Error::Internal(SECRET.into())).await;
    assert_eq!(body["errors"][0]["detail"]["request_id"], "id-7");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("id-7"));
}

#[tokio::test]
async fn requests_that_cannot_be_meant_are_refused_by_name() {
    let (status, _, headers) = rendered(RouteError::Method { allow: "GET, HEAD" }).await;
    assert_eq!((status, &headers["allow"]), (405, &HeaderValue::from_static("GET, HEAD")));
    let (status, body, _) = rendered(PageError::Number("\"x\"".into())).await;
    assert_eq!((status, body["errors"][0]["code"].as_str()), (400, Some("UNSUPPORTED")));
    let (status, _, headers) = rendered(Failure::unsatisfiable(10)).await;
    assert_eq!((status, &headers["content-range"]), (416, &HeaderValue::from_static("bytes */10")));
    assert_eq!(rendered(Failure::precondition(&digest("a"))).await.0, 412);
}
