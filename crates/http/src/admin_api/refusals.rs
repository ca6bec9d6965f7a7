//! Why nothing was done: `{"errors":[{"code","message","detail"}]}`, as the rest of the registry answers.
//!
//! | Status | Code | When |
//! |---|---|---|
//! | 400 | `INVALID` | the body is no JSON object, the query cannot be read |
//! | 401 | `UNAUTHORIZED` | who asks is not known, or not who it was |
//! | 403 | `DENIED` | who asks may not do this |
//! | 404 | `NAME_UNKNOWN`, `NOT_FOUND` | there is nothing of this name for who asks; there is no such endpoint |
//! | 405 | `UNSUPPORTED` | the endpoint is there, but not by this method |
//! | 408, 413 | `INVALID` | the body did not come in time, or is too large |
//! | 409 | `CONFLICT` | the name is taken, or what is there forbids it |
//! | 422 | `INVALID` | a field is unknown or missing; a name, password, scope or time is not acceptable |
//! | 429 | `TOOMANYREQUESTS` | who asks sets passwords, or logs in, too often; with `Retry-After` |
//! | 500 | `UNKNOWN` | a fault of the registry |
//! | 503 | `UNAVAILABLE` | metadata cannot be written or does not answer; with `Retry-After` |

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use roadstead_registry::Error;
use roadstead_registry::identities::IdentityError;
use serde_json::{Value, json};

use crate::error_table;

/// What a handler answers.
pub(super) type Answer = Result<Response<Body>, Refusal>;

/// An answer that says why nothing was done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// By the rules of this API.
    Told(Box<Row>),
    /// As the OCI API answers it: what fails is the registry.
    Registry(Error),
}

/// What there is to tell.
#[derive(Debug)]
pub(super) struct Row {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Value,
    header: Option<(HeaderName, String)>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Row { status, code, message: message.into(), detail: Value::Null, header: None }))
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        if let Self::Told(row) = &mut self {
            row.header = Some((name, value.into()));
        }
        self
    }

    fn detail(mut self, detail: Value) -> Self {
        if let Self::Told(row) = &mut self {
            row.detail = detail;
        }
        self
    }

    /// The request cannot be read.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID", message)
    }

    /// It can be read, and asks for what there cannot be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "INVALID", message)
    }

    /// The same of one field of the body, or parameter of the query.
    pub(super) fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid(message).detail(json!({ "field": field }))
    }

    /// The body is larger than `limit` bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "INVALID", message).with(http::header::CONNECTION, "close")
    }

    /// The body says to be something else.
    pub(super) fn no_json() -> Self {
        let message = "the body has to be application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "INVALID", message).with(http::header::CONNECTION, "close")
    }

    /// The body did not come in time, or broke off.
    pub(super) fn no_body() -> Self {
        let message = "the body did not come to its end";
        Self::new(StatusCode::REQUEST_TIMEOUT, "INVALID", message).with(http::header::CONNECTION, "close")
    }

    /// Who asks has not said who it is.
    pub(super) fn unauthorized() -> Self {
        let message = "authentication required: send a name and a password, or an access token";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
            .with(WWW_AUTHENTICATE, "Basic realm=\"roadstead\", charset=\"UTF-8\"")
    }

    /// Who asks does it too often.
    fn too_often(wait: Duration, message: String) -> Self {
        let seconds = wait.as_secs().saturating_add(1).to_string();
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message).with(RETRY_AFTER, seconds)
    }

    /// Who asks may not do this.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    /// What is there forbids it.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    /// Nothing is served under this path.
    pub(super) fn no_endpoint() -> Self {
        let message = "the admin API has no such endpoint; is the command of another version?";
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// Something is served under this path, by these methods.
    pub(super) fn no_method(allow: String) -> Self {
        let message = format!("the endpoint is there, but not by this method: {allow}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).with(ALLOW, allow)
    }

    /// A component does not answer: told to operators and system admins only.
    pub(super) fn unavailable(error: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", error.to_string()).with(RETRY_AFTER, "5")
    }

    /// The answer to the request with this id.
    pub(super) fn render(self, request_id: &str) -> Response<Body> {
        let row = match self {
            Self::Told(row) => row,
            Self::Registry(error) => return error_table::render(error.into(), "", None, request_id),
        };
        let mut error = json!({ "code": row.code, "message": row.message });
        if !row.detail.is_null() {
            error["detail"] = row.detail;
        }
        let mut response = (row.status, Json(json!({ "errors": [error] }))).into_response();
        if let Some((name, value)) = row.header
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        let message = error.to_string();
        match error {
            IdentityError::Unauthorized | IdentityError::Registry(Error::Unauthorized) => Self::unauthorized(),
            IdentityError::Denied(message) => Self::denied(message),
            IdentityError::Unknown(message) => Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message),
            IdentityError::Exists(message) | IdentityError::Refused(message) => Self::conflict(message),
            IdentityError::Invalid(message) => Self::invalid(message),
            IdentityError::TooOften(wait) => Self::too_often(wait, message),
            IdentityError::Registry(error) => Self::Registry(error),
        }
    }
}
