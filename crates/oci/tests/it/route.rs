//! Every endpoint of distribution-spec 1.1, by its clause.

use proptest::prelude::*;
use roadstead_oci::{Digest, Reference, RepositoryName, Route, route};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn digest() -> Digest {
    DIGEST.parse().unwrap()
}

fn tag(text: &str) -> Reference {
    Reference::Tag(text.parse().unwrap())
}

/// `METHOD PATH` is this route, and its label is this.
fn is(request: &str, label: &str, expected: Route) {
    let (method, path) = request.split_once(' ').unwrap();
    let found = route(method, path);
    assert_eq!(found.as_ref(), Ok(&expected), "{request}");
    assert_eq!(found.unwrap().name(), label);
}

#[test]
fn end_1_base() {
    is("GET /v2/", "base", Route::Base);
    is("HEAD /v2/", "base", Route::Base);
    is("GET /v2", "base", Route::Base);
}

#[test]
fn end_2_blobs() {
    let path = format!("/v2/library/ubuntu/blobs/{DIGEST}");
    is(&format!("GET {path}"), "get_blob", Route::GetBlob { name: name("library/ubuntu"), digest: digest() });
    is(&format!("HEAD {path}"), "head_blob", Route::HeadBlob { name: name("library/ubuntu"), digest: digest() });
}

#[test]
fn end_3_manifests() {
    let (name, by_tag, by_digest) = (name("a/b"), "/v2/a/b/manifests/v1.0", format!("/v2/a/b/manifests/{DIGEST}"));
    let get = |reference| Route::GetManifest { name: name.clone(), reference };
    let head = |reference| Route::HeadManifest { name: name.clone(), reference };
    is(&format!("GET {by_tag}"), "get_manifest", get(tag("v1.0")));
    is(&format!("GET {by_digest}"), "get_manifest", get(digest().into()));
    is(&format!("HEAD {by_tag}"), "head_manifest", head(tag("v1.0")));
    is(&format!("HEAD {by_digest}"), "head_manifest", head(digest().into()));
}

#[test]
fn end_4_and_end_11_start_an_upload() {
    is("POST /v2/a/blobs/uploads/", "start_upload", Route::StartUpload { name: name("a") });
    is("POST /v2/a/b/blobs/uploads", "start_upload", Route::StartUpload { name: name("a/b") });
}

#[test]
fn end_5_6_13_14_go_on_with_an_upload() {
    let (name, session) = (name("a/b"), "AbC-1.2_3~=".to_owned());
    let request = |method: &str| format!("{method} /v2/a/b/blobs/uploads/{session}");
    let status = Route::UploadStatus { name: name.clone(), session: session.clone() };
    is(&request("PATCH"), "append_upload", Route::AppendUpload { name: name.clone(), session: session.clone() });
    is(&request("PUT"), "finish_upload", Route::FinishUpload { name: name.clone(), session: session.clone() });
    is(&request("GET"), "upload_status", status.clone());
    is(&request("HEAD"), "upload_status", status);
    is(&request("DELETE"), "cancel_upload", Route::CancelUpload { name, session: session.clone() });
}

#[test]
fn end_7_push_a_manifest() {
    let name = name("a");
    is("PUT /v2/a/manifests/v1", "put_manifest", Route::PutManifest { name: name.clone(), reference: tag("v1") });
    let by_digest = Route::PutManifest { name, reference: digest().into() };
    is(&format!("PUT /v2/a/manifests/{DIGEST}"), "put_manifest", by_digest);
}

#[test]
fn end_8_list_tags() {
    is("GET /v2/a/b/tags/list", "list_tags", Route::ListTags { name: name("a/b") });
}

#[test]
fn end_9_delete_a_manifest_or_a_tag() {
    let name = name("a");
    is(
        "DELETE /v2/a/manifests/v1",
        "delete_manifest",
        Route::DeleteManifest { name: name.clone(), reference: tag("v1") },
    );
    let by_digest = Route::DeleteManifest { name, reference: digest().into() };
    is(&format!("DELETE /v2/a/manifests/{DIGEST}"), "delete_manifest", by_digest);
}

#[test]
fn end_10_delete_a_blob() {
    let expected = Route::DeleteBlob { name: name("a"), digest: digest() };
    is(&format!("DELETE /v2/a/blobs/{DIGEST}"), "delete_blob", expected);
}

#[test]
fn end_12_referrers() {
    let expected = Route::Referrers { name: name("a"), digest: digest() };
    is(&format!("GET /v2/a/referrers/{DIGEST}"), "referrers", expected);
}

#[test]
fn the_catalog_is_no_repository() {
    is("GET /v2/_catalog", "catalog", Route::Catalog);
}

#[test]
fn names_may_contain_the_words_of_the_api() {
    let start = |repository: &str| Route::StartUpload { name: name(repository) };
    is("POST /v2/blobs/uploads/blobs/uploads/", "start_upload", start("blobs/uploads"));
    is("POST /v2/a/manifests/blobs/uploads/", "start_upload", start("a/manifests"));
    is("GET /v2/tags/list/tags/list", "list_tags", Route::ListTags { name: name("tags/list") });
    is("GET /v2/a/manifests/tags/list", "list_tags", Route::ListTags { name: name("a/manifests") });
    let reference = tag("list");
    is("GET /v2/a/tags/manifests/list", "get_manifest", Route::GetManifest { name: name("a/tags"), reference });
    let reference = tag("latest");
    is(
        "GET /v2/a/blobs/uploads/manifests/latest",
        "get_manifest",
        Route::GetManifest { name: name("a/blobs/uploads"), reference },
    );
    let status = |session: &str| Route::UploadStatus { name: name("a"), session: session.to_owned() };
    is("GET /v2/a/blobs/uploads/list", "upload_status", status("list"));
    is("GET /v2/a/blobs/uploads/manifests", "upload_status", status("manifests"));
}

#[test]
fn segments_are_decoded_once() {
    let encoded = DIGEST.replace(':', "%3A");
    let expected = Route::GetBlob { name: name("a"), digest: digest() };
    is(&format!("GET /v2/%61/blobs/{encoded}"), "get_blob", expected);
}

/// Every route but those without a repository, spelt as a request.
fn requests() -> impl Strategy<Value = (String, String, Route)> {
    let reference = prop_oneof![crate::tags().prop_map(Reference::from), crate::digests().prop_map(Reference::from)];
    (0..14usize, crate::names(), crate::digests(), reference, "[A-Za-z0-9._~=-]{3,80}").prop_map(
        |(kind, name, digest, reference, session)| {
            let (method, path) = match kind {
                0 => ("GET", format!("blobs/{digest}")),
                1 => ("HEAD", format!("blobs/{digest}")),
                2 => ("DELETE", format!("blobs/{digest}")),
                3 => ("POST", "blobs/uploads/".to_owned()),
                4 => ("GET", format!("blobs/uploads/{session}")),
                5 => ("PATCH", format!("blobs/uploads/{session}")),
                6 => ("PUT", format!("blobs/uploads/{session}")),
                7 => ("DELETE", format!("blobs/uploads/{session}")),
                8 => ("GET", format!("manifests/{reference}")),
                9 => ("HEAD", format!("manifests/{reference}")),
                10 => ("PUT", format!("manifests/{reference}")),
                11 => ("DELETE", format!("manifests/{reference}")),
                12 => ("GET", "tags/list".to_owned()),
                _ => ("GET", format!("referrers/{digest}")),
            };
            let path = format!("/v2/{name}/{path}");
            let route = match kind {
                0 => Route::GetBlob { name, digest },
                1 => Route::HeadBlob { name, digest },
                2 => Route::DeleteBlob { name, digest },
                3 => Route::StartUpload { name },
                4 => Route::UploadStatus { name, session },
                5 => Route::AppendUpload { name, session },
                6 => Route::FinishUpload { name, session },
                7 => Route::CancelUpload { name, session },
                8 => Route::GetManifest { name, reference },
                9 => Route::HeadManifest { name, reference },
                10 => Route::PutManifest { name, reference },
                11 => Route::DeleteManifest { name, reference },
                12 => Route::ListTags { name },
                _ => Route::Referrers { name, digest },
            };
            (method.to_owned(), path, route)
        },
    )
}

proptest! {
    #[test]
    fn every_route_parses_back((method, path, expected) in requests()) {
        prop_assert_eq!(route(&method, &path), Ok(expected));
    }
}
