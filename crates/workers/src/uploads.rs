//! Upload sessions that nobody will continue, and the bytes they staged.
//!
//! Metadata before bytes: first the rows go, then the staged objects that no row names. An object belongs to the
//! session in its key, and a session id says when it began; one that began longer ago than sessions live and has no
//! row can never be continued. So the sweep also finds what a crash left between row and bytes, and what an upload
//! staged that was never acknowledged. Objects whose key names no session are not ours and stay.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::Millis;
use roadstead_metadata::records::upload;
use roadstead_registry::{Registry, SESSION_LIFE, staged_session, staging_prefix};
use roadstead_storage::{Listed, Location, ObjectKey};
use uuid::Uuid;

use crate::{Progress, StepError, Worker, commit, millis};

/// How often expired sessions are looked for, unless configured.
const PERIOD: Duration = Duration::from_secs(10 * 60);
/// Rows forgotten in one step.
const ROWS: i64 = 100;
/// Staged objects looked at together.
const PAGE: usize = 1000;
/// Staged objects deleted in one step.
const OBJECTS: usize = 100;

/// Purges upload sessions that ended or were abandoned, with their staged objects.
#[derive(Debug)]
pub struct PurgeUploads {
    registry: Arc<Registry>,
    expiry: Duration,
    period: Duration,
}

impl PurgeUploads {
    /// Purges sessions of `registry` that received nothing for `expiry`. A session's token without a row is good for
    /// [`SESSION_LIFE`], so no session goes before twice that.
    pub fn new(registry: Arc<Registry>, expiry: Duration) -> Self {
        Self { registry, expiry: expiry.max(2 * SESSION_LIFE), period: PERIOD }
    }

    /// Looks for them every `period` in place of every ten minutes.
    pub fn with_period(self, period: Duration) -> Self {
        Self { period, ..self }
    }

    /// Forgets rows, at most [`ROWS`]; how many.
    async fn forget(&self, now: Millis) -> Result<usize, StepError> {
        let sql = &**self.registry.sql();
        let mut over = upload::closed(sql, now - millis(2 * SESSION_LIFE), ROWS).await?;
        if over.is_empty() {
            over = upload::abandoned(sql, now - millis(self.expiry), ROWS).await?;
        }
        if !over.is_empty() {
            commit(&self.registry, over.iter().map(upload::forget)).await?;
        }
        Ok(over.len())
    }

    /// Deletes staged objects of one location that no row names, at most [`OBJECTS`]; how many.
    async fn sweep(&self, location: &Location, now: Millis) -> Result<usize, StepError> {
        let failed = |source| StepError::Storage { location: location.name.clone(), source };
        let began_before = now - millis(self.expiry);
        let mut after = None;
        loop {
            let page = location.engine.list(staging_prefix(), after.as_ref(), PAGE).await.map_err(failed)?;
            let (old, reached_young) = old_sessions(&page, began_before);
            let strays = self.strays(old).await?;
            if !strays.is_empty() {
                for key in &strays {
                    location.engine.delete(key).await.map_err(failed)?;
                }
                tracing::info!(
                    location = location.name,
                    objects = strays.len(),
                    "staged objects of no session deleted"
                );
                return Ok(strays.len());
            }
            match page.into_iter().next_back() {
                Some(last) if !reached_young => after = Some(last.key),
                _ => return Ok(0),
            }
        }
    }

    /// Which of these objects belong to sessions without a row.
    async fn strays(&self, old: Vec<(Uuid, ObjectKey)>) -> Result<Vec<ObjectKey>, StepError> {
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let sessions: HashSet<Uuid> = old.iter().map(|(session, _)| *session).collect();
        let known = upload::known(&**self.registry.sql(), sessions).await?;
        let strays = old.into_iter().filter(|(session, _)| !known.contains(session)).map(|(_, key)| key);
        Ok(strays.take(OBJECTS).collect())
    }
}

#[async_trait]
impl Worker for PurgeUploads {
    fn name(&self) -> &'static str {
        "purge_uploads"
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn step(&self) -> Result<Progress, StepError> {
        let now = self.registry.clock().now();
        let mut done = self.forget(now).await?;
        if done == 0 {
            for location in self.registry.locations().iter() {
                done += self.sweep(location, now).await?;
            }
        }
        Ok(Progress { done: done as u64, more: true, backlog: None })
    }
}

/// The objects of sessions that began before a time, and whether the page reaches one that did not: session ids sort
/// by time, so none after it is old.
fn old_sessions(page: &[Listed], before: Millis) -> (Vec<(Uuid, ObjectKey)>, bool) {
    let mut old = Vec::new();
    for listed in page {
        let Some(session) = staged_session(&listed.key) else { continue };
        match began(session) {
            Some(at) if at >= before => return (old, true),
            Some(_) => old.push((session, listed.key.clone())),
            None => {}
        }
    }
    (old, false)
}

/// When a session began; `None` for an id that is no UUIDv7.
fn began(session: Uuid) -> Option<Millis> {
    let (seconds, nanoseconds) = session.get_timestamp()?.to_unix();
    Millis::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(Millis::from(nanoseconds / 1_000_000))
}
