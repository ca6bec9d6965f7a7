//! Copies that a pull met damaged: looked at first, and in full.

use roadstead_metadata::records::placement::{self, Placement};
use roadstead_metadata::records::scrub::Hashing;
use roadstead_registry::Suspect;
use roadstead_storage::Location;

use super::look::{Seen, confirm, gone, look};
use super::placements::MISSING;
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
        let mut turn = Turn::begin(&**self.registry.clock(), Some((&self.pace, self.rate)));
        let mut work = Work::default();
        let (mut failed, mut missing) = (None, Vec::new());
        while failed.is_none() && !turn.over() && missing.len() <= MISSING {
            let begun = self.begun.lock().take();
            let fresh = || self.registry.suspects().take(1).pop().map(|suspect| Begun { suspect, hashing: None });
            let Some(begun) = begun.or_else(fresh) else { break };
            failed = self.judge(begun, &mut turn, &mut missing).await.err();
            work.done += u64::from(failed.is_none());
        }
        for location in self.registry.locations().iter() {
            let here: Vec<&Placement> = missing.iter().filter(|copy| copy.location == location.id).collect();
            if let Err(error) = self.look_for_missing(location, &here).await {
                here.iter().for_each(|copy| self.suspect(copy));
                work.done = work.done.saturating_sub(here.len() as u64);
                failed = failed.or(Some(error));
            }
        }
        work.bytes = turn.bytes;
        (work, failed)
    }

    /// Has a copy looked at with the next step.
    pub(super) fn suspect(&self, copy: &Placement) {
        let (location, object_key, digest) = (copy.location, copy.object_key.clone(), copy.digest);
        self.registry.suspects().note(Suspect { location, object_key, digest });
    }

    async fn judge(&self, begun: Begun, turn: &mut Turn<'_>, missing: &mut Vec<Placement>) -> Result<(), StepError> {
        let suspect = begun.suspect.clone();
        let Some(location) = self.registry.locations().by_id(suspect.location) else { return Ok(()) };
        let seen = async {
            let named = placement::here(self.sql(), suspect.location, &suspect.digest).await?;
            // A push may have put another copy in its place, and what is recorded needs no second record.
            let Some(copy) = named.filter(|copy| copy.object_key == suspect.object_key) else { return Ok(None) };
            // Before anything is read: as long as the store is not there, what is found does not count.
            confirm(location).await?;
            let seen = look(location, &copy, true, begun.hashing.clone(), turn).await?;
            if let Seen::Bad(kind) = seen {
                self.found(location, &copy, kind).await?;
            }
            Ok(Some((copy, seen)))
        };
        match seen.await {
            Ok(Some((copy, Seen::Whole))) => {
                tracing::warn!(digest = %copy.digest, key = copy.object_key, "a pull failed on a copy that is whole")
            }
            Ok(Some((copy, Seen::Gone(_)))) => missing.push(copy),
            Ok(Some((_, Seen::Partly(hashing)))) => {
                *self.begun.lock() = Some(Begun { suspect, hashing: Some(hashing) });
            }
            Ok(Some((_, Seen::Bad(_))) | None) => {}
            Err(error) => {
                *self.begun.lock() = Some(begun);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn look_for_missing(&self, location: &Location, missing: &[&Placement]) -> Result<(), StepError> {
        if missing.is_empty() {
            return Ok(());
        }
        let kinds = gone(location, missing, MISSING).await?;
        for (copy, kind) in missing.iter().copied().zip(kinds) {
            match kind {
                Some(kind) => drop(self.found(location, copy, kind).await?),
                // It is back, and has not been read yet.
                None => self.suspect(copy),
            }
        }
        Ok(())
    }
}
