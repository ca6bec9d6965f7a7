//! What an S3 location is configured with.

use std::fmt;
use std::time::Duration;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` out of logs.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who signs with it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How the server is asked to encrypt what it stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of the store (`AES256`).
    Store,
    /// With a key of its key management service (`aws:kms`): this one, or the account's.
    Kms(Option<String>),
}

/// Where a bucket is and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with; empty for the whole bucket.
    pub root: String,
    /// The region that requests are signed for.
    pub region: String,
    /// `http://host:port` or `https://host`; without one it is Amazon's, of the region.
    pub endpoint: Option<String>,
    /// Access key and secret key; without them the usual places are asked: environment, profile, web identity, the
    /// metadata service of the machine.
    pub credentials: Option<(Secret, Secret)>,
    /// Beside the credentials when they are temporary.
    pub session_token: Option<Secret>,
    /// `https://bucket.host/key` in place of `https://host/bucket/key`.
    pub virtual_host: bool,
    /// Takes any certificate of the server.
    pub skip_verify: bool,
    /// Bytes of a part of a large object, 5 MiB to 5 GiB. So much of an object on its way stands in memory four times at
    /// most; an upload in steps has two on their way, one that is being stored and one that arrives.
    pub part_size: usize,
    /// Bytes that all uploads together hold in memory, but at least two parts and 2 MiB, or a part for each core.
    pub memory: usize,
    /// Requests that may wait for an answer at a time, those apart that open a body to be read.
    pub requests: usize,
    /// What the server is asked to encrypt with.
    pub encryption: Option<Encryption>,
    /// The class that objects are stored in; without one it is the bucket's.
    pub storage_class: Option<String>,
    /// How long the server may take for an answer, and how long a body that is read may stand still.
    pub timeout: Duration,
    /// How long the server may take to store a part, to put parts together, or to copy.
    pub write_timeout: Duration,
}

impl S3Options {
    /// Bytes of a part unless told otherwise.
    pub const PART_SIZE: usize = 8 << 20;
    /// Bytes of all uploads in memory unless told otherwise.
    pub const MEMORY: usize = 256 << 20;
    /// Requests at a time unless told otherwise.
    pub const REQUESTS: usize = 1_024;

    /// The bucket at Amazon or, with an `endpoint`, elsewhere; defaults for all else.
    pub fn new(bucket: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            root: String::new(),
            region: region.into(),
            endpoint: None,
            credentials: None,
            session_token: None,
            virtual_host: false,
            skip_verify: false,
            part_size: Self::PART_SIZE,
            memory: Self::MEMORY,
            requests: Self::REQUESTS,
            encryption: None,
            storage_class: None,
            timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(300),
        }
    }

    /// The place as messages name it: bucket, root, server.
    pub(crate) fn place(&self) -> String {
        let endpoint = self.endpoint.as_deref().unwrap_or("https://s3.amazonaws.com");
        let root = self.root.trim_matches('/');
        match root.is_empty() {
            true => format!("bucket {} at {endpoint}", self.bucket),
            false => format!("bucket {} at {endpoint} under {root}/", self.bucket),
        }
    }
}
