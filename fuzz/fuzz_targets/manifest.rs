//! The body of a manifest, with and without the type its header would claim.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_oci::{MAX_DESCRIPTORS, Manifest, media_type};

fuzz_target!(|body: &[u8]| {
    let found = Manifest::parse(None, body);
    if let Err(error) = &found {
        assert!(!error.problem().is_empty());
        assert!(error.to_string().len() < 1024, "an error echoes too much of its input");
    }
    if let Ok(manifest) = found {
        assert!(manifest.blobs().count() + manifest.children().count() <= MAX_DESCRIPTORS);
        // Stored with the type that was judged, it is read back the same.
        assert_eq!(Manifest::parse(Some(&manifest.media_type), body).as_ref(), Ok(&manifest));
    }
    for claimed in [media_type::OCI_MANIFEST, media_type::OCI_INDEX, "application/vnd.example"] {
        if let Ok(manifest) = Manifest::parse(Some(claimed), body) {
            assert_eq!(manifest.media_type, claimed);
        }
    }
});
