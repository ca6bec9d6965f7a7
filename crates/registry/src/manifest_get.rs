//! Pulling manifests (end-3).

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use roadstead_metadata::records::manifest::ManifestStat;
use roadstead_metadata::records::untagged;
use roadstead_oci::{Digest, Reference, RepositoryName};

use crate::commit::{ROUNDS, stands};
use crate::{Action, Caller, Error, Registry, Result};

/// What and how large a manifest is.
pub type ManifestInfo = ManifestStat;

/// A manifest with its bytes, exactly as pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestContent {
    /// Digest, media type, size.
    pub info: ManifestInfo,
    /// The bytes.
    pub bytes: Bytes,
}

impl Registry {
    /// A manifest by tag or digest.
    pub async fn manifest(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestContent> {
        let name = self.access(caller, Action::Pull, name).await?;
        match self.index.manifest(&name, reference).await? {
            Some(found) => {
                let bytes = match found.bytes {
                    Some(bytes) => bytes,
                    None => self.manifest_from_blob(&name, &found.stat.digest).await?,
                };
                Ok(ManifestContent { info: found.stat, bytes })
            }
            None => Err(self.unknown(&name, Error::ManifestUnknown(reference.clone())).await?),
        }
    }

    /// The same without the bytes (HEAD). For a caller who may push and asks by digest it also keeps a manifest that
    /// nothing may hold yet, or answers `ManifestUnknown`, so that a push which skips it because of this answer does not
    /// fail later.
    pub async fn manifest_info(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo> {
        let name = self.access(caller, Action::Pull, name).await?;
        let by_digest = matches!(reference, Reference::Digest(_));
        let pusher = by_digest && self.may(caller, Action::Push, &name).await;
        for _ in 0..ROUNDS {
            let Some(info) = self.index.manifest_stat(&name, reference).await? else { break };
            let let_go = info.untagged_since.filter(|since| self.clock.now() - since > self.limits.refresh());
            if !pusher || let_go.is_none() || stands(self.renew(&name, &info.digest).await)? {
                return Ok(info);
            }
        }
        Err(self.unknown(&name, Error::ManifestUnknown(reference.clone())).await?)
    }

    /// Begins a manifest's time anew. `Ok(false)`: it is gone.
    async fn renew(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        let repository = self.existing(name).await?;
        let mut batch = self.batch();
        let at = batch.at;
        batch.extend(untagged::rely(repository, digest, at));
        self.try_commit(batch).await
    }

    /// A manifest too large for metadata: its size is bounded by the limit it was pushed under.
    async fn manifest_from_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Bytes> {
        let blob = self.open(name, digest).await?;
        let mut bytes = BytesMut::with_capacity(blob.size as usize);
        let mut body = blob.read(None).await?;
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }
}
