//! What the protocol answers when it refuses: codes and the JSON body around them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An error code of the protocol. The HTTP status that goes with it depends on the request (crate `http`).
///
/// The spec closes the list for 4xx answers (code-1 to code-14), so Docker's RANGE_INVALID, TAG_INVALID and
/// PAGINATION_NUMBER_INVALID are not spoken here; the message says what they would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
pub enum ErrorCode {
    /// code-1: the repository has no such blob.
    BlobUnknown,
    /// code-2: the upload met an error and cannot go on.
    BlobUploadInvalid,
    /// code-3: no such upload session.
    BlobUploadUnknown,
    /// code-4: not a digest, or not the digest of the content.
    DigestInvalid,
    /// code-5: a manifest names a blob or a manifest that the repository does not have.
    ManifestBlobUnknown,
    /// code-6: not a manifest.
    ManifestInvalid,
    /// code-7: the repository has no such manifest.
    ManifestUnknown,
    /// code-8: not a repository name.
    NameInvalid,
    /// code-9: no such repository.
    NameUnknown,
    /// code-10: the length is not the one that was announced.
    SizeInvalid,
    /// code-11: who is asking must say so first.
    Unauthorized,
    /// code-12: who is asking may not do this.
    Denied,
    /// code-13: the operation is not supported.
    Unsupported,
    /// code-14: too many requests, or too much at once.
    TooManyRequests,
    /// Docker's, for 5xx only: the registry cannot answer now; ask again.
    Unavailable,
    /// Docker's, for 5xx only: the registry failed. Also what an unknown code of another registry is read as.
    Unknown,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [ErrorCode; 16] = [
        ErrorCode::BlobUnknown,
        ErrorCode::BlobUploadInvalid,
        ErrorCode::BlobUploadUnknown,
        ErrorCode::DigestInvalid,
        ErrorCode::ManifestBlobUnknown,
        ErrorCode::ManifestInvalid,
        ErrorCode::ManifestUnknown,
        ErrorCode::NameInvalid,
        ErrorCode::NameUnknown,
        ErrorCode::SizeInvalid,
        ErrorCode::Unauthorized,
        ErrorCode::Denied,
        ErrorCode::Unsupported,
        ErrorCode::TooManyRequests,
        ErrorCode::Unavailable,
        ErrorCode::Unknown,
    ];

    /// The code as it stands in an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BlobUnknown => "BLOB_UNKNOWN",
            ErrorCode::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            ErrorCode::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            ErrorCode::DigestInvalid => "DIGEST_INVALID",
            ErrorCode::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            ErrorCode::ManifestInvalid => "MANIFEST_INVALID",
            ErrorCode::ManifestUnknown => "MANIFEST_UNKNOWN",
            ErrorCode::NameInvalid => "NAME_INVALID",
            ErrorCode::NameUnknown => "NAME_UNKNOWN",
            ErrorCode::SizeInvalid => "SIZE_INVALID",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Denied => "DENIED",
            ErrorCode::Unsupported => "UNSUPPORTED",
            ErrorCode::TooManyRequests => "TOOMANYREQUESTS",
            ErrorCode::Unavailable => "UNAVAILABLE",
            ErrorCode::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<ErrorCode> for &'static str {
    fn from(code: ErrorCode) -> &'static str {
        code.as_str()
    }
}

/// A code that is not known here is [`ErrorCode::Unknown`]: the spec lets registries add codes.
impl From<String> for ErrorCode {
    fn from(text: String) -> Self {
        Self::ALL.into_iter().find(|code| code.as_str() == text).unwrap_or(ErrorCode::Unknown)
    }
}

/// The body of every 4xx and 5xx answer: `{"errors":[{"code","message","detail"}]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One or more errors, the most important first.
    pub errors: Vec<ErrorEntry>,
}

/// One error of an [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// What kind of error.
    pub code: ErrorCode,
    /// A sentence for a person.
    #[serde(default)]
    pub message: String,
    /// Anything that helps a program, such as `{"digest": ...}`; left out when null.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

impl ErrorBody {
    /// A body with one error and no detail.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { errors: vec![ErrorEntry { code, message: message.into(), detail: Value::Null }] }
    }

    /// The body as JSON text.
    pub fn to_json(&self) -> String {
        // A map with text keys always serializes; should that change, the answer is still a valid body.
        serde_json::to_string(self).unwrap_or_else(|_| r#"{"errors":[{"code":"UNKNOWN","message":""}]}"#.to_owned())
    }
}

impl From<ErrorEntry> for ErrorBody {
    fn from(error: ErrorEntry) -> Self {
        Self { errors: vec![error] }
    }
}
