//! The end of a session: its bytes become a blob (end-6).

use std::sync::Arc;

use futures::StreamExt;
use roadstead_metadata::records::placement::Placement;
use roadstead_metadata::records::upload::StagedPart;
use roadstead_oci::{Algorithm, Digest, Hasher, RepositoryName};
use roadstead_storage::{Location, ObjectKey};
use tokio::task::JoinHandle;

use super::attempt::{Attempt, on_its_own};
use super::{Chunk, Session};
use crate::ingest::{Ends, forget_objects, new_object_key, verify};
use crate::{Action, Admitted, BodyError, ByteStream, Caller, Error, Registry, Result};

impl Registry {
    /// Takes the last bytes, which may be none or all, and publishes the blob. A session without a row streams
    /// straight to the blob's key. `DigestInvalid` ends the session: its bytes can never become what was announced.
    pub async fn finish_upload(
        self: &Arc<Self>,
        caller: &Caller,
        name: &RepositoryName,
        session: &str,
        digest: Digest,
        chunk: Chunk,
        body: ByteStream,
    ) -> Result<()> {
        let name = self.access(caller, Action::Push, name).await?;
        self.writable()?;
        self.session(&name, session).await?.check(&chunk)?;
        let (registry, session) = (self.clone(), session.to_owned());
        on_its_own(&self.tasks, async move {
            let attempt = Attempt::begin(&registry, &name, &session, &chunk).await?;
            match attempt.session.row {
                None => registry.finish_fresh(&name, attempt, digest, chunk, body).await,
                Some(_) => registry.finish_staged(&name, attempt, digest, chunk, body).await,
            }
        })
        .await
    }

    /// The whole blob comes with the end of its session.
    async fn finish_fresh(
        &self,
        name: &Admitted,
        attempt: Attempt<'_>,
        digest: Digest,
        chunk: Chunk,
        body: ByteStream,
    ) -> Result<()> {
        let placement = match self.publish(digest, chunk.announced(), body, attempt.turn.stop.clone()).await {
            Err(Error::Body(BodyError::Superseded)) => return Err(Error::UploadBusy),
            published => published?,
        };
        self.commit_blob(name, &placement, Ends::Fresh(attempt.session.token.id)).await
    }

    async fn finish_staged(
        &self,
        name: &Admitted,
        mut attempt: Attempt<'_>,
        digest: Digest,
        chunk: Chunk,
        body: ByteStream,
    ) -> Result<()> {
        let outcome = match self.publish_staged(name, &mut attempt, digest, chunk, body).await {
            // The bytes can never become what was announced.
            Err(invalid @ Error::DigestInvalid { .. }) => match self.close(&attempt.session).await {
                Ok(true) => Err(invalid),
                Ok(false) => return attempt.end(Err(Error::UploadBusy)).await.map(drop),
                Err(error) => return attempt.end(Err(error)).await.map(drop),
            },
            Err(error) => return attempt.end(Err(error)).await.map(drop),
            Ok(known) => Ok(known),
        };
        let location = attempt.location;
        let forgotten = forget_objects(&self.tasks, location.engine.clone(), attempt.stage.into_keys());
        if let Some(key) = outcome? {
            self.know(location, key, forgotten);
        }
        Ok(())
    }

    /// A published object has the right bytes: its pulls need not hash them. It is looked at when its staged names are
    /// gone, since a store may take that for a change.
    fn know(&self, location: Location, key: ObjectKey, forgotten: JoinHandle<()>) {
        let verified = self.verified.clone();
        self.tasks.spawn(async move {
            if forgotten.await.is_ok()
                && let Ok(stat) = location.engine.stat(&key).await
            {
                verified.note(location.id, &key, stat.version);
            }
        });
    }

    /// Answers under which key it is, if this process hashed all of its bytes and they were not copied since.
    async fn publish_staged(
        &self,
        name: &Admitted,
        attempt: &mut Attempt<'_>,
        digest: Digest,
        chunk: Chunk,
        body: ByteStream,
    ) -> Result<Option<ObjectKey>> {
        if chunk.length != Some(0) {
            attempt.run(&chunk, body).await?;
            attempt.settle().await?;
        }
        let (parts, sources) = (attempt.stage.parts(0), attempt.stage.sources().await?);
        let Attempt { session, location, hasher, .. } = attempt;
        let size = hasher.length();
        let actual = match digest.algorithm() == hasher.algorithm() {
            true => hasher.clone().finish(),
            false => rehash(digest.algorithm(), location, &parts).await?.finish(),
        };
        verify(&digest, actual)?;
        let key = ObjectKey::new(new_object_key(&digest))?;
        location.engine.compose(&sources, &key).await?;
        let placement = Placement { digest, location: location.id, object_key: key.to_string(), size };
        let ends = session.row.as_ref().map_or(Ends::Fresh(session.token.id), Ends::Staged);
        self.commit_blob(name, &placement, ends).await?;
        let known = matches!(&parts[..], [part] if part.made_by == self.incarnation);
        Ok(known.then_some(key))
    }

    /// The hash over the acknowledged bytes: as saved, or computed anew when this version cannot read the saved one.
    pub(super) async fn running_hash(&self, session: &Session, location: &Location) -> Result<Hasher> {
        let algorithm = session.token.algorithm;
        let Some(row) = &session.row else { return Ok(Hasher::new(algorithm)) };
        match Hasher::restore(&row.hash_state) {
            Some(hasher) if hasher.length() == row.received && hasher.algorithm() == algorithm => Ok(hasher),
            _ => rehash(algorithm, location, &row.parts).await,
        }
    }
}

/// Hashes staged parts from the store.
async fn rehash(algorithm: Algorithm, location: &Location, parts: &[StagedPart]) -> Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    for part in parts.iter().filter(|part| part.length > 0) {
        let key = ObjectKey::new(part.key.as_str())?;
        let mut body = location.engine.read(&key, Some(0..part.length)).await?.body;
        while let Some(chunk) = body.next().await {
            hasher.update(&chunk?);
        }
    }
    let staged = parts.iter().map(|part| part.length).sum::<u64>();
    if hasher.length() != staged {
        return Err(Error::Damaged(format!("staged parts have {} bytes of {staged}", hasher.length())));
    }
    Ok(hasher)
}
