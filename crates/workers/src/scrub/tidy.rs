//! Between runs: what damage no longer needs goes to the reaper, and orphans after their grace.

use roadstead_metadata::base::OPERATION_KEPT;
use roadstead_metadata::records::damage::{self, Healed, Kind};
use roadstead_registry::Suspect;
use roadstead_registry::digest_in;
use roadstead_storage::{Location, ObjectKey};

use super::Scrub;
use super::look::confirm;
use crate::{StepError, commit};

/// Rows of each kind looked at in one step.
const STEP: i64 = 100;

impl Scrub {
    /// How many rows were settled.
    pub(super) async fn tidy(&self, location: &Location) -> Result<u64, StepError> {
        Ok(self.settle(location).await? + self.forget(location).await? + self.reap_orphans(location).await?)
    }

    /// Damaged objects whose blob has a whole copy here again, or is gone.
    async fn settle(&self, location: &Location) -> Result<u64, StepError> {
        let (mut after, mut settled) = (String::new(), 0);
        loop {
            let page = damage::healed(self.sql(), location.id, &after, STEP).await?;
            let Some(last) = page.last() else { return Ok(settled) };
            after = last.object_key.clone();
            let full = page.len() as i64 == STEP;
            let mut keys = Vec::new();
            for healed in page {
                if self.is_needless(location, &healed).await? {
                    keys.push(healed.object_key);
                }
            }
            if !keys.is_empty() {
                confirm(location).await?;
                commit(&self.registry, damage::settle(location.id, &keys, self.registry.clock().now())).await?;
                settled += keys.len() as u64;
            }
            if !full {
                return Ok(settled);
            }
        }
    }

    /// Whether nothing can be made of a damaged object any more: the copy in its place is there, or nobody wants one.
    async fn is_needless(&self, location: &Location, healed: &Healed) -> Result<bool, StepError> {
        let Some((key, size)) = &healed.by else { return Ok(true) };
        let wrong = |source| StepError::Storage { location: location.name.clone(), source };
        let whole = match location.engine.stat(&ObjectKey::new(key.as_str()).map_err(wrong)?).await {
            Ok(found) => found.size == *size,
            Err(_) => false,
        };
        if let (false, Some(digest)) = (whole, digest_in(key)) {
            self.registry.suspects().note(Suspect { location: location.id, object_key: key.clone(), digest });
        }
        Ok(whole)
    }

    /// Orphans that turned out to be of a push, and those that were reaped so long ago that no push can name them.
    async fn forget(&self, location: &Location) -> Result<u64, StepError> {
        let (sql, id) = (self.sql(), location.id);
        let pushed = damage::pushed(sql, id, STEP).await?;
        let before = self.registry.clock().now() - OPERATION_KEPT;
        let reaped = damage::of_kind(sql, id, Kind::Reaped, before, STEP).await?;
        if pushed.is_empty() && reaped.is_empty() {
            return Ok(0);
        }
        let statements = [damage::forget(id, &pushed, Kind::Orphan), damage::forget(id, &reaped, Kind::Reaped)];
        commit(&self.registry, statements).await?;
        Ok((pushed.len() + reaped.len()) as u64)
    }

    /// Orphans that nobody has named since they were seen, a grace ago.
    async fn reap_orphans(&self, location: &Location) -> Result<u64, StepError> {
        let Some(before) = self.orphaned_before() else { return Ok(0) };
        let keys = damage::due(self.sql(), location.id, before, STEP).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        confirm(location).await?;
        let now = self.registry.clock().now();
        commit(&self.registry, damage::reap_orphans(location.id, &keys, before, now)).await?;
        tracing::info!(
            location = location.name,
            objects = keys.len(),
            "objects that nothing names handed to the reaper"
        );
        Ok(keys.len() as u64)
    }
}
