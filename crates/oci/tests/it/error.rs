use std::collections::HashSet;

use roadstead_oci::{ErrorBody, ErrorCode, ErrorEntry};
use serde_json::json;

#[test]
fn the_codes_are_those_of_the_protocol() {
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let spec = [
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    ];
    assert_eq!(codes[..14], spec);
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
}

#[test]
fn codes_come_back_and_unknown_ones_are_unknown() {
    for code in ErrorCode::ALL {
        assert_eq!(serde_json::from_value::<ErrorCode>(json!(code)).unwrap(), code);
    }
    assert_eq!(ErrorCode::from("CODE_OF_TOMORROW".to_owned()), ErrorCode::Unknown);
}

#[test]
fn a_body_leaves_out_what_it_does_not_know() {
    let body = ErrorBody::new(ErrorCode::NameUnknown, "no repository \"a\"");
    assert_eq!(body.to_json(), r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no repository \"a\""}]}"#);
}

#[test]
fn detail_is_any_json() {
    let detail = json!({"digest": "sha256:00"});
    let body = ErrorBody::from(ErrorEntry { code: ErrorCode::BlobUnknown, message: String::new(), detail });
    let text = body.to_json();
    assert_eq!(text, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"","detail":{"digest":"sha256:00"}}]}"#);
    assert_eq!(serde_json::from_str::<ErrorBody>(&text).unwrap(), body);
}

#[test]
fn the_bodies_of_other_registries_are_read() {
    let text = r#"{"errors":[{"code":"QUOTA_EXCEEDED","detail":[1],"more":true}],"more":1}"#;
    let body: ErrorBody = serde_json::from_str(text).unwrap();
    assert_eq!((body.errors[0].code, body.errors[0].message.as_str()), (ErrorCode::Unknown, ""));
}
