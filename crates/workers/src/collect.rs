//! The collector: removes what nothing names any more, a grace after a push last relied on it.
//!
//! It works online, from the bookkeeping in metadata alone: a link of a repository to a blob goes when no manifest of
//! the repository names the blob, a blob goes when no repository links it, and its objects go to the reaper in the same
//! commit. Nothing is decided between a question and a commit: each removal looks at the references itself, so that a
//! push, a mount or a HEAD that came first keeps what it relies on, and one that comes later finds it gone and uploads.
//!
//! Nothing goes before the clock has been seen to go steadily for a period: a clock that jumped makes everything old.
//! The collector never looks into a store, so it costs what there is to collect. Manifests without a tag stay unless a
//! policy says for how long: they can be pulled by their digest, and only their owner knows whether somebody does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::Millis;
use roadstead_metadata::records::collect::{self, Waiting};
use roadstead_metadata::records::untagged::{self, Untagged};
use roadstead_oci::Digest;
use roadstead_registry::Registry;
use uuid::Uuid;

use crate::steady::Steady;
use crate::{Lease, Progress, StepError, Worker, commit, millis};

/// How often the collector looks, unless configured.
const PERIOD: Duration = Duration::from_secs(10 * 60);
/// Links, or blobs, removed in one step.
const STEP: i64 = 100;

/// What one unit of work did; links and blobs that are in use again after all are counted, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Manifests that nothing held, all of them removed.
    pub(crate) manifests: u64,
    /// Links of repositories to blobs.
    pub(crate) links: u64,
    /// Blobs.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Whether there was anything to look at, so that there may be more.
    pub(crate) more: bool,
}

/// Manifests removed in one step: each may hold hundreds of others.
const MANIFESTS: i64 = 20;

/// Collects what nothing names.
#[derive(Debug)]
pub struct Collect {
    registry: Arc<Registry>,
    period: Duration,
    /// For how long a manifest that nothing holds stays; `None` for ever.
    untagged: Option<Duration>,
    steady: Steady,
    /// Among several processes, that to do it for all.
    lease: Option<Lease>,
}

impl Collect {
    /// Works on the metadata of `registry`, with its grace.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, period: PERIOD, untagged: None, steady: Steady::default(), lease: None }
    }

    /// Looks every `period` in place of every ten minutes.
    pub fn with_period(self, period: Duration) -> Self {
        Self { period, ..self }
    }

    /// Of several processes, removes nothing while its clock differs from theirs.
    pub fn with_lease(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Whether the clocks of the other processes show the same time.
    pub(crate) fn clock_agrees(&self) -> bool {
        self.lease.as_ref().is_none_or(Lease::clock_agrees)
    }

    /// One unit of work, unless the clock cannot be believed yet.
    pub(crate) async fn collect(&self) -> Result<Option<Collected>, StepError> {
        let Some(now) = self.steady.now(&**self.registry.clock(), self.watched()) else { return Ok(None) };
        let (looked, manifests) = self.remove_untagged(now).await?;
        let before = self.before(now);
        let links = self.unlink(before).await?;
        let (blobs, bytes) = self.remove(before).await?;
        let more = looked + links + blobs > 0;
        let [manifests, links, blobs] = [manifests, links, blobs].map(|count| count as u64);
        Ok(Some(Collected { manifests, links, blobs, bytes, more }))
    }

    /// How long until the clock can be believed, if it goes on steadily.
    pub(crate) fn remaining(&self) -> Duration {
        self.steady.remaining(&**self.registry.clock(), self.watched())
    }

    /// How long the clock is watched before it is believed. Where nothing is kept for as long as that, a clock that
    /// jumps does not matter, and there is nothing to wait for.
    fn watched(&self) -> Duration {
        self.period.min(self.registry.limits().grace.max(self.untagged.unwrap_or_default()))
    }

    /// What could be collected now: links and blobs that seem to be of no use, and for how long they have been.
    pub async fn waiting(&self) -> Result<Waiting, StepError> {
        Ok(collect::waiting(&**self.registry.sql(), self.before(self.registry.clock().now())).await?)
    }

    /// Removes manifests that no tag, no index and no subject that is there has held for so long.
    pub fn with_untagged(self, kept: Option<Duration>) -> Self {
        Self { untagged: kept, ..self }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What has not been relied on since then may go.
    pub(crate) fn before(&self, now: Millis) -> Millis {
        now - millis(self.registry.limits().grace)
    }

    /// Since when a manifest must have been held by nothing to go; `None` when none does.
    pub(crate) fn untagged_before(&self, now: Millis) -> Option<Millis> {
        self.untagged.map(|kept| now - millis(kept))
    }

    /// Removes manifests that nothing holds: how many of at most [`MANIFESTS`] were looked at, and how many went.
    async fn remove_untagged(&self, now: Millis) -> Result<(usize, usize), StepError> {
        let Some(before) = self.untagged_before(now) else { return Ok((0, 0)) };
        let found = untagged::candidates(&**self.registry.sql(), before, None, MANIFESTS).await?;
        let going = self.unheld(&found).await?;
        let mut by_repository: BTreeMap<Uuid, Vec<Digest>> = BTreeMap::new();
        for manifest in &found {
            by_repository.entry(manifest.repository).or_default().push(manifest.digest);
        }
        // All that were found: those that are held after all are not met again.
        let statements = by_repository.iter().flat_map(|(id, digests)| untagged::remove(*id, digests, before, now));
        if !found.is_empty() {
            commit(&self.registry, statements).await?;
        }
        for Untagged { name: repository, digest, since, .. } in &going {
            tracing::info!(%repository, %digest, since, "manifest that nothing held removed, as gc.untagged says");
        }
        Ok((found.len(), going.len()))
    }

    /// Those of `found` that nothing holds now.
    pub(crate) async fn unheld(&self, found: &[Untagged]) -> Result<Vec<Untagged>, StepError> {
        let mut by_repository: BTreeMap<Uuid, Vec<Digest>> = BTreeMap::new();
        for manifest in found {
            by_repository.entry(manifest.repository).or_default().push(manifest.digest);
        }
        let mut unheld = BTreeSet::new();
        for (repository, digests) in by_repository {
            let going = untagged::unheld(&**self.registry.sql(), repository, &digests).await?;
            unheld.extend(going.into_iter().map(|digest| (repository, digest)));
        }
        Ok(found.iter().filter(|manifest| unheld.contains(&(manifest.repository, manifest.digest))).cloned().collect())
    }

    /// Removes links, at most [`STEP`]; how many were looked at.
    async fn unlink(&self, before: Millis) -> Result<usize, StepError> {
        let unused = collect::unused(&**self.registry.sql(), before, STEP).await?;
        let mut by_repository: BTreeMap<Uuid, Vec<Digest>> = BTreeMap::new();
        for link in &unused {
            by_repository.entry(link.repository).or_default().push(link.digest);
        }
        let statements = by_repository.iter().flat_map(|(id, digests)| collect::unlink(*id, digests, before));
        if !unused.is_empty() {
            commit(&self.registry, statements).await?;
        }
        Ok(unused.len())
    }

    /// Removes blobs, at most [`STEP`]; how many were looked at, and their bytes.
    async fn remove(&self, before: Millis) -> Result<(usize, u64), StepError> {
        let doomed = collect::doomed(&**self.registry.sql(), before, STEP).await?;
        let bytes = doomed.iter().map(|blob| blob.size).sum();
        if !doomed.is_empty() {
            let digests: Vec<Digest> = doomed.iter().map(|blob| blob.digest).collect();
            commit(&self.registry, collect::remove(&digests, before, self.registry.clock().now())).await?;
            tracing::info!(blobs = doomed.len(), bytes, "blobs that nothing names handed to the reaper");
        }
        Ok((doomed.len(), bytes))
    }
}

#[async_trait]
impl Worker for Collect {
    fn name(&self) -> &'static str {
        "collect"
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn step(&self) -> Result<Progress, StepError> {
        let Some(collected) = self.collect().await? else { return Ok(Progress::default()) };
        let Collected { manifests, links, blobs, bytes, more } = collected;
        let Waiting { count, oldest } = self.waiting().await?;
        // Hints that were only put right are work too: more may be behind them.
        let done = (manifests + links + blobs).max(u64::from(more));
        Ok(Progress { done, more, backlog: Some(count), bytes, oldest })
    }
}
