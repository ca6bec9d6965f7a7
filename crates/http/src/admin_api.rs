//! The admin API: what operators ask of a running instance and tell it to do. JSON under `/api/v1`.
//!
//! It is served on a Unix socket only ([`AdminSocket`](crate::AdminSocket)): who may open the metadata directory is
//! the administrator, and nobody on the network can reach it. So its errors tell everything.
//!
//! Long work is answered as it goes: one JSON object a line (`application/x-ndjson`), each with a field `event`, the
//! last of them `end` or `failed`. A caller that goes away breaks the work off where that does no harm.

mod gc;
mod lines;
mod scrub;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use roadstead_workers::{Collection, Scrub, Supervisor, WorkerStatus};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The admin API over the background work of an instance.
#[derive(Debug, Clone)]
pub struct AdminApi {
    workers: Arc<Supervisor>,
    collection: Arc<Collection>,
    scrub: Arc<Scrub>,
}

impl AdminApi {
    /// Shows `workers`, of which one is `scrub`, and runs `collection` and `scrub` when asked to.
    pub fn new(workers: Arc<Supervisor>, collection: Arc<Collection>, scrub: Arc<Scrub>) -> Self {
        Self { workers, collection, scrub }
    }

    /// The API as a router; what it does not know is 404.
    pub fn router(self) -> Router {
        Router::new()
            .route("/api/v1/workers", get(workers))
            .route("/api/v1/gc", post(gc::run))
            .route("/api/v1/scrub", get(scrub::show).post(scrub::begin).delete(scrub::stop))
            .fallback(unknown)
            .method_not_allowed_fallback(not_so)
            .with_state(self)
    }
}

/// `GET /api/v1/workers`: every worker's status.
async fn workers(State(api): State<AdminApi>) -> Json<Vec<WorkerStatus>> {
    Json(api.workers.statuses())
}

async fn unknown() -> Response<Body> {
    refuse(StatusCode::NOT_FOUND, "the admin API has no such endpoint; is the command of another version?")
}

async fn not_so() -> Response<Body> {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "the endpoint is there, but not by this method")
}

/// Status and message of an answer that says why nothing was done.
type Refusal = (StatusCode, String);

/// What a body asks for; nothing asks for the defaults. A refusal tells the `form` there is.
fn wish<T: DeserializeOwned + Default>(body: Result<Bytes, BytesRejection>, form: &str) -> Result<T, Refusal> {
    let body = body.map_err(|refused| (refused.status(), refused.body_text()))?;
    if body.is_empty() {
        return Ok(T::default());
    }
    // An object first: a list would do for its fields in order.
    let object = serde_json::from_slice::<Map<String, Value>>(&body);
    let wish = object.and_then(|object| serde_json::from_value(Value::Object(object)));
    wish.map_err(|error| (StatusCode::BAD_REQUEST, format!("not {form}: {error}")))
}

/// An answer that says why nothing was done.
fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    (status, Json(json!({ "error": message }))).into_response()
}
