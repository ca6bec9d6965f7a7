//! The end of a session: its bytes become a blob (end-6).

use std::sync::Arc;

use futures::StreamExt;
use roadstead_metadata::records::placement::Placement;
use roadstead_metadata::records::upload::StagedPart;
use roadstead_oci::{Algorithm, Digest, Hasher, RepositoryName};
use roadstead_storage::{Location, ObjectKey};

use super::attempt::{Attempt, on_its_own};
use super::{Chunk, Session};
use crate::ingest::{forget_objects, new_object_key, verify};
use crate::{Action, ByteStream, Caller, Error, Registry, Result};

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
        let name = self.access(caller, Action::Push, name)?;
        let found = self.session(&name, session).await?;
        found.check(&chunk)?;
        let (registry, session) = (self.clone(), session.to_owned());
        on_its_own(&self.tasks, async move {
            match found.row {
                None => {
                    let announced = chunk.length.or(chunk.range.map(|range| range.len()));
                    registry.ingest(&name, digest, announced, body).await
                }
                Some(_) => registry.finish_staged(&name, &session, digest, chunk, body).await,
            }
        })
        .await
    }

    async fn finish_staged(
        &self,
        name: &RepositoryName,
        session: &str,
        digest: Digest,
        chunk: Chunk,
        body: ByteStream,
    ) -> Result<()> {
        let mut attempt = Attempt::begin(self, name, session, &chunk).await?;
        if chunk.length != Some(0) {
            if let Err(error) = attempt.run(&chunk, body).await {
                return attempt.end(Err(error)).await.map(drop);
            }
            attempt.settle().await?;
        }
        let (parts, sources) = (attempt.stage.parts(0), attempt.stage.sources()?);
        let Attempt { session, location, hasher, .. } = &attempt;
        let size = hasher.length();
        let actual = match digest.algorithm() == hasher.algorithm() {
            true => hasher.clone().finish(),
            false => rehash(digest.algorithm(), location, &parts).await?.finish(),
        };
        if let Err(invalid) = verify(&digest, actual) {
            self.close(session).await?;
            return Err(invalid);
        }
        let key = new_object_key(&digest)?;
        location.engine.compose(&sources, &key).await?;
        let placement = Placement { digest, location: location.id, object_key: key.to_string(), size };
        self.commit_blob(name, &placement, session.row.as_ref()).await?;
        forget_objects(&self.tasks, location.engine.clone(), parts.into_iter().map(|part| part.key).collect());
        Ok(())
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
