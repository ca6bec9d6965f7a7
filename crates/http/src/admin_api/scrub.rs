//! `/api/v1/scrub`: look for damage now, how that goes, and what is damaged.
//!
//! `POST` with `{"deep": bool, "rate": bytes per second or null}`, both of which may be left out, asks for a run over all
//! locations and answers 202 `{"run": id}`; 409 while one is under way. `DELETE` stops it. `GET` tells the last run of
//! each location and the damaged objects; `next`, when it is there, is the query that tells more of them. With
//! `?progress=true` it names no objects.
//!
//! `POST /api/v1/scrub/orphans` lets the objects go that nothing names and that are kept because they are many, and answers
//! `{"orphans": how many}`.

use http::StatusCode;
use roadstead_metadata::records::damage::Kind;
use roadstead_metadata::records::scrub::Run;
use roadstead_workers::{DamagedObject, ScrubState, StepError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::AdminApi;
use super::call::{Call, done, shown, with};
use super::refusals::{Answer, Refusal};

/// Damaged objects in one answer.
const PAGE: usize = 100;

/// At less than this a slice takes longer than a step may.
const SLOWEST: u64 = 64 << 10;

/// How to look.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Scrub")]
pub(super) struct Wish {
    /// Reads and hashes every blob; otherwise only looks whether each is there and of the right size.
    #[serde(default)]
    deep: bool,
    /// Bytes to read in a second at most, 65536 or more; as `scrub.rate` says without it.
    #[serde(default)]
    rate: Option<u64>,
}

/// A run that begins.
#[derive(Serialize, JsonSchema)]
pub(super) struct Begun {
    run: Uuid,
}

/// Objects that were let go.
#[derive(Serialize, JsonSchema)]
pub(super) struct LetGo {
    /// How many.
    orphans: u64,
}

pub(super) async fn begin(call: Call) -> Answer {
    let Wish { deep, rate } = call.body()?;
    if rate.is_some_and(|rate| rate < SLOWEST) {
        let message = format!("rate must be {SLOWEST} bytes per second (64KiB) or more, or null for `scrub.rate`");
        return Err(Refusal::invalid_field("rate", message));
    }
    match call.api.scrub.begin(deep, rate).await.map_err(Refusal::unavailable)? {
        Some(run) => {
            call.api.workers.wake("scrub");
            with(StatusCode::ACCEPTED, &Begun { run })
        }
        None => Err(Refusal::conflict("a scrub is under way already; see GET /api/v1/scrub")),
    }
}

pub(super) async fn stop(call: Call) -> Answer {
    call.api.scrub.stop().await.map_err(Refusal::unavailable)?;
    done()
}

pub(super) async fn let_orphans_go(call: Call) -> Answer {
    let orphans = call.api.scrub.let_orphans_go().await.map_err(Refusal::unavailable)?;
    call.api.workers.wake("scrub");
    shown(&LetGo { orphans })
}

pub(super) async fn show(call: Call) -> Answer {
    let after = cursor(&call)?;
    let after = after.as_ref().map(|(location, key)| (*location, key.as_str()));
    let objects = if call.query.get("progress") == Some("true") { 0 } else { PAGE };
    shown(&told(&call.api, after, objects).await.map_err(Refusal::unavailable)?)
}

/// After which object to go on.
fn cursor(call: &Call) -> Result<Option<(Uuid, String)>, Refusal> {
    let Some(location) = call.query.get("location") else { return Ok(None) };
    let location = location
        .parse()
        .map_err(|_| Refusal::invalid_field("location", "not a query that an earlier answer gave as `next`"))?;
    Ok(Some((location, call.query.get("after").unwrap_or_default().to_owned())))
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
        "held_orphans": state.held,
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
