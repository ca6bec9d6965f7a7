//! Between runs, and in them now and then: what damage no longer needs goes to the reaper, and orphans after their grace.

use std::time::Duration;

use roadstead_metadata::base::OPERATION_KEPT;
use roadstead_metadata::records::damage::{self, Healed, Kind};
use roadstead_metadata::records::scrub::Hashing;
use roadstead_storage::Location;

use super::look::{Seen, confirm, look};
use super::turn::Turn;
use super::{PERIOD, Scrub};
use crate::StepError;

/// Rows of each kind looked at in one step.
const STEP: i64 = 100;

/// What this process remembers between the steps at one location; all of it may be lost.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// When a run last made way for what is done between runs.
    tidied: Option<Duration>,
    /// A copy in the place of a damaged one, read in part.
    settling: Option<Hashing>,
    /// When the last walk through what is missing went on.
    pub(super) walked: Option<Duration>,
    /// Whether it was told that orphans are kept because they are many.
    pub(super) told_of_orphans: bool,
    /// Where that walk is, while it is under way, and an object read in part.
    pub(super) walk: Option<(String, Option<Hashing>)>,
}

/// What the copy in the place of a damaged one looks like.
enum Replacement {
    Whole,
    Doubtful,
    /// Not yet read to its end.
    Partly,
}

impl Scrub {
    /// How many rows were settled, or looked at in full.
    pub(super) async fn tidy(&self, location: &Location) -> Result<u64, StepError> {
        let mut turn = Turn::begin(&**self.registry.clock(), Some((&self.pace, self.rate)));
        let settled = self.settle(location, &mut turn).await?;
        let back = self.take_back(location, &mut turn).await?;
        Ok(settled + back + self.forget(location).await? + self.reap_orphans(location).await?)
    }

    /// The same once a period while a run is under way, which what goes wrong here does not hold up.
    pub(super) async fn tidy_now_and_then(&self, location: &Location) {
        let now = self.registry.clock().monotonic();
        {
            let mut all = self.upkeep.lock();
            let last = all.entry(location.id).or_default().tidied.get_or_insert(now);
            if now.saturating_sub(*last) < PERIOD {
                return;
            }
            *last = now;
        }
        if let Err(error) = self.tidy(location).await {
            tracing::warn!(location = location.name, %error, "cannot clear away what damage no longer needs");
        }
    }

    /// Damaged objects whose blob has a whole copy here again, or is gone.
    async fn settle(&self, location: &Location, turn: &mut Turn<'_>) -> Result<u64, StepError> {
        let (mut after, mut settled) = (String::new(), 0);
        loop {
            let page = damage::healed(self.sql(), location.id, &after, STEP).await?;
            let Some(last) = page.last() else { return Ok(settled) };
            after = last.object_key.clone();
            let full = page.len() as i64 == STEP;
            let (mut keys, mut partly) = (Vec::new(), false);
            for healed in page {
                match self.judge_replacement(location, &healed, turn).await? {
                    Replacement::Whole => keys.push(healed.object_key),
                    Replacement::Doubtful => {}
                    Replacement::Partly => {
                        partly = true;
                        break;
                    }
                }
            }
            if !keys.is_empty() {
                confirm(location).await?;
                self.commit(damage::settle(location.id, &keys, self.registry.clock().now())).await?;
                settled += keys.len() as u64;
            }
            if !full || partly || turn.over() {
                return Ok(settled + u64::from(partly));
            }
        }
    }

    /// Whether nothing can be made of a damaged object any more: the copy in its place is whole to its last byte, or
    /// nobody wants one.
    async fn judge_replacement(
        &self,
        location: &Location,
        healed: &Healed,
        turn: &mut Turn<'_>,
    ) -> Result<Replacement, StepError> {
        let Some(copy) = &healed.by else { return Ok(Replacement::Whole) };
        // One look decides here, and another one before anything is made of what it found.
        let fresh = || Hashing { object_key: copy.object_key.clone(), again: true, state: Vec::new() };
        let begun = self.upkeep.lock().entry(location.id).or_default().settling.take();
        let begun = begun.filter(|begun| begun.object_key == copy.object_key).unwrap_or_else(fresh);
        match look(location, copy, true, Some(begun), turn).await? {
            Seen::Whole => Ok(Replacement::Whole),
            // Nothing is known: it is asked again the next time.
            Seen::Bad(Kind::Unreadable) => Ok(Replacement::Doubtful),
            Seen::Bad(_) | Seen::Gone(_) => {
                self.suspect(copy);
                Ok(Replacement::Doubtful)
            }
            Seen::Partly(hashing) => {
                self.upkeep.lock().entry(location.id).or_default().settling = Some(hashing);
                Ok(Replacement::Partly)
            }
        }
    }

    /// Orphans that turned out to be of a push, and those that were reaped so long ago that no push can name them.
    async fn forget(&self, location: &Location) -> Result<u64, StepError> {
        let (sql, id) = (self.sql(), location.id);
        let pushed = damage::pushed(sql, id, STEP).await?;
        let reaped = match self.believed_now() {
            Some(now) => damage::of_kind(sql, id, Kind::Reaped, now - OPERATION_KEPT, STEP).await?,
            None => Vec::new(),
        };
        if pushed.is_empty() && reaped.is_empty() {
            return Ok(0);
        }
        let statements = [damage::forget(id, &pushed, Kind::Orphan), damage::forget(id, &reaped, Kind::Reaped)];
        self.commit(statements).await?;
        Ok((pushed.len() + reaped.len()) as u64)
    }

    /// Orphans that nobody has named since they were seen, a grace ago, unless they are many.
    async fn reap_orphans(&self, location: &Location) -> Result<u64, StepError> {
        let Some(before) = self.orphaned_before() else { return Ok(0) };
        if damage::due(self.sql(), location.id, before, 1).await?.is_empty() {
            return Ok(0);
        }
        let Some(before) = self.let_go_before(location, before).await? else { return Ok(0) };
        let keys = damage::due(self.sql(), location.id, before, STEP).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        confirm(location).await?;
        let now = self.registry.clock().now();
        self.commit(damage::reap_orphans(location.id, &keys, before, now)).await?;
        tracing::info!(
            location = location.name,
            objects = keys.len(),
            "objects that nothing names handed to the reaper"
        );
        Ok(keys.len() as u64)
    }
}
