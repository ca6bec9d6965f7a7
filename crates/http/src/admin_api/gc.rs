//! `POST /api/v1/gc`: collect now what may go, or tell what would.
//!
//! Body: `{"dry_run": bool}`, or nothing, which means `false`. Events:
//! - `candidate` (dry run): a blob that would go: `digest`, `size` in bytes, `since` in milliseconds since the Unix epoch.
//! - `manifest` (dry run): a manifest that would go by policy: `repository`, `digest`, `since`.
//! - `progress`: `manifests`, `links`, `blobs`, `bytes`, `objects` removed so far.
//! - `end`: the same in all; `waiting_objects` wait for the reaper, `trouble` is why, when a store does not delete. After a dry run `manifests`, `blobs` and `bytes` are what would go.
//! - `failed`: `message` says why it stopped; `retry_after_seconds` when it is known.
//!
//! 409 while another one runs, 400 or 422 for a body that is no such object.

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::records::preview::Cursor;
use roadstead_metadata::records::untagged::Untagged;
use roadstead_workers::{Collection, Totals, Turn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::Call;
use super::lines::{self, Lines};
use super::refusals::{Answer, Refusal};

/// A clock that will be believed so soon is waited for.
const WORTH_WAITING: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Collection")]
pub(super) struct Wish {
    /// Nothing is removed; told is what would be.
    #[serde(default)]
    dry_run: bool,
}

/// A line of the answer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
#[schemars(rename = "CollectionEvent")]
pub(super) enum Event {
    Candidate {
        digest: String,
        size: u64,
        since: i64,
    },
    Manifest {
        repository: String,
        digest: String,
        since: i64,
    },
    Progress(Totals),
    End {
        dry_run: bool,
        #[serde(flatten)]
        totals: Totals,
        #[serde(skip_serializing_if = "Option::is_none")]
        waiting_objects: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
    Failed {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
}

pub(super) async fn run(call: Call) -> Answer {
    let wish: Wish = call.body()?;
    let collection = call.api.collection;
    if wish.dry_run {
        return Ok(lines::answer(|lines| async move { end(&lines, preview(&collection, &lines).await).await }));
    }
    if collection.begin().is_none() {
        return Err(Refusal::conflict("a collection is under way already; see its worker at /api/v1/workers"));
    }
    Ok(lines::answer(|lines| async move { end(&lines, collect(collection, &lines).await).await }))
}

/// The last event; nothing when nobody is there to read it.
async fn end(lines: &Lines, event: Option<Event>) {
    if let Some(event) = event {
        lines.write(&event).await;
    }
}

fn failed(error: impl ToString) -> Option<Event> {
    Some(Event::Failed { message: error.to_string(), retry_after_seconds: None })
}

async fn collect(collection: Arc<Collection>, lines: &Lines) -> Option<Event> {
    let Some(_turn) = collection.begin() else { return failed("a collection is under way already") };
    let mut totals = Totals::default();
    loop {
        match collection.turn(&mut totals).await {
            // Who reads slowly misses some of it, and holds nothing up.
            Ok(Turn::More) if lines.offer(&Event::Progress(totals)) => {}
            Ok(Turn::More) => return None,
            Ok(Turn::Done { waiting, trouble }) => {
                return Some(Event::End { dry_run: false, totals, waiting_objects: Some(waiting), trouble });
            }
            Ok(Turn::ClockDiffers) => {
                let message = "nothing is removed for its age by an instance whose clock differs from that of most others by \
                     more than 5 s: set its clock (is NTP running?), or ask another instance";
                return Some(Event::Failed { message: message.into(), retry_after_seconds: None });
            }
            Ok(Turn::ClockUnproven(left)) if left <= WORTH_WAITING => tokio::time::sleep(left).await,
            Ok(Turn::ClockUnproven(left)) => {
                let seconds = left.as_secs() + 1;
                let message = format!(
                    "nothing is removed for its age before this instance has seen its clock go steadily: run it again in \
                     {seconds} s, or leave it to the collector"
                );
                return Some(Event::Failed { message, retry_after_seconds: Some(seconds) });
            }
            Err(error) => return failed(error),
        }
    }
}

async fn preview(collection: &Collection, lines: &Lines) -> Option<Event> {
    let mut totals = Totals::default();
    let told = async {
        manifests(collection, lines, &mut totals).await?;
        blobs(collection, lines, &mut totals).await
    };
    match told.await {
        Ok(()) => Some(Event::End { dry_run: true, totals, waiting_objects: None, trouble: None }),
        Err(stopped) => stopped,
    }
}

/// Tells the manifests that would go. What stops it is its last event, or nothing when nobody reads any more.
async fn manifests(collection: &Collection, lines: &Lines, totals: &mut Totals) -> Result<(), Option<Event>> {
    let mut last = None;
    loop {
        let (manifests, next) = collection.preview_manifests(last.as_ref()).await.map_err(failed)?;
        for Untagged { name: repository, digest, since, .. } in manifests {
            totals.manifests += 1;
            if !lines.write(&Event::Manifest { repository, digest: digest.to_string(), since }).await {
                return Err(None);
            }
        }
        match next {
            Some(_) if lines.is_closed() => return Err(None),
            Some(next) => last = Some(next),
            None => return Ok(()),
        }
    }
}

/// The same for blobs.
async fn blobs(collection: &Collection, lines: &Lines, totals: &mut Totals) -> Result<(), Option<Event>> {
    let mut from = Some(Cursor::default());
    while let Some(cursor) = from.filter(|_| !lines.is_closed()) {
        let (candidates, next) = collection.preview(cursor).await.map_err(failed)?;
        for blob in candidates {
            totals.blobs += 1;
            totals.bytes += blob.size;
            let event = Event::Candidate { digest: blob.digest.to_string(), size: blob.size, since: blob.since };
            if !lines.write(&event).await {
                return Err(None);
            }
        }
        from = next;
    }
    Ok(())
}
