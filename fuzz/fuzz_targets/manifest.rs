//! The body of a manifest, with and without the type its header would claim.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_oci::{Descriptor, MAX_DESCRIPTORS, Manifest, media_type};
use serde_json::value::RawValue;

fuzz_target!(|body: &[u8]| {
    judge(None, body);
    for claimed in [
        media_type::OCI_MANIFEST,
        media_type::OCI_INDEX,
        media_type::OCI_ARTIFACT,
        media_type::DOCKER_MANIFEST,
        "application/vnd.example",
    ] {
        judge(Some(claimed), body);
    }
});

fn judge(claimed: Option<&str>, body: &[u8]) {
    match Manifest::parse(claimed, body) {
        Ok(manifest) => {
            assert!(claimed.is_none_or(|claimed| claimed == manifest.media_type));
            holds(&manifest, body);
        }
        Err(error) => {
            assert!(!error.problem().is_empty());
            assert!(error.to_string().len() < 1024, "an error echoes too much of its input");
        }
    }
}

/// What the rest of the registry relies on.
fn holds(manifest: &Manifest, body: &[u8]) {
    assert!(media_type::is_media_type(&manifest.media_type) && !media_type::is_schema1(&manifest.media_type));
    assert!(serde_json::from_slice::<&RawValue>(body).is_ok(), "accepted, but not JSON");
    // Stored with the type that was judged, it is read back the same.
    assert_eq!(Manifest::parse(Some(&manifest.media_type), body).as_ref(), Ok(manifest));
    // The configuration of an image counts apart.
    assert!(manifest.blobs().count() + manifest.children().count() <= MAX_DESCRIPTORS + 1);
    for descriptor in manifest.blobs().chain(manifest.children()).chain(&manifest.subject) {
        assert!(descriptor.size <= i64::MAX as u64);
        let text = serde_json::to_string(descriptor).expect("a descriptor has a JSON form");
        assert_eq!(&serde_json::from_str::<Descriptor>(&text).expect("and is read from it"), descriptor);
    }
}
