//! What can go wrong in a store, in the words its callers decide by.

use std::error::Error as StdError;
use std::fmt;

use crate::ObjectKey;

/// Kinds of storage failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No object under this key.
    NotFound,
    /// An object stands under this key already.
    AlreadyExists,
    /// The range does not lie within the object.
    InvalidRange,
    /// The bytes found are not those that were stored: too short, checksum mismatch.
    Corrupt,
    /// The store is full, or a quota is.
    Full,
    /// The store refuses access: permissions, credentials.
    Denied,
    /// The store can be read and takes no writes now: mounted read-only, or writes that do not end.
    ReadOnly,
    /// The store does not answer, or answers that it cannot now.
    Unavailable,
    /// The store belongs to another installation or needs a newer version (`roadstead.json`).
    Foreign,
    /// Anything else.
    Other,
}

/// A storage failure: its kind, whether trying again may help, what was being done, and the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `context` says what was being done to which object, for the log.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// `NotFound` for `key`.
    pub fn not_found(key: &ObjectKey) -> Self {
        Self::new(ErrorKind::NotFound, format!("no object {key}"))
    }

    /// `AlreadyExists` for `key`.
    pub fn already_exists(key: &ObjectKey) -> Self {
        Self::new(ErrorKind::AlreadyExists, format!("an object {key} exists already"))
    }

    /// `Corrupt` for `key`: `found` bytes where `expected` should be.
    pub fn too_short(key: &ObjectKey, found: u64, expected: u64) -> Self {
        Self::new(ErrorKind::Corrupt, format!("object {key} ends after {found} of {expected} bytes"))
    }

    /// The same with its cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}
