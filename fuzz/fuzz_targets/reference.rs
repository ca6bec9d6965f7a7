//! Names, tags, digests: whatever is accepted is safe in a path and reads back from its own text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_oci::{Digest, Reference, RepositoryName, Tag};

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
        assert!(text.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
        assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b)));
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(text.len() <= 128 && !text.contains('/') && !text.starts_with('.'));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_slice(&digest.to_vec()), Ok(digest));
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
    }
    let _ = Digest::from_slice(text.as_bytes());
});
