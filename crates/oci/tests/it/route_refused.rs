//! Paths that are no endpoint, and parts that name nothing.

use proptest::prelude::*;
use roadstead_oci::{ErrorCode, MAX_SESSION_LEN, RepositoryName, Route, RouteError, route};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn error(method: &str, path: &str) -> RouteError {
    route(method, path).expect_err(path)
}

#[test]
fn other_paths_are_not_found() {
    for path in [
        "",
        "/",
        "v2/",
        "/v1/",
        "/v2x",
        "/V2/",
        "//v2/",
        "/v2//",
        "/v2/a",
        "/v2/a/tags",
        "/v2/a/tags/list/",
        "/v2/a/tags/lists",
        "/v2/a/blobs",
        "/v2/a/manifests",
        "/v2/_catalog/",
        "/v2/a/uploads/x",
        "/v2/a/blobs/uploads/x/y",
        "/v2/../v2/",
        "/v2/..",
        "/v2/a/_catalog",
        "/v2%2F",
        "/%76%32/",
    ] {
        assert_eq!(error("GET", path), RouteError::NotFound, "{path}");
        assert_eq!(error("GET", path).code(), ErrorCode::Unsupported);
    }
}

#[test]
fn another_method_names_those_allowed() {
    let allowed = |path: &str| match error("OPTIONS", path) {
        RouteError::Method { allow } => allow,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(allowed("/v2/"), "GET, HEAD");
    assert_eq!(allowed("/v2/_catalog"), "GET, HEAD");
    assert_eq!(allowed("/v2/a/tags/list"), "GET, HEAD");
    assert_eq!(allowed(&format!("/v2/a/referrers/{DIGEST}")), "GET, HEAD");
    assert_eq!(allowed(&format!("/v2/a/blobs/{DIGEST}")), "GET, HEAD, DELETE");
    assert_eq!(allowed("/v2/a/manifests/v1"), "GET, HEAD, PUT, DELETE");
    assert_eq!(allowed("/v2/a/blobs/uploads/"), "POST");
    assert_eq!(allowed("/v2/a/blobs/uploads/x"), "GET, HEAD, PATCH, PUT, DELETE");
    assert_eq!(error("OPTIONS", "/v2/").code(), ErrorCode::Unsupported);
}

#[test]
fn methods_are_exact() {
    for method in ["get", "", "GET, HEAD", "GE", " GET", "HEAD,", "TRACE"] {
        assert!(matches!(error(method, "/v2/"), RouteError::Method { .. }), "{method:?}");
    }
}

#[test]
fn a_name_cannot_be_spelt_around_its_grammar() {
    let long = "a".repeat(256);
    for name in [
        "", "A", "a/", "/a", "a//b", "..", "a/..", "a/../b", "a/./b", "%2e%2e", "a%2Fb", "a%2fb", "a%252Fb", "a%00",
        "a%", "a%zz", "a%C3", "a%c3%a9", "a b", "a\\b", "_a", "a___b", "a:b", "a?b", "a;b", &long,
    ] {
        for tail in ["tags/list", "manifests/latest", "blobs/uploads/x", &format!("blobs/{DIGEST}")] {
            let error = error("GET", &format!("/v2/{name}/{tail}"));
            assert!(matches!(error, RouteError::Name(_)), "{name:?}: {error:?}");
            assert_eq!(error.code(), ErrorCode::NameInvalid);
        }
        assert!(matches!(error("POST", &format!("/v2/{name}/blobs/uploads/")), RouteError::Name(_)), "{name:?}");
    }
}

#[test]
fn an_api_word_without_a_repository_has_no_name() {
    for path in ["/v2/tags/list", "/v2/manifests/latest", "/v2/blobs/uploads/x"] {
        assert!(matches!(error("GET", path), RouteError::Name(_)), "{path}");
    }
}

#[test]
fn a_malformed_digest_is_invalid_for_every_method() {
    for digest in ["sha256:baddigeststring", "sha256:", "x", "sha256:..", "", &DIGEST.to_uppercase(), "sha256%253A00"] {
        for method in ["GET", "HEAD", "DELETE"] {
            let error = error(method, &format!("/v2/a/blobs/{digest}"));
            assert_eq!(error.code(), ErrorCode::DigestInvalid, "{digest}: {error:?}");
        }
        assert_eq!(error("GET", &format!("/v2/a/referrers/{digest}")).code(), ErrorCode::DigestInvalid, "{digest}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let error = error(method, "/v2/a/manifests/sha256:baddigeststring");
        assert!(matches!(error, RouteError::Digest(_)), "{method}: {error:?}");
    }
}

/// `.INVALID_MANIFEST_NAME` is what the conformance suite asks for, and it wants 404.
#[test]
fn a_malformed_tag_is_absent_when_looked_for_and_invalid_when_made() {
    for tag in [".INVALID_MANIFEST_NAME", "-a", "", "a b", "..", "%2e%2e", "a%2Fb", &"x".repeat(129)] {
        let path = format!("/v2/a/manifests/{tag}");
        for method in ["GET", "HEAD", "DELETE"] {
            let error = error(method, &path);
            assert!(matches!(error, RouteError::Absent { code: ErrorCode::ManifestUnknown, .. }), "{tag}: {error:?}");
        }
        assert!(matches!(error("PUT", &path), RouteError::Tag(_)), "{tag}");
        assert_eq!(error("PUT", &path).code(), ErrorCode::ManifestInvalid);
    }
}

#[test]
fn content_of_an_unsupported_algorithm_is_absent_but_cannot_be_pushed() {
    assert_eq!(error("GET", "/v2/a/blobs/sha384:00").code(), ErrorCode::BlobUnknown);
    assert_eq!(error("HEAD", "/v2/a/manifests/sha384:00").code(), ErrorCode::ManifestUnknown);
    assert!(matches!(error("PUT", "/v2/a/manifests/sha384:00"), RouteError::Digest(_)));
    assert!(matches!(error("GET", "/v2/a/referrers/sha384:00"), RouteError::Digest(_)));
}

#[test]
fn an_upload_session_is_plain_or_unknown() {
    let longest = "x".repeat(MAX_SESSION_LEN);
    assert!(route("PATCH", &format!("/v2/a/blobs/uploads/{longest}")).is_ok());
    for session in [".", "..", "%2e%2e", "a%2Fb", "a%00", "a b", "a%", "\u{e9}", &format!("{longest}x")] {
        let error = error("PATCH", &format!("/v2/a/blobs/uploads/{session}"));
        assert_eq!(error.code(), ErrorCode::BlobUploadUnknown, "{session}: {error:?}");
    }
}

#[test]
fn errors_do_not_echo_a_flood() {
    let flood = "x".repeat(1 << 20);
    for path in [format!("/v2/{flood}/tags/list"), format!("/v2/a/manifests/{flood}"), format!("/v2/a/blobs/{flood}")] {
        assert!(error("GET", &path).to_string().len() < 400);
    }
}

proptest! {
    #[test]
    fn no_path_yields_a_part_that_is_not_plain(
        method in prop::sample::select(vec!["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]),
        tail in prop_oneof![any::<String>(), crate::scraps(), crate::scraps().prop_map(|s| format!("{s}/manifests/latest"))],
    ) {
        let Ok(found) = route(method, &format!("/v2/{tail}")) else { return Ok(()) };
        if let Some(name) = found.repository() {
            prop_assert!(!name.as_str().contains("..") && !name.as_str().contains("//"));
            prop_assert_eq!(&name.as_str().parse::<RepositoryName>().unwrap(), name);
        }
        let (Route::UploadStatus { session: part, .. }
        | Route::AppendUpload { session: part, .. }
        | Route::FinishUpload { session: part, .. }
        | Route::CancelUpload { session: part, .. }) = found
        else {
            return Ok(());
        };
        prop_assert!(part != "." && part != ".." && part.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'%'));
    }
}
