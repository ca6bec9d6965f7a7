//! The brake: many orphans at once are no garbage but a sign that metadata is older than the store.
//!
//! Metadata restored from a backup knows nothing of what was pushed since, and takes the objects for nobody's. With them
//! the newer metadata could still be restored; without them it could not. So many orphans are reported and kept, until
//! somebody who knows better lets those go that were found by then.

use roadstead_metadata::Millis;
use roadstead_metadata::records::{damage, scrub, setting};
use roadstead_storage::Location;
use uuid::Uuid;

use super::Scrub;
use crate::{StepError, commit};

/// So many orphans go by themselves: what crashes leave.
const FEW: u64 = 100;
/// And one more for so many copies that the location should have.
const SHARE: u64 = 1000;

/// Orphans of a location that are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) orphans: u64,
    /// Those first seen until then were let go.
    pub(super) let_go: Option<Millis>,
}

/// Whether so many orphans beside so many placements are too many to be believed.
fn too_many(orphans: u64, placements: u64) -> bool {
    orphans > FEW && orphans.saturating_mul(SHARE) > placements
}

fn name(location: Uuid) -> String {
    format!("orphans let go at {location}")
}

impl Scrub {
    /// Lets the orphans go that are known now, at all locations: each when its grace is over. How many there are.
    pub async fn let_orphans_go(&self) -> Result<u64, StepError> {
        let (at, mut orphans, mut statements) = (self.registry.clock().now(), 0, Vec::new());
        for location in self.registry.locations().iter() {
            orphans += damage::orphans(self.sql(), location.id).await?;
            statements.push(setting::put(&name(location.id), &at.to_string(), at));
        }
        commit(&self.registry, statements).await?;
        tracing::info!(objects = orphans, "objects that nothing names were let go by an operator");
        Ok(orphans)
    }

    /// What keeps the orphans of a location, if they are too many.
    pub(super) async fn held(&self, location: &Location) -> Result<Option<Held>, StepError> {
        let orphans = damage::orphans(self.sql(), location.id).await?;
        if !too_many(orphans, 0) {
            return Ok(None);
        }
        let last = scrub::get(self.sql(), location.id).await?.and_then(|history| history.last);
        if !too_many(orphans, self.placements(location, last.map(|run| run.run)).await?) {
            return Ok(None);
        }
        let let_go = setting::get(self.sql(), &name(location.id)).await?.and_then(|at| at.parse().ok());
        Ok(Some(Held { orphans, let_go }))
    }

    /// Until when an orphan must have been first seen to go, of those that are older than `before`; `None` when all are kept.
    pub(super) async fn let_go_before(&self, location: &Location, before: Millis) -> Result<Option<Millis>, StepError> {
        let Some(held) = self.held(location).await? else {
            self.told_of(location, false);
            return Ok(Some(before));
        };
        if held.let_go.is_none() && self.told_of(location, true) {
            tracing::warn!(
                location = location.name,
                objects = held.orphans,
                "so many objects that nothing names are kept, as metadata may be older than the store: if a backup was \
                 restored, restore a newer one; if they are really nobody's, run `roadstead scrub --reap-orphans`"
            );
        }
        Ok(held.let_go.map(|let_go| let_go.min(before)))
    }

    /// Whether this is to be told, once for each time that it begins.
    fn told_of(&self, location: &Location, held: bool) -> bool {
        let mut all = self.upkeep.lock();
        let told = &mut all.entry(location.id).or_default().told_of_orphans;
        let news = held && !*told;
        *told = held;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_garbage_and_many_are_a_sign() {
        let (believed, too_many): (Vec<_>, Vec<_>) =
            [(100, 0), (101, 0), (101, 100_999), (101, 101_000), (5000, 1_000_000), (1000, 1_000_000)]
                .into_iter()
                .partition(|(orphans, placements)| !too_many(*orphans, *placements));
        assert_eq!(believed, [(100, 0), (101, 101_000), (1000, 1_000_000)]);
        assert_eq!(too_many, [(101, 0), (101, 100_999), (5000, 1_000_000)]);
    }
}
