//! Copies that a pull met damaged: looked at first, in full, and as fast as the store reads.

use roadstead_metadata::records::placement;
use roadstead_metadata::records::scrub::Hashing;
use roadstead_registry::Suspect;

use super::look::{Seen, look};
use super::turn::Turn;
use super::{Scrub, Work};
use crate::StepError;

/// A suspect that was read in part. In memory only, as suspects are.
#[derive(Debug)]
pub(super) struct Begun {
    suspect: Suspect,
    hashing: Option<Hashing>,
}

impl Scrub {
    /// Looks at suspects until the step is over; what was done, and what stopped it.
    pub(super) async fn look_at_suspects(&self) -> (Work, Option<StepError>) {
        let mut turn = Turn::begin(&**self.registry.clock(), None);
        let mut work = Work::default();
        let mut failed = None;
        while failed.is_none() && !turn.over() {
            let begun = self.begun.lock().take();
            let fresh = || self.registry.suspects().take(1).pop().map(|suspect| Begun { suspect, hashing: None });
            let Some(begun) = begun.or_else(fresh) else { break };
            failed = self.judge(begun, &mut turn).await.err();
            work.done += u64::from(failed.is_none());
        }
        work.bytes = turn.bytes;
        (work, failed)
    }

    async fn judge(&self, begun: Begun, turn: &mut Turn<'_>) -> Result<(), StepError> {
        let Begun { suspect, hashing } = begun;
        let Some(location) = self.registry.locations().by_id(suspect.location) else { return Ok(()) };
        let named = placement::here(self.sql(), suspect.location, &suspect.digest).await?;
        // A push may have put another copy in its place, and what is recorded needs no second record.
        let Some(copy) = named.filter(|copy| copy.object_key == suspect.object_key) else { return Ok(()) };
        match look(location, &copy, true, hashing, turn).await {
            Ok(Seen::Whole) => {
                tracing::warn!(digest = %copy.digest, key = copy.object_key, "a pull failed on a copy that is whole")
            }
            Ok(Seen::Bad(kind)) => drop(self.found(location, &copy, kind).await?),
            Ok(Seen::Partly(hashing)) => *self.begun.lock() = Some(Begun { suspect, hashing: Some(hashing) }),
            Err(error) => {
                self.registry.suspects().note(suspect);
                return Err(error);
            }
        }
        Ok(())
    }
}
