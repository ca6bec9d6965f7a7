//! The route table: which endpoint a method and a path mean.
//!
//! A pure function. Repository names contain slashes and may contain components called `blobs` or `manifests`, so a
//! path is read from its right end. Each segment is percent-decoded once, by itself, and judged by the strict parsers:
//! an encoded slash stays inside its segment and makes it invalid, so no spelling reaches a name that is not plain.
//!
//! What a path that cannot name anything is answered (the suites of the spec and clients agree on it):
//! a malformed name is [`RouteError::Name`], a malformed digest [`RouteError::Digest`] for every method; a malformed tag
//! is refused when it is to be made ([`RouteError::Tag`]) and merely absent when it is looked for
//! ([`RouteError::Absent`]), as is content under a digest of an unsupported algorithm.

use std::borrow::Cow;

use crate::query::decode;
use crate::{Digest, DigestError, ErrorCode, NameError, Reference, ReferenceError, RepositoryName, TagError};

/// An endpoint with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// end-1, `GET /v2/`.
    Base,
    /// end-2, `GET /v2/<name>/blobs/<digest>`.
    GetBlob {
        /// The repository.
        name: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// end-2, `HEAD /v2/<name>/blobs/<digest>`.
    HeadBlob {
        /// The repository.
        name: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// end-10, `DELETE /v2/<name>/blobs/<digest>`.
    DeleteBlob {
        /// The repository.
        name: RepositoryName,
        /// The blob.
        digest: Digest,
    },
    /// end-4a, end-4b, end-11, `POST /v2/<name>/blobs/uploads/`; the query tells them apart.
    StartUpload {
        /// The repository.
        name: RepositoryName,
    },
    /// end-13, `GET /v2/<name>/blobs/uploads/<session>`.
    UploadStatus {
        /// The repository.
        name: RepositoryName,
        /// The session; see [`MAX_SESSION_LEN`] for what it may contain.
        session: String,
    },
    /// end-5, `PATCH /v2/<name>/blobs/uploads/<session>`.
    AppendUpload {
        /// The repository.
        name: RepositoryName,
        /// The session.
        session: String,
    },
    /// end-6, `PUT /v2/<name>/blobs/uploads/<session>?digest=`.
    FinishUpload {
        /// The repository.
        name: RepositoryName,
        /// The session.
        session: String,
    },
    /// `DELETE /v2/<name>/blobs/uploads/<session>`: end-14 of the specification after 1.1, Docker's before.
    CancelUpload {
        /// The repository.
        name: RepositoryName,
        /// The session.
        session: String,
    },
    /// end-3, `GET /v2/<name>/manifests/<reference>`.
    GetManifest {
        /// The repository.
        name: RepositoryName,
        /// The manifest.
        reference: Reference,
    },
    /// end-3, `HEAD /v2/<name>/manifests/<reference>`.
    HeadManifest {
        /// The repository.
        name: RepositoryName,
        /// The manifest.
        reference: Reference,
    },
    /// end-7, `PUT /v2/<name>/manifests/<reference>`.
    PutManifest {
        /// The repository.
        name: RepositoryName,
        /// The manifest.
        reference: Reference,
    },
    /// end-9, `DELETE /v2/<name>/manifests/<reference>`; a tag deletes the tag only.
    DeleteManifest {
        /// The repository.
        name: RepositoryName,
        /// The manifest or the tag.
        reference: Reference,
    },
    /// end-8, `GET /v2/<name>/tags/list`.
    ListTags {
        /// The repository.
        name: RepositoryName,
    },
    /// end-12, `GET /v2/<name>/referrers/<digest>`.
    Referrers {
        /// The repository.
        name: RepositoryName,
        /// The subject.
        digest: Digest,
    },
    /// `GET /v2/_catalog`: not of the spec, but of every registry. No name begins with an underscore.
    Catalog,
}

/// The longest upload session of a path in bytes; a session is letters, digits and `- . _ ~ =`.
pub const MAX_SESSION_LEN: usize = 1024;

/// Why there is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Nothing of the protocol has this path (404).
    #[error("no endpoint of the registry API has this path")]
    NotFound,
    /// The path is an endpoint, the method is not (405 with `Allow`).
    #[error("this path allows the methods {allow} only")]
    Method {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
    /// The repository name is malformed (400).
    #[error(transparent)]
    Name(#[from] NameError),
    /// The tag of a push is malformed (400).
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The digest is malformed, or of an unsupported algorithm where that cannot pass for absence (400).
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Nothing of this name can exist here, so it does not (404).
    #[error("{reason}")]
    Absent {
        /// What is absent: BLOB_UNKNOWN, MANIFEST_UNKNOWN or BLOB_UPLOAD_UNKNOWN.
        code: ErrorCode,
        /// Why it cannot exist.
        reason: String,
    },
}

impl RouteError {
    /// The code of the error body.
    pub fn code(&self) -> ErrorCode {
        match self {
            RouteError::NotFound | RouteError::Method { .. } => ErrorCode::Unsupported,
            RouteError::Name(_) => ErrorCode::NameInvalid,
            // The spec has no code for a bad tag; a manifest that cannot be stored under its reference is invalid.
            RouteError::Tag(_) => ErrorCode::ManifestInvalid,
            RouteError::Digest(_) => ErrorCode::DigestInvalid,
            RouteError::Absent { code, .. } => *code,
        }
    }
}

impl Route {
    /// A stable label for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Base => "base",
            Route::GetBlob { .. } => "get_blob",
            Route::HeadBlob { .. } => "head_blob",
            Route::DeleteBlob { .. } => "delete_blob",
            Route::StartUpload { .. } => "start_upload",
            Route::UploadStatus { .. } => "upload_status",
            Route::AppendUpload { .. } => "append_upload",
            Route::FinishUpload { .. } => "finish_upload",
            Route::CancelUpload { .. } => "cancel_upload",
            Route::GetManifest { .. } => "get_manifest",
            Route::HeadManifest { .. } => "head_manifest",
            Route::PutManifest { .. } => "put_manifest",
            Route::DeleteManifest { .. } => "delete_manifest",
            Route::ListTags { .. } => "list_tags",
            Route::Referrers { .. } => "referrers",
            Route::Catalog => "catalog",
        }
    }

    /// The repository the request is about.
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Route::Base | Route::Catalog => None,
            Route::GetBlob { name, .. }
            | Route::HeadBlob { name, .. }
            | Route::DeleteBlob { name, .. }
            | Route::StartUpload { name }
            | Route::UploadStatus { name, .. }
            | Route::AppendUpload { name, .. }
            | Route::FinishUpload { name, .. }
            | Route::CancelUpload { name, .. }
            | Route::GetManifest { name, .. }
            | Route::HeadManifest { name, .. }
            | Route::PutManifest { name, .. }
            | Route::DeleteManifest { name, .. }
            | Route::ListTags { name }
            | Route::Referrers { name, .. } => Some(name),
        }
    }
}

/// The endpoint of a method and a path. The path is that of the request line, still percent-encoded, without the query.
pub fn route(method: &str, path: &str) -> Result<Route, RouteError> {
    if matches!(path, "/v2" | "/v2/") {
        return read_only(method, Route::Base);
    }
    let rest = path.strip_prefix("/v2/").ok_or(RouteError::NotFound)?;
    // A segment that cannot be decoded stands for itself: its percent sign is valid nowhere.
    let segments: Vec<_> = rest.split('/').map(|s| decode(s).unwrap_or(Cow::Borrowed(s))).collect();
    let segments: Vec<&str> = segments.iter().map(|segment| &**segment).collect();
    match segments.as_slice() {
        ["_catalog"] => read_only(method, Route::Catalog),
        [name @ .., "tags", "list"] => {
            allow(method, READ)?;
            Ok(Route::ListTags { name: repository(name)? })
        }
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            allow(method, "POST")?;
            Ok(Route::StartUpload { name: repository(name)? })
        }
        [name @ .., "blobs", "uploads", session] => upload(method, name, session),
        [name @ .., "manifests", reference] => manifest(method, name, reference),
        [name @ .., "blobs", digest] => blob(method, name, digest),
        [name @ .., "referrers", digest] => {
            allow(method, READ)?;
            Ok(Route::Referrers { name: repository(name)?, digest: digest.parse()? })
        }
        _ => Err(RouteError::NotFound),
    }
}

const READ: &str = "GET, HEAD";

fn allow(method: &str, allow: &'static str) -> Result<(), RouteError> {
    if allow.split(", ").any(|allowed| allowed == method) { Ok(()) } else { Err(RouteError::Method { allow }) }
}

fn read_only(method: &str, route: Route) -> Result<Route, RouteError> {
    allow(method, READ).map(|()| route)
}

/// Joins the segments of a name. Each is checked for slashes, which only decoding can have put there.
fn repository(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    let name = segments.join("/");
    if segments.iter().any(|segment| segment.contains('/')) {
        return Err(NameError::new(&name, "a slash in it is percent-encoded").into());
    }
    Ok(name.parse()?)
}

fn upload(method: &str, name: &[&str], session: &str) -> Result<Route, RouteError> {
    allow(method, "GET, HEAD, PATCH, PUT, DELETE")?;
    let name = repository(name)?;
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'=');
    if session.len() > MAX_SESSION_LEN || matches!(session, "." | "..") || !session.bytes().all(unreserved) {
        let reason = "no upload session of this registry is spelt like this".to_owned();
        return Err(RouteError::Absent { code: ErrorCode::BlobUploadUnknown, reason });
    }
    let session = session.to_owned();
    Ok(match method {
        "PATCH" => Route::AppendUpload { name, session },
        "PUT" => Route::FinishUpload { name, session },
        "DELETE" => Route::CancelUpload { name, session },
        _ => Route::UploadStatus { name, session },
    })
}

fn blob(method: &str, name: &[&str], digest: &str) -> Result<Route, RouteError> {
    allow(method, "GET, HEAD, DELETE")?;
    let name = repository(name)?;
    let digest = digest.parse().map_err(|e| absent_if_unsupported(e, ErrorCode::BlobUnknown))?;
    Ok(match method {
        "HEAD" => Route::HeadBlob { name, digest },
        "DELETE" => Route::DeleteBlob { name, digest },
        _ => Route::GetBlob { name, digest },
    })
}

fn manifest(method: &str, name: &[&str], reference: &str) -> Result<Route, RouteError> {
    allow(method, "GET, HEAD, PUT, DELETE")?;
    let name = repository(name)?;
    let reference = reference.parse().map_err(|error| match error {
        ReferenceError::Tag(e) if method == "PUT" => RouteError::Tag(e),
        ReferenceError::Digest(e) if method == "PUT" => RouteError::Digest(e),
        ReferenceError::Tag(e) => RouteError::Absent { code: ErrorCode::ManifestUnknown, reason: e.to_string() },
        ReferenceError::Digest(e) => absent_if_unsupported(e, ErrorCode::ManifestUnknown),
    })?;
    Ok(match method {
        "HEAD" => Route::HeadManifest { name, reference },
        "PUT" => Route::PutManifest { name, reference },
        "DELETE" => Route::DeleteManifest { name, reference },
        _ => Route::GetManifest { name, reference },
    })
}

fn absent_if_unsupported(error: DigestError, code: ErrorCode) -> RouteError {
    if error.is_unsupported() {
        RouteError::Absent { code, reason: error.to_string() }
    } else {
        RouteError::Digest(error)
    }
}
