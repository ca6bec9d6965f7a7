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

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use roadstead_workers::{Collection, Scrub, Supervisor, WorkerStatus};
use serde_json::json;

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

/// An answer that says why nothing was done.
fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    (status, Json(json!({ "error": message }))).into_response()
}
