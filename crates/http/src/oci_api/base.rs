//! end-1: whether this is a registry.

use axum::body::Body;
use http::Response;

use super::call::json;

/// `{}`, as Docker's registry answers.
pub(super) fn answer() -> Response<Body> {
    json("application/json", &serde_json::json!({}))
}
