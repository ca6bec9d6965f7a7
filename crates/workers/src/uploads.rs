//! Upload sessions that nobody will continue, and the bytes they staged.
//!
//! Metadata before bytes: first the rows go, then the staged objects that no row names. An object belongs to the
//! session in its key, and a session id says when it began; one that began longer ago than sessions live and has no
//! row can never be continued. So the sweep also finds what a crash left between row and bytes, and what an upload
//! staged that was never acknowledged; of a session with a row, an old object that the row does not name goes too.
//! Objects whose key names no session are not ours and stay.
//!
//! Nothing goes while a request here writes to the session, nor before the clock has been seen to go steadily
//! ([`Steady`]).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::Millis;
use roadstead_metadata::records::upload;
use roadstead_registry::{Registry, SESSION_LIFE, staged_at, staged_session, staging_prefix};
use roadstead_storage::{Error, Listed, Location, ObjectKey};
use uuid::Uuid;

use crate::steady::Steady;
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
    steady: Steady,
}

impl PurgeUploads {
    /// Purges sessions of `registry` that received nothing for `expiry`. A session's token without a row is good for
    /// [`SESSION_LIFE`], so no session goes before twice that.
    pub fn new(registry: Arc<Registry>, expiry: Duration) -> Self {
        Self { registry, expiry: expiry.max(2 * SESSION_LIFE), period: PERIOD, steady: Steady::default() }
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
        over.retain(|row| !self.registry.is_uploading(row.id));
        if !over.is_empty() {
            commit(&self.registry, over.iter().map(upload::forget)).await?;
        }
        Ok(over.len())
    }

    /// Deletes staged objects of one location that no row names, at most [`OBJECTS`]; how many, and the first that
    /// could not be deleted. It does not hold up the others, unless the whole store is away.
    async fn sweep(&self, location: &Location, now: Millis) -> Result<(usize, Option<Error>), StepError> {
        let before = now - millis(self.expiry);
        let (mut done, mut failed, mut after) = (0, None, None);
        loop {
            let page = match location.engine.list(staging_prefix(), after.as_ref(), PAGE).await {
                Ok(page) => page,
                Err(error) => return Ok((done, Some(error))),
            };
            let (old, reached_young) = old_sessions(&page, before);
            for key in self.strays(old, before).await? {
                match location.engine.delete(&key).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        let away = error.retryable();
                        failed.get_or_insert(error);
                        if away {
                            return Ok((done, failed));
                        }
                    }
                }
                if done == OBJECTS {
                    return Ok((done, failed));
                }
            }
            match page.into_iter().next_back() {
                Some(last) if !reached_young => after = Some(last.key),
                _ => return Ok((done, failed)),
            }
        }
    }

    /// Which of these objects no row names: of a session that has none, or left behind by a failed request.
    async fn strays(&self, mut old: Vec<(Uuid, ObjectKey)>, before: Millis) -> Result<Vec<ObjectKey>, StepError> {
        old.retain(|(session, _)| !self.registry.is_uploading(*session));
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let sessions: HashSet<Uuid> = old.iter().map(|(session, _)| *session).collect();
        let named = upload::named(&**self.registry.sql(), sessions).await?;
        old.retain(|(session, key)| match (named.get(session), staged_at(key)) {
            (None, begun) => begun.is_none_or(|at| at < before),
            (Some(keys), begun) => !keys.contains(key.as_str()) && begun.is_some_and(|at| at < before),
        });
        Ok(old.into_iter().map(|(_, key)| key).collect())
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

    /// Fails only when nothing was done, so that what cannot be deleted does not slow down the rest.
    async fn step(&self) -> Result<Progress, StepError> {
        let Some(now) = self.steady.now(&**self.registry.clock(), self.period) else {
            return Ok(Progress { done: 0, more: false, ..Progress::default() });
        };
        let mut done = self.forget(now).await?;
        let mut failed = None;
        if done == 0 {
            for location in self.registry.locations().iter() {
                let (deleted, trouble) = self.sweep(location, now).await?;
                if deleted > 0 {
                    tracing::info!(location = location.name, objects = deleted, "staged objects of no session deleted");
                }
                done += deleted;
                let trouble = trouble.map(|source| StepError::Storage { location: location.name.clone(), source });
                failed = failed.or(trouble);
            }
        }
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => Ok(Progress { done: done as u64, more: true, ..Progress::default() }),
        }
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
