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
