//! Blobs without an upload session: existence, monolithic push, deletion.

use std::sync::Arc;

use roadstead_metadata::records::blob::{self, Places};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{ErrorKind, ObjectKey};

use crate::commit::{ROUNDS, stands};
use crate::upload::on_its_own;
use crate::{Action, ByteStream, Caller, Error, Registry, Result};

impl Registry {
    /// Size of a blob (end-2, HEAD). For a caller who may push it also keeps the blob from the collector, or answers
    /// `BlobUnknown`, so that a push which skips the upload because of this answer does not fail later; also when the
    /// bytes are lost or cut short, because the upload will heal them; to a mere reader `Damaged` says when no copy is left.
    pub async fn blob_stat(&self, caller: &Caller, name: &RepositoryName, digest: &Digest) -> Result<u64> {
        let name = self.access(caller, Action::Pull, name).await?;
        let pusher = self.may(caller, Action::Push, &name).await;
        for _ in 0..ROUNDS {
            let Some(places) = self.index.places(&name, digest).await? else {
                return Err(self.unknown(&name, Error::BlobUnknown(*digest)).await?);
            };
            if pusher && !self.is_whole(&places).await {
                return Err(Error::BlobUnknown(*digest));
            }
            if places.copies.is_empty() {
                return Err(Error::Damaged(format!("blob {digest} has no copy at any location")));
            }
            let stale = self.clock.now() - places.touched_at > self.limits.refresh();
            if !pusher || !stale || stands(self.refresh(&name, digest).await)? {
                return Ok(places.size);
            }
        }
        Err(Error::BlobUnknown(*digest))
    }

    /// Whether there is a copy that has the right size, as far as its store says. A store that does not answer says
    /// nothing: its copy counts.
    pub(crate) async fn is_whole(&self, places: &Places) -> bool {
        for (location, key) in &places.copies {
            let (Some(location), Ok(key)) = (self.locations.by_id(*location), ObjectKey::new(key.as_str())) else {
                // A location of another instance.
                return true;
            };
            match location.engine.stat(&key).await {
                Ok(found) if found.size != places.size => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                _ => return true,
            }
        }
        tracing::error!(size = places.size, "no copy of a blob is whole: whoever pushes is asked for it again");
        false
    }

    /// Refreshes blob and link. `Ok(false)`: one of them is going or gone.
    async fn refresh(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        let repository = self.existing(name).await?;
        let mut batch = self.batch();
        let at = batch.at;
        batch.push(blob::guard_linked(repository, digest));
        batch.extend(blob::rely(digest, at));
        batch.push(blob::touch_link(repository, digest, at));
        self.try_commit(batch).await
    }

    /// Pushes a blob in one request (end-4b): `announced` is the Content-Length.
    pub async fn push_blob(
        self: &Arc<Self>,
        caller: &Caller,
        name: &RepositoryName,
        digest: Digest,
        announced: Option<u64>,
        body: ByteStream,
    ) -> Result<()> {
        let name = self.access(caller, Action::Push, name).await?;
        self.writable()?;
        let registry = self.clone();
        on_its_own(&self.tasks, async move { registry.ingest(&name, digest, announced, body).await }).await
    }

    /// Removes the repository's link to a blob (end-10); the bytes are the collector's. `InUse` while a manifest of
    /// the repository names the blob.
    pub async fn delete_blob(&self, caller: &Caller, name: &RepositoryName, digest: &Digest) -> Result<()> {
        let name = self.access(caller, Action::Delete, name).await?;
        for _ in 0..ROUNDS {
            let repository = self.existing(&name).await?;
            let mut batch = self.batch();
            let at = batch.at;
            batch.push(blob::guard_linked(repository, digest)).extend(blob::unlink(repository, digest, at));
            if self.try_commit(batch).await? {
                return Ok(());
            }
            if blob::linked(&*self.sql, repository, &[*digest]).await?.is_empty() {
                return Err(Error::BlobUnknown(*digest));
            }
            if let Some(manifest) = blob::used_by(&*self.sql, repository, digest).await? {
                return Err(Error::InUse(format!("blob {digest} is named by manifest {manifest}; delete that first")));
            }
        }
        Err(Error::Contended)
    }
}
