//! Object keys: relative, slash-separated, safe on every engine.

use std::fmt;

use crate::{Error, ErrorKind};

/// A key of an object, such as `blobs/sha256/ab/abcd.../0192...`.
///
/// One or more components joined by `/`, each of 1 to 255 of `A-Z a-z 0-9 . _ -` and not `.` or `..`; at most
/// 1,000 bytes in all. Any such key is a safe relative path and a valid object name on every supported engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks and makes a key.
    pub fn new(key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        let component = |c: &str| {
            !c.is_empty()
                && c.len() <= 255
                && c != "."
                && c != ".."
                && c.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if key.len() <= 1000 && key.split('/').all(component) {
            Ok(Self(key))
        } else {
            Err(Error::new(ErrorKind::Other, format!("not an object key: {key:?}")))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_safe_relative_path_is_no_key() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(500) + "x";
        let wrong =
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "a b", "a\0", "é", "a\\b", "a\n", &long, &deep];
        for text in wrong {
            assert!(ObjectKey::new(text).is_err(), "{text:?}");
        }
        let deep = "x/".repeat(499) + "xx";
        for text in ["a", ".a", "...", "a..b", "-", "blobs/sha256/ab/cd.ef_0-1", &"x".repeat(255), &deep] {
            assert_eq!(ObjectKey::new(text).unwrap().as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn a_key_stays_below_its_root(text in prop_oneof!["\\PC{0,40}", "[a./]{0,12}"]) {
            if let Ok(key) = ObjectKey::new(text.as_str()) {
                let path = std::path::Path::new(key.as_str());
                let normal = path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
                prop_assert!(normal && path.components().count() == text.split('/').count());
            }
        }

        #[test]
        fn keys_order_as_their_bytes(one in "[a-c./-]{1,6}", other in "[a-c./-]{1,6}") {
            if let (Ok(a), Ok(b)) = (ObjectKey::new(one.as_str()), ObjectKey::new(other.as_str())) {
                prop_assert_eq!(a.cmp(&b), one.as_bytes().cmp(other.as_bytes()));
            }
        }
    }
}
