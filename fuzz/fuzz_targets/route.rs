//! A method and a path: whatever endpoint is found, its repository is a plain name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roadstead_oci::{RepositoryName, route};

fuzz_target!(|path: &str| {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
        match route(method, path) {
            Ok(found) => {
                assert!(!found.name().is_empty());
                if let Some(name) = found.repository() {
                    assert_eq!(name.as_str().parse::<RepositoryName>().as_ref(), Ok(name));
                }
            }
            Err(error) => assert!(error.to_string().len() < 1024, "an error echoes too much of its input"),
        }
    }
});
