//! From metadata to the store: whether the object of each placement is there and whole.

use roadstead_metadata::records::damage::{self, Kind};
use roadstead_metadata::records::placement::{self, Placement};
use roadstead_metadata::records::scrub::{Phase, Run};
use roadstead_storage::{Error, ErrorKind, Location};

use super::Scrub;
use super::look::{Seen, gone, look};
use super::turn::Turn;
use crate::StepError;

/// Placements asked for at once.
const PAGE: i64 = 500;
/// So many objects in a row that cannot be read are a store that is away.
const UNREADABLE: u64 = 10;
/// So many objects that are missing at once are one too, unless somebody asked for the run and so stands by.
pub(super) const MISSING: usize = 10;
/// Missing objects that one step records at most.
const RECORDED: usize = 500;

/// An object that was not there, and where the run stood before it.
struct Doubtful {
    copy: Placement,
    after: String,
    objects: u64,
}

impl Doubtful {
    /// Has the run begin with it the next time.
    fn rewind(&self, run: &mut Run) {
        (run.after, run.hashing, run.counts.objects) = (self.after.clone(), None, self.objects);
    }
}

impl Scrub {
    pub(super) async fn look_at_placements(
        &self,
        location: &Location,
        run: &mut Run,
        turn: &mut Turn<'_>,
    ) -> Result<(), StepError> {
        let mut doubtful = Vec::new();
        let walked = self.walk(location, run, turn, &mut doubtful).await;
        let looked = match walked {
            Ok(last) => self.look_again(location, run, &doubtful).await.map(|all| all && last),
            Err(error) => {
                doubtful.first().inspect(|first| first.rewind(run));
                Err(error)
            }
        };
        if looked? {
            (run.phase, run.after) = (Phase::Objects, String::new());
        }
        Ok(())
    }

    /// Goes on until the step is over; whether that was to the end.
    async fn walk(
        &self,
        location: &Location,
        run: &mut Run,
        turn: &mut Turn<'_>,
        doubtful: &mut Vec<Doubtful>,
    ) -> Result<bool, StepError> {
        let (from, mut unreadable) = (run.counts.objects, 0);
        let most = if run.by_hand { RECORDED } else { MISSING + 1 };
        loop {
            let page = placement::page(self.sql(), location.id, &run.after, PAGE).await?;
            let last = (page.len() as i64) < PAGE;
            for copy in page {
                if (turn.over() && run.counts.objects > from) || doubtful.len() >= most {
                    return Ok(false);
                }
                match look(location, &copy, run.deep, run.hashing.take(), turn).await? {
                    Seen::Whole => unreadable = 0,
                    Seen::Partly(hashing) => {
                        run.hashing = Some(hashing);
                        return Ok(false);
                    }
                    Seen::Gone(_) => {
                        let (copy, after) = (copy.clone(), run.after.clone());
                        doubtful.push(Doubtful { copy, after, objects: run.counts.objects });
                    }
                    Seen::Bad(kind) => {
                        unreadable += u64::from(kind == Kind::Unreadable);
                        if self.found(location, &copy, kind).await? {
                            count(run, kind);
                        }
                        if unreadable > UNREADABLE {
                            let text = format!("more than {UNREADABLE} objects in a row cannot be read");
                            let source = Error::new(ErrorKind::Unavailable, text);
                            return Err(StepError::Storage { location: location.name.clone(), source });
                        }
                    }
                }
                run.counts.objects += 1;
                run.after = copy.object_key;
            }
            if last {
                return Ok(true);
            }
        }
    }

    /// Records what is still missing; `false` when one is back, and the run goes on with it.
    async fn look_again(&self, location: &Location, run: &mut Run, doubtful: &[Doubtful]) -> Result<bool, StepError> {
        let Some(first) = doubtful.first() else { return Ok(true) };
        let most = if run.by_hand { usize::MAX } else { MISSING };
        let copies: Vec<&Placement> = doubtful.iter().map(|doubtful| &doubtful.copy).collect();
        let kinds = gone(location, &copies, most).await;
        let kinds = kinds.inspect_err(|_| first.rewind(run))?;
        for (doubtful, kind) in doubtful.iter().zip(kinds) {
            let Some(kind) = kind else {
                doubtful.rewind(run);
                return Ok(false);
            };
            if self.found(location, &doubtful.copy, kind).await.inspect_err(|_| doubtful.rewind(run))? {
                count(run, kind);
            }
        }
        Ok(true)
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
