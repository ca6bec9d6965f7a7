//! `/api/v1/scrub`: look for damage now, how that goes, and what is damaged.
//!
//! `POST` with `{"deep": bool, "rate": bytes per second or null}`, both of which may be left out, asks for a run over all
//! locations and answers 202 `{"run": id}`; 409 while one is under way. `DELETE` stops it. `GET` tells the last run of
//! each location and the damaged objects; `next`, when it is there, is the query that tells more of them. With
//! `?progress=true` it names no objects.

use std::collections::HashMap;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri};
use roadstead_metadata::records::damage::Kind;
use roadstead_metadata::records::scrub::Run;
use roadstead_workers::{DamagedObject, ScrubState, StepError};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AdminApi, refuse, wish};

/// Damaged objects in one answer.
const PAGE: usize = 100;

/// At less than this a slice takes longer than a step may.
const SLOWEST: u64 = 64 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    deep: bool,
    #[serde(default)]
    rate: Option<u64>,
}

pub(super) async fn begin(State(api): State<AdminApi>, body: Result<Bytes, BytesRejection>) -> Response<Body> {
    let wish: Wish = match wish(body, "{\"deep\": true or false, \"rate\": bytes per second}") {
        Ok(wish) => wish,
        Err((status, message)) => return refuse(status, &message),
    };
    if wish.rate.is_some_and(|rate| rate < SLOWEST) {
        let message = format!("rate must be {SLOWEST} bytes per second (64KiB) or more, or null for `scrub.rate`");
        return refuse(StatusCode::BAD_REQUEST, &message);
    }
    match api.scrub.begin(wish.deep, wish.rate).await {
        Ok(Some(run)) => {
            api.workers.wake("scrub");
            (StatusCode::ACCEPTED, Json(json!({ "run": run }))).into_response()
        }
        Ok(None) => refuse(StatusCode::CONFLICT, "a scrub is under way already; see GET /api/v1/scrub"),
        Err(error) => failed(&error),
    }
}

pub(super) async fn stop(State(api): State<AdminApi>) -> Response<Body> {
    match api.scrub.stop().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failed(&error),
    }
}

pub(super) async fn show(State(api): State<AdminApi>, uri: Uri) -> Response<Body> {
    let Ok(after) = cursor(&uri) else {
        return refuse(StatusCode::BAD_REQUEST, "not a query that an earlier answer gave as `next`");
    };
    let after = after.as_ref().map(|(location, key)| (*location, key.as_str()));
    let objects = if uri.query() == Some("progress=true") { 0 } else { PAGE };
    match told(&api, after, objects).await {
        Ok(told) => Json(told).into_response(),
        Err(error) => failed(&error),
    }
}

/// After which object to go on; keys and ids need no escapes.
fn cursor(uri: &Uri) -> Result<Option<(Uuid, String)>, uuid::Error> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query: HashMap<&str, &str> = pairs.collect();
    let Some(location) = query.get("location") else { return Ok(None) };
    Ok(Some((location.parse()?, query.get("after").copied().unwrap_or_default().to_owned())))
}

async fn told(api: &AdminApi, after: Option<(Uuid, &str)>, objects: usize) -> Result<Value, StepError> {
    let states = api.scrub.state().await?;
    let damaged = api.scrub.damage(after, objects).await?;
    let last = damaged.last().filter(|_| damaged.len() == PAGE);
    let next = last.map(|last| format!("location={}&after={}", last.location_id, last.object.object_key));
    let counts = api.scrub.damaged();
    let orphans: u64 = counts.iter().filter(|count| count.kind == Kind::Orphan).map(|count| count.objects).sum();
    let worker = api.workers.statuses().into_iter().find(|worker| worker.name == "scrub");
    Ok(json!({
        "running": states.iter().filter_map(|state| state.last.as_ref()).any(|run| run.ended_at.is_none()),
        "failures": worker.as_ref().map(|worker| worker.failures),
        "last_error": worker.and_then(|worker| worker.last_error),
        "locations": states.iter().map(location).collect::<Vec<_>>(),
        "orphans": orphans,
        "damaged": damaged.iter().map(object).collect::<Vec<_>>(),
        "next": next,
    }))
}

fn location(state: &ScrubState) -> Value {
    json!({
        "location": state.location,
        "id": state.id,
        "placements": state.placements,
        "last": state.last.as_ref().map(run),
    })
}

fn run(run: &Run) -> Value {
    let counts = run.counts;
    json!({
        "run": run.run,
        "deep": run.deep,
        "rate": run.rate,
        "phase": run.phase.as_str(),
        "started_at": run.started_at,
        "updated_at": run.updated_at,
        "ended_at": run.ended_at,
        "stopped": run.stopped,
        "objects": counts.objects,
        "bytes": counts.bytes,
        "missing": counts.missing,
        "wrong_size": counts.wrong_size,
        "wrong_hash": counts.wrong_hash,
        "unreadable": counts.unreadable,
        "orphans": counts.orphans,
        "repaired": counts.repaired,
    })
}

fn object(damaged: &DamagedObject) -> Value {
    json!({
        "location": damaged.location,
        "key": damaged.object.object_key,
        "digest": damaged.object.digest.to_string(),
        "kind": damaged.object.kind.as_str(),
        "found_at": damaged.object.found_at,
        "repositories": damaged.repositories,
    })
}

fn failed(error: &StepError) -> Response<Body> {
    refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
}
