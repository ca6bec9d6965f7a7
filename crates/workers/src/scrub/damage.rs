//! Known damage: a file put back from a backup, or a disk that reads again, makes a copy whole.

use roadstead_metadata::Millis;
use roadstead_metadata::records::damage::{self, Kind, Unhealed};
use roadstead_metadata::records::placement::Placement;
use roadstead_metadata::records::scrub::{Hashing, Phase, Run};
use roadstead_registry::new_object_key;
use roadstead_storage::{Error, Location, ObjectKey, Part};

use super::Scrub;
use super::look::{Seen, look};
use super::turn::Turn;
use crate::StepError;

/// Objects asked for at once.
const PAGE: i64 = 100;

impl Scrub {
    pub(super) async fn look_at_damage(
        &self,
        location: &Location,
        run: &mut Run,
        turn: &mut Turn<'_>,
    ) -> Result<(), StepError> {
        // An orphan may be the object of a push that has not committed yet, until it is old.
        let before = self.orphaned_before().unwrap_or(Millis::MIN);
        let page = damage::unhealed(self.sql(), location.id, &run.after, before, PAGE).await?;
        let (last, mut looked) = ((page.len() as i64) < PAGE, false);
        for unhealed in page {
            if turn.over() && looked {
                return Ok(());
            }
            // What was read and found wrong is not worth reading again unless all is read.
            if unhealed.kind != Kind::WrongHash || run.deep {
                // It is known to be bad: one look will do, and only a whole one counts.
                let begun = run.hashing.take().unwrap_or_else(|| Hashing {
                    object_key: unhealed.object.object_key.clone(),
                    again: true,
                    state: Vec::new(),
                });
                match look(location, &unhealed.object, true, Some(begun), turn).await? {
                    Seen::Partly(hashing) => {
                        run.hashing = Some(hashing);
                        return Ok(());
                    }
                    Seen::Whole => run.counts.repaired += u64::from(self.adopt(location, &unhealed).await?),
                    Seen::Bad(kind) | Seen::Gone(kind) => self.still_bad(&unhealed, kind).await?,
                }
            }
            looked = true;
            run.after = unhealed.object.object_key;
        }
        if last {
            (run.phase, run.after) = (Phase::Placements, String::new());
        }
        Ok(())
    }

    /// Makes an object that was just verified the copy of its blob again. An orphan gives its bytes to an object of a
    /// new key: a push that is still under way may delete what it published, or name it when it has long been replaced.
    pub(super) async fn adopt(&self, location: &Location, whole: &Unhealed) -> Result<bool, StepError> {
        let (found, now) = (&whole.object, self.registry.clock().now());
        let adopted = match whole.kind {
            Kind::Orphan => {
                let key = self.copy(location, found).await?;
                let copy = Placement { object_key: key.to_string(), ..found.clone() };
                let adopted = self.try_commit(damage::replace(&copy, now)).await?;
                if !adopted {
                    location.engine.delete(&key).await.map_err(|source| failed(location, source))?;
                }
                adopted
            }
            _ => self.try_commit(damage::adopt(found, now)).await?,
        };
        if adopted {
            let (digest, key) = (found.digest, &found.object_key);
            tracing::info!(location = location.name, %digest, key, "object is whole again and serves its blob");
        }
        Ok(adopted)
    }

    async fn copy(&self, location: &Location, from: &Placement) -> Result<ObjectKey, StepError> {
        let copied = async {
            let to = ObjectKey::new(new_object_key(&from.digest))?;
            // What is listed is published, and nobody writes to it.
            let part = Part { key: ObjectKey::new(from.object_key.as_str())?, length: from.size, sealed: true };
            location.engine.compose(&[part], &to).await.map(|()| to)
        };
        copied.await.map_err(|source| failed(location, source))
    }

    /// What is wrong may have changed: a file that was missing is back, and not what it should be.
    pub(super) async fn still_bad(&self, unhealed: &Unhealed, kind: Kind) -> Result<(), StepError> {
        let Unhealed { object, kind: was } = unhealed;
        let statement = match (was, kind) {
            (_, Kind::Unreadable) => return Ok(()),
            (was, kind) if *was == kind => return Ok(()),
            (Kind::Orphan, Kind::Missing) => {
                damage::forget(object.location, std::slice::from_ref(&object.object_key), Kind::Orphan)
            }
            _ => damage::record(object, kind, self.registry.clock().now()),
        };
        self.try_commit([statement]).await.map(drop)
    }
}

fn failed(location: &Location, source: Error) -> StepError {
    StepError::Storage { location: location.name.clone(), source }
}
