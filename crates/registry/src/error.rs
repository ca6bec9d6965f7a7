//! How a use case fails, in the words of the OCI distribution-spec.

use roadstead_metadata::{CommitError, QueryError};
use roadstead_oci::{Descriptor, Digest, ManifestError, Reference, RepositoryName};
use roadstead_storage as storage;

/// The outcome of a use case.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a use case failed. Each variant has one row in the table of the HTTP floor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No repository of this name.
    #[error("repository {0} is not known to the registry")]
    NameUnknown(RepositoryName),
    /// The repository has no such blob.
    #[error("repository has no blob {0}")]
    BlobUnknown(Digest),
    /// The repository has no such manifest or tag.
    #[error("repository has no manifest {0}")]
    ManifestUnknown(Reference),
    /// The manifest names blobs or manifests that the repository does not have: all of them.
    #[error("manifest names {} blobs or manifests that the repository does not have", .0.len())]
    ManifestBlobUnknown(Vec<Descriptor>),
    /// The manifest is not acceptable; the text names the field.
    #[error("{0}")]
    ManifestInvalid(#[from] ManifestError),
    /// A size that a descriptor or a header states is not that of the content.
    #[error("{what} states {stated} bytes, the content has {actual}")]
    SizeInvalid {
        /// Which statement: `layers[2].size`, `Content-Length`.
        what: String,
        /// The size stated.
        stated: u64,
        /// The size found.
        actual: u64,
    },
    /// The content does not have the digest it was announced with.
    #[error("content has digest {actual}, announced was {expected}")]
    DigestInvalid {
        /// The digest announced.
        expected: Box<Digest>,
        /// The digest of what arrived.
        actual: Box<Digest>,
    },
    /// No such upload session: never started, finished, cancelled, expired, or of another repository.
    #[error("upload session is not known: finished, cancelled, expired, or started for another repository")]
    UploadUnknown,
    /// A chunk does not start where the session stands; `received` bytes have been acknowledged.
    #[error("chunk does not continue the upload: {received} bytes received so far")]
    RangeInvalid {
        /// The session's token, for the Location header.
        session: String,
        /// Bytes acknowledged.
        received: u64,
    },
    /// Another request is writing to this session, or took it over.
    #[error("another request is writing to this upload session")]
    UploadBusy,
    /// The blob is larger than the registry accepts.
    #[error("content is over the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The upload came in more pieces than a session can have.
    #[error(
        "the upload came in {most} pieces, which is all that a session can have; start it again and send larger chunks"
    )]
    TooManyPieces {
        /// How many it can have.
        most: usize,
    },
    /// The request body broke off, was malformed, or too slow. What arrived of a chunk upload stays acknowledged.
    #[error("request body: {0}")]
    Body(#[from] BodyError),
    /// The caller is unknown and this needs a known one.
    #[error("authentication required")]
    Unauthorized,
    /// The caller may not do this.
    #[error("{0}")]
    Denied(String),
    /// The state forbids it: a manifest is named by an index, a blob by a manifest.
    #[error("{0}")]
    InUse(String),
    /// What the reference names now, if anything, is not what `If-Match` or `If-None-Match` of a change ask for.
    #[error("If-Match or If-None-Match does not hold: the reference names {}", .0.map_or("nothing".to_owned(), |digest| format!("\"{digest}\"")))]
    PreconditionFailed(Option<Digest>),
    /// The registry does not offer this.
    #[error("{0}")]
    Unsupported(String),
    /// Too many others wanted the same at the same time; a retry will do.
    #[error("too many others at the same time; try again")]
    Contended,
    /// Metadata or the store cannot be written now: pulls go on.
    #[error("registry is read-only: {0}")]
    ReadOnly(String),
    /// A component does not answer now. `component` names it for the client, the cause is for the log.
    #[error("{component} unavailable: {cause}")]
    Unavailable {
        /// `metadata` or `storage`.
        component: &'static str,
        /// For the log.
        cause: String,
    },
    /// Who vouches for users does not answer now. It tells the log when that begins and when it ends; the requests that come
    /// meanwhile, which anybody can send, do not.
    #[error("{name} unavailable: {cause}")]
    SourceUnavailable {
        /// Names it for the client.
        name: &'static str,
        /// For whoever debugs.
        cause: String,
    },
    /// Metadata did not answer a commit in time: it may have happened. A retry will tell.
    #[error("metadata did not say whether it happened: {0}")]
    Uncertain(String),
    /// The store is full.
    #[error("storage is full: {0}")]
    Full(String),
    /// Stored bytes are not what was stored.
    #[error("stored content is damaged: {0}")]
    Damaged(String),
    /// A fault of the registry.
    #[error("internal: {0}")]
    Internal(String),
}

/// Why a request body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke or the client sent fewer bytes than announced.
    #[error("broke off: {0}")]
    Broken(String),
    /// Nothing arrived for too long.
    #[error("no data for too long")]
    TooSlow,
    /// The server is shutting down.
    #[error("server is shutting down")]
    Draining,
    /// A newer request took the upload session over.
    #[error("a newer request took the upload session over")]
    Superseded,
}

impl Error {
    /// Whether the use case that failed with this surely changed nothing in metadata, so that what it published for it
    /// is named by nobody.
    pub(crate) fn nothing_happened(&self) -> bool {
        !matches!(self, Error::Uncertain(_))
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Unavailable(cause) => Error::Unavailable { component: "metadata", cause },
            QueryError::Failed(cause) => Error::Internal(cause),
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(_) => Error::Contended,
            CommitError::Unavailable(cause) => Error::ReadOnly(cause),
            CommitError::Unknown(cause) => Error::Uncertain(cause),
            CommitError::TooLarge(cause) | CommitError::Failed(cause) => Error::Internal(cause),
        }
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        use storage::ErrorKind;
        let cause = error.to_string();
        match error.kind() {
            ErrorKind::Full => Error::Full(cause),
            ErrorKind::ReadOnly => Error::ReadOnly(cause),
            ErrorKind::Corrupt => Error::Damaged(cause),
            ErrorKind::NotFound => Error::Damaged(cause),
            // No key is used twice, so what stands under a fresh one is of the same request: sent once more after its answer
            // was lost, to a store that had not finished the first. The next push takes another key.
            ErrorKind::AlreadyExists | ErrorKind::Denied | ErrorKind::Unavailable | ErrorKind::Foreign => {
                Error::Unavailable { component: "storage", cause }
            }
            ErrorKind::InvalidRange | ErrorKind::Other => Error::Internal(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_under_a_fresh_key_is_a_reason_to_try_again() {
        let exists = storage::Error::new(storage::ErrorKind::AlreadyExists, "bucket b: an object exists already");
        assert!(matches!(Error::from(exists), Error::Unavailable { component: "storage", .. }));
    }
}
