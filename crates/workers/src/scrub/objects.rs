//! From the store to metadata: which objects no placement names.

use std::collections::BTreeSet;

use roadstead_metadata::records::damage;
use roadstead_metadata::records::scrub::Run;
use roadstead_registry::{BLOBS, digest_in};
use roadstead_storage::{Error, Location, ObjectKey};

use super::Scrub;
use super::look::confirm;
use super::turn::Turn;
use crate::StepError;

/// Objects listed at once, and orphans noted in one commit.
const PAGE: usize = 400;

impl Scrub {
    /// Notes what is seen for the first time, until the step is over. A push that has not committed yet looks just like
    /// an orphan.
    pub(super) async fn look_at_objects(
        &self,
        location: &Location,
        run: &mut Run,
        turn: &Turn<'_>,
    ) -> Result<(), StepError> {
        loop {
            self.look_at_page(location, run).await?;
            if run.ended_at.is_some() || turn.over() {
                return Ok(());
            }
        }
    }

    async fn look_at_page(&self, location: &Location, run: &mut Run) -> Result<(), StepError> {
        let wrong = |source: Error| StepError::Storage { location: location.name.clone(), source };
        let after = (!run.after.is_empty()).then(|| ObjectKey::new(run.after.as_str()));
        let after = after.transpose().map_err(wrong)?;
        let listed = location.engine.list(BLOBS, after.as_ref(), PAGE).await.map_err(wrong)?;
        let keys: Vec<String> = listed.into_iter().map(|object| object.key.to_string()).collect();
        let now = self.registry.clock().now();
        if run.after.is_empty() {
            // They are never reaped, so nobody else notices when one is gone.
            self.try_commit([damage::forget_nameless(location.id)]).await?;
        }
        let known = damage::known(self.sql(), location.id, &keys, now).await?;
        let known: BTreeSet<String> = known.into_iter().collect();
        let orphans: Vec<&String> = keys.iter().filter(|key| !known.contains(*key)).collect();
        if !orphans.is_empty() {
            confirm(location).await?;
            let notes = orphans.iter().map(|key| damage::note(location.id, key, digest_in(key).as_ref(), now));
            self.try_commit(notes).await?;
            run.counts.orphans += orphans.len() as u64;
        }
        match keys.last() {
            Some(last) if keys.len() == PAGE => run.after = last.clone(),
            _ => run.ended_at = Some(now),
        }
        Ok(())
    }
}
