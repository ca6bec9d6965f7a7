//! What each error is answered with: status, code, message, headers. One table, without a catch-all, so that a new
//! error of the domain does not compile until it has its row.
//!
//! Messages of 4xx tell the client everything; those of 5xx name the component and the request id, and the cause goes
//! to the log, here and nowhere else. Whoever may succeed later is told when (`Retry-After`).

use std::time::Duration;

use axum::body::Body;
use http::header::{ALLOW, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use roadstead_oci::{
    ContentRangeError, Digest, DigestError, ErrorBody, ErrorCode, ErrorEntry, NameError, PageError, QueryError,
    RepositoryName, RouteError, TagError,
};
use roadstead_registry::{BodyError, Error};
use serde_json::{Value, json};

use crate::oci_api::{UPLOAD_UUID, received_range};

/// Why a request is not answered as it wished.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A use case refused or failed.
    Domain(Error),
    /// The request itself is wrong.
    Request(Box<Row>),
}

/// One row of the table: everything but the body's frame.
#[derive(Debug)]
pub(crate) struct Row {
    status: StatusCode,
    errors: Vec<ErrorEntry>,
    headers: Vec<(HeaderName, String)>,
}

impl Row {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, errors: ErrorBody::new(code, message).errors, headers: Vec::new() }
    }

    fn detail(mut self, detail: Value) -> Self {
        for entry in &mut self.errors {
            entry.detail = detail.clone();
        }
        self
    }

    fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn retry_after(self, seconds: u32) -> Self {
        self.header(RETRY_AFTER, seconds.to_string())
    }

    /// The body was not read to its end, or what is left of it makes no sense.
    fn close(self) -> Self {
        self.header(CONNECTION, "close")
    }
}

impl Failure {
    fn bad(code: ErrorCode, message: impl Into<String>) -> Self {
        Row::new(StatusCode::BAD_REQUEST, code, message).into()
    }

    /// 416 for a blob of `size` bytes.
    pub(crate) fn unsatisfiable(size: u64) -> Self {
        let message = format!("the range lies outside the {size} bytes of the blob");
        let row = Row::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::Unsupported, message);
        row.header(CONTENT_RANGE, format!("bytes */{size}")).into()
    }

    /// 412: `If-Match` names other content.
    pub(crate) fn precondition(digest: &Digest) -> Self {
        let message = format!("If-Match names other content; this has the ETag \"{digest}\"");
        Row::new(StatusCode::PRECONDITION_FAILED, ErrorCode::Unsupported, message).into()
    }

    /// A request of HTTP/1.1 without exactly one `Host`.
    pub(crate) fn not_one_host() -> Self {
        let message = "a request must have exactly one Host header (RFC 9112, section 3.2)";
        Row::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message).close().into()
    }

    /// 503: the process has no room for the request now.
    pub(crate) fn busy(why: &str) -> Self {
        let message = format!("{why} at once; try again later");
        Row::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message).retry_after(5).into()
    }

    /// 429: who tries to log in too often.
    pub(crate) fn too_many_tries(wait: Duration) -> Self {
        let message = "too many failed logins; wait before the next one";
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Row::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message).retry_after(seconds).into()
    }

    /// A form that cannot be understood.
    pub(crate) fn form(status: StatusCode, message: impl Into<String>) -> Self {
        Row::new(status, ErrorCode::Unsupported, message).into()
    }

    /// A form that was not read to its end.
    pub(crate) fn cut_off(status: StatusCode, message: impl Into<String>) -> Self {
        Row::new(status, ErrorCode::Unsupported, message).close().into()
    }

    /// An upload is finished without saying what it was.
    pub(crate) fn missing_digest() -> Self {
        Self::bad(ErrorCode::DigestInvalid, "the query parameter digest is missing: ?digest=sha256:...")
    }
}

impl From<Row> for Failure {
    fn from(row: Row) -> Self {
        Self::Request(Box::new(row))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::bad(ErrorCode::Unsupported, error.to_string())
    }
}

impl From<PageError> for Failure {
    fn from(error: PageError) -> Self {
        Self::bad(ErrorCode::Unsupported, error.to_string())
    }
}

impl From<DigestError> for Failure {
    fn from(error: DigestError) -> Self {
        Self::bad(ErrorCode::DigestInvalid, error.to_string())
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::bad(ErrorCode::NameInvalid, error.to_string())
    }
}

impl From<TagError> for Failure {
    fn from(error: TagError) -> Self {
        Self::bad(ErrorCode::ManifestInvalid, error.to_string())
    }
}

impl From<ContentRangeError> for Failure {
    fn from(error: ContentRangeError) -> Self {
        Self::bad(ErrorCode::BlobUploadInvalid, error.to_string())
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        match error {
            RouteError::NotFound | RouteError::Absent { .. } => Row::new(StatusCode::NOT_FOUND, code, message),
            RouteError::Method { allow } => {
                Row::new(StatusCode::METHOD_NOT_ALLOWED, code, message).header(ALLOW, allow)
            }
            RouteError::Name(_) | RouteError::Tag(_) | RouteError::Digest(_) => {
                Row::new(StatusCode::BAD_REQUEST, code, message)
            }
        }
        .into()
    }
}

/// Where the request was, for the headers that say where to go on.
struct Place<'a> {
    base: &'a str,
    name: Option<&'a RepositoryName>,
    request_id: &'a str,
}

/// The answer to a request that failed. `base` and `name` are those of its URL.
pub(crate) fn render(failure: Failure, base: &str, name: Option<&RepositoryName>, request_id: &str) -> Response<Body> {
    let row = match failure {
        Failure::Domain(error) => domain(error, &Place { base, name, request_id }),
        Failure::Request(row) => *row,
    };
    let mut response = Response::new(Body::from(ErrorBody { errors: row.errors }.to_json()));
    *response.status_mut() = row.status;
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in row.headers {
        match HeaderValue::from_str(&value) {
            Ok(value) => drop(head.insert(name, value)),
            Err(error) => tracing::error!(%name, %error, "an error's header cannot be sent"),
        }
    }
    response
}

/// The table.
fn domain(error: Error, place: &Place<'_>) -> Row {
    use ErrorCode as Code;
    let message = error.to_string();
    match error {
        Error::NameUnknown(name) => {
            Row::new(StatusCode::NOT_FOUND, Code::NameUnknown, message).detail(json!({"name": name.as_str()}))
        }
        Error::BlobUnknown(digest) => {
            Row::new(StatusCode::NOT_FOUND, Code::BlobUnknown, message).detail(json!({"digest": digest}))
        }
        Error::ManifestUnknown(reference) => Row::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, message)
            .detail(json!({"reference": reference.to_string()})),
        Error::ManifestBlobUnknown(missing) => {
            let entry = |digest: Digest, size: u64, media_type: &str| ErrorEntry {
                code: Code::ManifestBlobUnknown,
                message: format!("repository does not have {digest}, which the manifest names"),
                detail: json!({"digest": digest, "size": size, "mediaType": media_type}),
            };
            let errors = missing.iter().map(|d| entry(d.digest, d.size, &d.media_type)).collect();
            Row { errors, ..Row::new(StatusCode::BAD_REQUEST, Code::ManifestBlobUnknown, message) }
        }
        Error::ManifestInvalid(why) => {
            Row::new(StatusCode::BAD_REQUEST, Code::ManifestInvalid, message).detail(json!({"field": why.field()}))
        }
        Error::SizeInvalid { stated, actual, .. } => Row::new(StatusCode::BAD_REQUEST, Code::SizeInvalid, message)
            .detail(json!({"stated": stated, "actual": actual})),
        Error::DigestInvalid { expected, actual } => Row::new(StatusCode::BAD_REQUEST, Code::DigestInvalid, message)
            .detail(json!({"expected": expected, "actual": actual})),
        Error::UploadUnknown => Row::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, message),
        Error::RangeInvalid { session, received } => {
            let row = Row::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message);
            let row = row.header(RANGE, received_range(received)).header(UPLOAD_UUID, session.clone());
            match place.name {
                Some(name) => row.header(LOCATION, format!("{}/v2/{name}/blobs/uploads/{session}", place.base)),
                None => row,
            }
        }
        Error::UploadBusy => Row::new(StatusCode::CONFLICT, Code::BlobUploadInvalid, message).retry_after(1),
        // The specification asks for 413 and has no code for it; the size is what is wrong.
        Error::TooLarge { limit } => {
            Row::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message).detail(json!({"limit": limit})).close()
        }
        Error::TooManyPieces { most } => {
            Row::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message).detail(json!({"pieces": most})).close()
        }
        Error::Body(why) => body(&why, message),
        Error::Unauthorized => Row::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message)
            .header(WWW_AUTHENTICATE, "Basic realm=\"roadstead\""),
        Error::Denied(_) => Row::new(StatusCode::FORBIDDEN, Code::Denied, message),
        Error::InUse(_) => Row::new(StatusCode::CONFLICT, Code::Denied, message),
        Error::PreconditionFailed(current) => {
            Row::new(StatusCode::PRECONDITION_FAILED, Code::Denied, message).detail(json!({"current": current}))
        }
        Error::Unsupported(_) => Row::new(StatusCode::BAD_REQUEST, Code::Unsupported, message),
        Error::Contended => Row::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message).retry_after(1),
        Error::ReadOnly(cause) => {
            tracing::warn!(%cause, "refused a write: the registry is read-only");
            let message = "the registry is read-only for now: pulls work, pushes do not; try again later";
            Row::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, message).retry_after(10)
        }
        Error::Unavailable { component, cause } => {
            tracing::error!(component, %cause, "a component does not answer");
            silent(component)
        }
        Error::SourceUnavailable { name, cause } => {
            tracing::debug!(source = name, %cause, "a source of users does not answer");
            silent(name)
        }
        Error::Uncertain(cause) => {
            tracing::error!(component = "metadata", %cause, "a commit got no answer");
            silent("metadata")
        }
        Error::Full(cause) => {
            tracing::error!(%cause, "refused a push: storage is full");
            // Somebody has to make room first, and the collector makes some by itself.
            let message = "the registry's storage is full; try again later";
            Row::new(StatusCode::INSUFFICIENT_STORAGE, Code::Unavailable, message).retry_after(60).close()
        }
        Error::Damaged(cause) => {
            tracing::error!(%cause, "stored content is damaged");
            ours("stored content is damaged", place)
        }
        Error::Internal(cause) => {
            tracing::error!(%cause, "internal error");
            ours("internal error", place)
        }
    }
}

/// 503, for what does not answer.
fn silent(who: &str) -> Row {
    let message = format!("{who} does not answer; try again later");
    Row::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message).retry_after(5)
}

fn body(why: &BodyError, message: String) -> Row {
    let (status, code) = match why {
        BodyError::Broken(_) => (StatusCode::BAD_REQUEST, ErrorCode::BlobUploadInvalid),
        BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid),
        BodyError::Superseded => (StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid),
        BodyError::Draining => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
    };
    let row = Row::new(status, code, message).close();
    if status == StatusCode::SERVICE_UNAVAILABLE { row.retry_after(1) } else { row }
}

/// 500, which the operator finds in the log by its request id.
fn ours(what: &str, place: &Place<'_>) -> Row {
    let message = format!("{what}; the registry's log has the cause under request id {}", place.request_id);
    Row::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, message)
        .detail(json!({"request_id": place.request_id}))
}

#[cfg(test)]
mod tests;
