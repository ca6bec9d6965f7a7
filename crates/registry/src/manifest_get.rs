//! Pulling manifests (end-3).

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use roadstead_metadata::records::manifest::ManifestStat;
use roadstead_oci::{Digest, Reference, RepositoryName};

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
        let name = self.access(caller, Action::Pull, name)?;
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

    /// The same without the bytes (HEAD).
    pub async fn manifest_info(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo> {
        let name = self.access(caller, Action::Pull, name)?;
        match self.index.manifest_stat(&name, reference).await? {
            Some(info) => Ok(info),
            None => Err(self.unknown(&name, Error::ManifestUnknown(reference.clone())).await?),
        }
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
