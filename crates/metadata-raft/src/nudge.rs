//! Nudges: entries that change nothing, until hiqlite makes a snapshot.
//!
//! hiqlite has no way to ask for a snapshot; it makes one when so many entries came since the last. When the log is
//! [past its bound](crate::growth) before that, the entries that are missing are written here, a few at a time, so
//! that a commit in between waits for those few at most. They run on the table of commits, match no row, and leave the
//! pages of the database as they are; of the log each takes some hundred bytes.
//!
//! One nudge at a time. None where a snapshot might find no room, or another member leads. One that fails is given up,
//! and tried again later: nothing depends on it but the memory of the next start.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hiqlite::{Client, Params};
use roadstead_metadata::Status;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::disk::Reserve;
use crate::growth::Growth;
use crate::tables::NOTHING;
use crate::watchdog::Health;

/// Entries under way at a time.
const AT_ONCE: u64 = 4;
/// How often it is looked whether the snapshot is made.
const LOOK: Duration = Duration::from_millis(10);
/// Between a nudge that failed and the next.
const LATER: Duration = Duration::from_secs(10);
/// Without a snapshot once it is due. One of 3 GB takes a minute where disks are slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where the log stands. Numbers are those of the entry that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) snapshot: u64,
    pub(crate) end: u64,
}

impl Place {
    /// How many entries are missing until there is a snapshot after `entries` of them.
    fn missing(self, entries: u64) -> u64 {
        (self.snapshot + entries).saturating_sub(self.end)
    }
}

/// What is nudged.
#[async_trait]
pub(crate) trait Log: Send + Sync + 'static {
    async fn place(&self) -> Result<Place, String>;

    /// Why there should be no snapshot now, if so.
    fn ready(&self) -> Result<(), String>;

    /// Appends an entry that changes nothing.
    async fn append_nothing(&self) -> Result<(), String>;
}

/// Nudges whenever the log is past its bound, until it is aborted.
pub(crate) async fn run(log: Arc<impl Log>, growth: Arc<Growth>, entries: u64) {
    loop {
        growth.until_past().await;
        let begun = Instant::now();
        match nudge(&log, &growth, entries).await {
            Ok(appended) => tracing::debug!(appended, seconds = begun.elapsed().as_secs_f32(), "metadata log nudged"),
            Err(reason) => {
                tracing::debug!(reason, "the metadata log is large, and no snapshot of it can be made now");
                tokio::time::sleep(LATER).await;
            }
        }
    }
}

/// Brings the log to its next snapshot; answers how many entries that took.
async fn nudge(log: &Arc<impl Log>, growth: &Growth, entries: u64) -> Result<u64, String> {
    let _nudging = growth.nudging();
    let mut appended = 0;
    let mut due = None;
    loop {
        let place = log.place().await?;
        if growth.saw(place.snapshot) {
            return Ok(appended);
        }
        log.ready()?;
        let round = place.missing(entries).min(AT_ONCE);
        if round > 0 {
            append(log, round).await?;
            appended += round;
        } else if due.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err(format!("none was made within {} s", PATIENCE.as_secs()));
        } else {
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn append(log: &Arc<impl Log>, count: u64) -> Result<(), String> {
    let mut under_way = JoinSet::new();
    for _ in 0..count {
        let log = Arc::clone(log);
        under_way.spawn(async move { log.append_nothing().await });
    }
    while let Some(appended) = under_way.join_next().await {
        appended.map_err(|e| e.to_string())??;
    }
    Ok(())
}

/// hiqlite's log, and what a snapshot of it depends on.
pub(crate) struct Nudged {
    pub(crate) client: Client,
    pub(crate) health: Arc<Health>,
    pub(crate) reserve: Arc<Reserve>,
}

#[async_trait]
impl Log for Nudged {
    async fn place(&self) -> Result<Place, String> {
        place(&self.client).await
    }

    fn ready(&self) -> Result<(), String> {
        match self.health.status() {
            Status::Writable if !self.health.has_diverged() => self.reserve.short().map_or(Ok(()), Err),
            Status::Writable => Err("the database is behind its log".to_owned()),
            Status::ReadOnly(why) | Status::Down(why) => Err(why),
        }
    }

    async fn append_nothing(&self) -> Result<(), String> {
        self.client.execute(NOTHING, Params::new()).await.map(drop).map_err(|e| e.to_string())
    }
}

/// Where hiqlite's log stands. From memory.
pub(crate) async fn place(client: &Client) -> Result<Place, String> {
    let metrics = client.metrics_db().await.map_err(|e| e.to_string())?;
    let after = |last: Option<u64>| last.map_or(0, |last| last + 1);
    Ok(Place { snapshot: after(metrics.snapshot.map(|id| id.index)), end: after(metrics.last_log_index) })
}

#[cfg(test)]
#[path = "nudge_tests.rs"]
mod tests;
