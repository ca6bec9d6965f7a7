//! Missing objects that are there again, without a run: a part of a store that was away, a file put back.

use roadstead_metadata::Millis;
use roadstead_metadata::records::damage::{self, Kind};
use roadstead_metadata::records::scrub::Hashing;
use roadstead_storage::Location;

use super::Scrub;
use super::look::{Seen, look, stat};
use super::turn::Turn;
use crate::StepError;

/// Objects asked for at once.
const PAGE: i64 = 100;

impl Scrub {
    /// Goes on with a walk through what is recorded as missing or cut short, and takes again what reads well; at most
    /// one walk begins in a period. How many were looked at in full.
    pub(super) async fn take_back(&self, location: &Location, turn: &mut Turn<'_>) -> Result<u64, StepError> {
        let Some((mut after, mut begun)) = self.walk_of(location) else { return Ok(0) };
        let mut done = 0;
        loop {
            let page = damage::unhealed(self.sql(), location.id, &after, Millis::MIN, PAGE).await?;
            let last = (page.len() as i64) < PAGE;
            for unhealed in page {
                let object = &unhealed.object;
                let gone = matches!(unhealed.kind, Kind::Missing | Kind::WrongSize);
                // One question for most of them, and what cannot be told is as good as gone.
                if gone && matches!(stat(location, object).await, Ok(Ok(_))) {
                    done += 1;
                    let known = || Hashing { object_key: object.object_key.clone(), again: true, state: Vec::new() };
                    match look(location, object, true, Some(begun.take().unwrap_or_else(known)), turn).await? {
                        Seen::Whole => drop(self.adopt(location, &unhealed).await?),
                        Seen::Bad(kind) | Seen::Gone(kind) => self.still_bad(&unhealed, kind).await?,
                        Seen::Partly(hashing) => {
                            self.upkeep.lock().entry(location.id).or_default().walk = Some((after, Some(hashing)));
                            return Ok(done);
                        }
                    }
                }
                after = unhealed.object.object_key;
            }
            if last || turn.over() {
                let walk = (!last).then_some((after, None));
                self.upkeep.lock().entry(location.id).or_default().walk = walk;
                return Ok(done);
            }
        }
    }

    /// Where a walk goes on, or its beginning when it is time for one. The first waits for a period too.
    fn walk_of(&self, location: &Location) -> Option<(String, Option<Hashing>)> {
        let now = self.registry.clock().monotonic();
        let mut all = self.upkeep.lock();
        let upkeep = all.entry(location.id).or_default();
        let due = upkeep.walked.is_some_and(|walked| now.saturating_sub(walked) >= super::PERIOD);
        if upkeep.walk.is_none() && due {
            upkeep.walk = Some(Default::default());
        }
        if upkeep.walk.is_some() || upkeep.walked.is_none() {
            upkeep.walked = Some(now);
        }
        upkeep.walk.clone()
    }
}
