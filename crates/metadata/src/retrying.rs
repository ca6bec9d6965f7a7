//! Commits whose outcome came back unknown, carried to a known one.
//!
//! A batch is retried under its own operation id, so it happens once. An answer to a retry speaks for that attempt
//! only: the first may still be on its way (in a leader that was frozen, in a socket), so after an unknown attempt
//! *unavailable* is still unknown, and a *conflict* is final only once an empty batch took the operation id, after
//! which the first attempt can do no more.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::{Batch, CommitError, Committed, Sql};

/// Nothing is retried for longer: operation ids are forgotten after 24 h, and this leaves room for clocks that differ.
pub const RETRIED_FOR: Duration = Duration::from_secs(60 * 60);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Commits `batch`, retrying an unknown outcome for `within` (at most [`RETRIED_FOR`], on the monotonic clock).
///
/// Any other answer of a first attempt comes back at once: it is known that nothing happened, and whether to try
/// again is the caller's to decide. [`CommitError::Unknown`] comes back when the time is over.
pub async fn commit_once(sql: &dyn Sql, batch: Batch, within: Duration) -> Result<Committed, CommitError> {
    let deadline = Instant::now() + within.min(RETRIED_FOR);
    let mut doubtful = match attempt(sql, batch.clone(), deadline).await {
        Err(CommitError::Unknown(reason)) => reason,
        known => return known,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        if Instant::now() + pause >= deadline {
            return Err(CommitError::Unknown(doubtful));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match attempt(sql, batch.clone(), deadline).await {
            Ok(committed) => return Ok(committed),
            Err(CommitError::Unknown(reason) | CommitError::Unavailable(reason)) => doubtful = reason,
            Err(refused) => match attempt(sql, Batch::new(batch.operation, batch.at), deadline).await {
                Ok(Committed { replayed: false }) => return Err(refused),
                Ok(replayed) => return Ok(replayed),
                Err(error) => doubtful = error.to_string(),
            },
        }
    }
}

async fn attempt(sql: &dyn Sql, batch: Batch, deadline: Instant) -> Result<Committed, CommitError> {
    timeout_at(deadline, sql.commit(batch))
        .await
        .unwrap_or_else(|_| Err(CommitError::Unknown("no answer within the time allowed".into())))
}

#[cfg(test)]
#[path = "retrying_tests.rs"]
mod tests;
