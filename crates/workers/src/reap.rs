//! The reaper: deletes objects that metadata has let go, however long their location is away.
//!
//! A row of `reap` is written by the commit that removes the last name of an object, and object keys are never used
//! again, so the delete can come at any later time and any number of times. First the object goes, then the row.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::records::reap::{self, Reap};
use roadstead_metadata::{Millis, Statement};
use roadstead_registry::Registry;
use roadstead_storage::{Error, Location, ObjectKey};

use crate::{Progress, StepError, Worker, commit, millis};

/// How often objects that are due are looked for, unless told otherwise.
const PERIOD: Duration = Duration::from_secs(60);
/// Objects of one location deleted in one step.
const STEP: i64 = 50;
/// The pause after an object's first failed attempt; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Deletes objects that nothing names any more.
#[derive(Debug)]
pub struct Reaper {
    registry: Arc<Registry>,
    period: Duration,
}

impl Reaper {
    /// Works on the locations that `registry` is configured with. Rows of other locations wait for an instance that
    /// reaches them.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, period: PERIOD }
    }

    /// Looks every `period`, if that is more often than every minute.
    pub fn with_period(self, period: Duration) -> Self {
        Self { period: period.min(PERIOD), ..self }
    }

    /// Deletes what is due at one location; how many objects, and what stopped it.
    async fn clear(&self, location: &Location, now: Millis) -> Result<(u64, Option<Error>), StepError> {
        let due = reap::due(&**self.registry.sql(), location.id, now, STEP).await?;
        let mut statements = Vec::with_capacity(due.len());
        let mut done = 0;
        let mut trouble = None;
        for object in due {
            match delete(location, &object).await {
                Ok(()) => {
                    statements.push(reap::done(location.id, &object.object_key));
                    done += 1;
                }
                Err(error) => {
                    statements.push(later(location, &object, now));
                    // A store that is away answers the others no better, and each may take its time to say so.
                    let away = error.retryable();
                    trouble = Some(error);
                    if away {
                        break;
                    }
                }
            }
        }
        if !statements.is_empty() {
            commit(&self.registry, statements).await?;
        }
        Ok((done, trouble))
    }
}

#[async_trait]
impl Worker for Reaper {
    fn name(&self) -> &'static str {
        "reap"
    }

    fn period(&self) -> Duration {
        self.period
    }

    /// Fails only when no location made progress, so that one that is away does not slow down the others.
    async fn step(&self) -> Result<Progress, StepError> {
        let now = self.registry.clock().now();
        let mut done = 0;
        let mut failed = None;
        for location in self.registry.locations().iter() {
            let (deleted, trouble) = self.clear(location, now).await?;
            done += deleted;
            failed = failed.or(trouble.map(|source| StepError::Storage { location: location.name.clone(), source }));
        }
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => {
                let backlog = Some(reap::count(&**self.registry.sql()).await?);
                Ok(Progress { done, more: true, backlog, ..Progress::default() })
            }
        }
    }
}

async fn delete(location: &Location, object: &Reap) -> Result<(), Error> {
    location.engine.delete(&ObjectKey::new(object.object_key.as_str())?).await
}

fn later(location: &Location, object: &Reap, now: Millis) -> Statement {
    let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(object.attempts)).min(LONGEST_PAUSE);
    reap::later(location.id, &object.object_key, now + millis(pause))
}
