//! A collection that somebody asked for: the same collector and reaper, driven until nothing is left to do.
//!
//! It changes nothing that the workers would not change by themselves a period later, so it may run beside them and
//! be broken off at any moment.

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::records::preview::{self, Candidate, Cursor};
use roadstead_metadata::records::reap;
use roadstead_metadata::records::untagged::{self, Untagged};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Collect, Reaper, StepError, Worker};

/// Candidates looked at by one question of a preview.
const PAGE: i64 = 500;

/// Collections on demand, one at a time.
#[derive(Debug)]
pub struct Collection {
    collect: Arc<Collect>,
    reaper: Arc<Reaper>,
    turn: tokio::sync::Mutex<()>,
}

/// What was done since the collection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Totals {
    /// Manifests that nothing held, removed by policy.
    pub manifests: u64,
    /// Links of repositories to blobs that were looked at and, unless in use again, removed.
    pub links: u64,
    /// Blobs, likewise.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Objects deleted from the stores: also those that earlier collections and pushes let go.
    pub objects: u64,
}

/// How a collection stands after a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// More may be waiting.
    More,
    /// Nothing is left that could go now. So many objects wait: not yet due, or of locations that do not answer.
    Done {
        /// Objects that the reaper still has to delete.
        waiting: u64,
        /// What a store answered that did not delete one just now.
        trouble: Option<String>,
    },
    /// Nothing is removed for its age where the clock differs from that of most other instances.
    ClockDiffers,
    /// Nothing is removed for its age before the clock was watched; it will have been after this time.
    ClockUnproven(Duration),
}

impl Collection {
    /// Drives `collect` and `reaper`.
    pub fn new(collect: Arc<Collect>, reaper: Arc<Reaper>) -> Self {
        Self { collect, reaper, turn: tokio::sync::Mutex::new(()) }
    }

    /// Keeps other collections away while the answer lives; `None` when one is under way.
    pub fn begin(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.turn.try_lock().ok()
    }

    /// One unit of work, added to `totals`.
    pub async fn turn(&self, totals: &mut Totals) -> Result<Turn, StepError> {
        if !self.collect.clock_agrees() {
            return Ok(Turn::ClockDiffers);
        }
        let Some(collected) = self.collect.collect().await? else {
            return Ok(Turn::ClockUnproven(self.collect.remaining()));
        };
        totals.manifests += collected.manifests;
        totals.links += collected.links;
        totals.blobs += collected.blobs;
        totals.bytes += collected.bytes;
        // A store that does not delete keeps nothing else from being collected.
        let (reaped, trouble) = match self.reaper.step().await {
            Ok(reaped) => (reaped.done, None),
            Err(StepError::Storage { location, source }) => (0, Some(format!("location {location}: {source}"))),
            Err(error) => return Err(error),
        };
        totals.objects += reaped;
        if collected.more || reaped > 0 {
            return Ok(Turn::More);
        }
        let waiting = reap::count(&**self.collect.registry().sql()).await?;
        Ok(Turn::Done { waiting, trouble })
    }

    /// A page of the manifests that a collection would remove now by policy, and after which the next begins; `None` after
    /// the last. What they alone hold follows them and is not among them, nor are their blobs, whose grace begins then.
    pub async fn preview_manifests(
        &self,
        after: Option<&Untagged>,
    ) -> Result<(Vec<Untagged>, Option<Untagged>), StepError> {
        let registry = self.collect.registry();
        let Some(before) = self.collect.untagged_before(registry.clock().now()) else { return Ok((vec![], None)) };
        let mut found = untagged::candidates(&**registry.sql(), before, after, PAGE).await?;
        let going = self.collect.unheld(&found).await?;
        let next = if found.len() as i64 == PAGE { found.pop() } else { None };
        Ok((going, next))
    }

    /// A page of the blobs that a collection would remove now, and where the next begins; `None` after the last.
    /// Nothing is changed. A page may be empty and not the last.
    pub async fn preview(&self, from: Cursor) -> Result<(Vec<Candidate>, Option<Cursor>), StepError> {
        let registry = self.collect.registry();
        let before = self.collect.before(registry.clock().now());
        Ok(preview::page(&**registry.sql(), before, from, PAGE).await?)
    }
}
