//! Access tokens that were revoked or have expired are forgotten after 30 days, in which lists still show what became of
//! them; refresh tokens and retired signing keys a day after they were good for anything.
//!
//! Each is refused by then whether or not it is known, so that nothing changes for whoever comes with one. A clock that
//! jumped would end what is good: nothing goes before it has been seen to go steadily ([`Steady`]), nor while it differs
//! from those of the other processes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::records::{access_token, refresh_token, signing_key};
use roadstead_registry::Registry;

use crate::steady::Steady;
use crate::{Lease, Progress, StepError, Worker, commit, millis};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long access tokens are shown after their end.
const SHOWN: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often it is looked for those that ended.
const PERIOD: Duration = Duration::from_secs(3600);
/// Rows forgotten in one step, of each kind.
const STEP: i64 = 500;

/// Forgets what one could log in with long ago.
#[derive(Debug)]
pub struct PurgeCredentials {
    registry: Arc<Registry>,
    steady: Steady,
    /// Among several processes, that to do it for all.
    lease: Option<Lease>,
}

impl PurgeCredentials {
    /// Works on the metadata of `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, steady: Steady::default(), lease: None }
    }

    /// Of several processes, forgets nothing while its clock differs from theirs.
    pub fn with_lease(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }
}

#[async_trait]
impl Worker for PurgeCredentials {
    fn name(&self) -> &'static str {
        "purge_credentials"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn step(&self) -> Result<Progress, StepError> {
        let steady = self.steady.now(&**self.registry.clock(), PERIOD);
        let Some(now) = steady.filter(|_| self.lease.as_ref().is_none_or(Lease::clock_agrees)) else {
            return Ok(Progress::default());
        };
        // Asked first: an installation at rest must not write to its log every hour.
        let sql = &**self.registry.sql();
        // Before those go by which they are judged.
        let lingering = access_token::lingering(sql, STEP).await?;
        if !lingering.is_empty() {
            let done = lingering.len();
            commit(&self.registry, access_token::end(lingering, now)).await?;
            tracing::info!(done, "tokens are marked as ended with those they were made with");
            return Ok(Progress { done: done as u64, more: true, ..Progress::default() });
        }
        let over = now - millis(DAY);
        let ended = access_token::ended(sql, now - millis(SHOWN), STEP).await?;
        let expired = refresh_token::expired(sql, over, STEP).await?;
        let retired = signing_key::retired(sql, over).await?;
        let done = ended.len() + expired + retired;
        if done == 0 {
            return Ok(Progress::IDLE);
        }
        let tokens = if ended.is_empty() { Vec::new() } else { access_token::forget(&ended).into() };
        let others = [refresh_token::purge(over, STEP), signing_key::forget(over)];
        commit(&self.registry, tokens.into_iter().chain(others)).await?;
        tracing::info!(done, expired, retired, "tokens and keys that ended long ago are forgotten");
        Ok(Progress { done: done as u64, more: true, ..Progress::default() })
    }
}
