//! From metadata to the store: whether the object of each placement is there and whole.

use roadstead_metadata::records::damage::{self, Kind};
use roadstead_metadata::records::placement::{self, Placement};
use roadstead_metadata::records::scrub::{Phase, Run};
use roadstead_storage::{Error, ErrorKind, Location};

use super::Scrub;
use super::look::{Seen, look};
use super::turn::Turn;
use crate::StepError;

/// Placements asked for at once.
const PAGE: i64 = 500;
/// So many objects in one step that cannot be read are a store that is away.
const UNREADABLE: u64 = 10;

impl Scrub {
    pub(super) async fn look_at_placements(
        &self,
        location: &Location,
        run: &mut Run,
        turn: &mut Turn<'_>,
    ) -> Result<(), StepError> {
        let page = placement::page(self.sql(), location.id, &run.after, PAGE).await?;
        let (last, before) = ((page.len() as i64) < PAGE, run.counts);
        for copy in page {
            if turn.over() && run.counts.objects > before.objects {
                return Ok(());
            }
            match look(location, &copy, run.deep, run.hashing.take(), turn).await? {
                Seen::Whole => {}
                Seen::Partly(hashing) => {
                    run.hashing = Some(hashing);
                    return Ok(());
                }
                Seen::Bad(kind) if self.found(location, &copy, kind).await? => {
                    count(run, kind);
                    if run.counts.unreadable - before.unreadable > UNREADABLE {
                        let text = format!("more than {UNREADABLE} objects in a row cannot be read");
                        let source = Error::new(ErrorKind::Unavailable, text);
                        return Err(StepError::Storage { location: location.name.clone(), source });
                    }
                }
                Seen::Bad(_) => {}
            }
            run.counts.objects += 1;
            run.after = copy.object_key;
        }
        if last {
            (run.phase, run.after) = (Phase::Objects, String::new());
        }
        Ok(())
    }

    /// Records a bad object and removes its placement; `false` when the placement names another object by now.
    pub(super) async fn found(&self, location: &Location, bad: &Placement, kind: Kind) -> Result<bool, StepError> {
        let at = self.registry.clock().now();
        let recorded = match kind {
            // Nothing is known about the bytes, and the store may find its way to them again.
            Kind::Unreadable => self.try_commit([damage::record(bad, kind, at)]).await?,
            _ => self.try_commit(damage::quarantine(bad, kind, at)).await?,
        };
        if recorded {
            let (digest, key) = (bad.digest, &bad.object_key);
            tracing::error!(location = location.name, %digest, key, kind = kind.as_str(), "damaged object");
        }
        Ok(recorded)
    }
}

fn count(run: &mut Run, kind: Kind) {
    let counts = &mut run.counts;
    match kind {
        Kind::Missing => counts.missing += 1,
        Kind::WrongSize => counts.wrong_size += 1,
        Kind::WrongHash => counts.wrong_hash += 1,
        Kind::Unreadable => counts.unreadable += 1,
        Kind::Orphan | Kind::Reaped => {}
    }
}
