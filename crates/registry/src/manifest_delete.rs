//! Removing tags and manifests (end-9).

use roadstead_metadata::Freshness;
use roadstead_metadata::records::{manifest, tag};
use roadstead_oci::{Digest, Reference, RepositoryName, Tag};

use crate::commit::ROUNDS;
use crate::{Action, Caller, Error, Precondition, Registry, Result};

impl Registry {
    /// Removes a tag, or a manifest with every tag that points at it. `InUse` while an index of the repository names
    /// the manifest. Blobs stay; they are the collector's once nothing names them.
    pub async fn delete_manifest(&self, caller: &Caller, name: &RepositoryName, reference: &Reference) -> Result<()> {
        self.delete_manifest_if(caller, name, reference, &Precondition::default()).await
    }

    /// The same, while `precondition` holds; `PreconditionFailed` when it does not.
    pub async fn delete_manifest_if(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        reference: &Reference,
        precondition: &Precondition,
    ) -> Result<()> {
        let name = self.access(caller, Action::Delete, name).await?;
        match reference {
            Reference::Tag(tag) => self.delete_tag(&name, tag, precondition).await,
            Reference::Digest(digest) => self.delete_by_digest(&name, digest, precondition).await,
        }
    }

    async fn delete_tag(&self, name: &RepositoryName, tag: &Tag, precondition: &Precondition) -> Result<()> {
        let reference = Reference::Tag(tag.clone());
        for _ in 0..ROUNDS {
            let repository = self.existing(name).await?;
            let mut batch = self.batch();
            let at = batch.at;
            batch.extend(precondition.guards(repository, &reference)).extend(tag::delete(repository, tag, at));
            if self.try_commit(batch).await? {
                return Ok(());
            }
            if manifest::stat(&*self.sql, Freshness::Latest, name.as_str(), &reference).await?.is_none() {
                return Err(Error::ManifestUnknown(reference));
            }
            if !tag::fixed(&*self.sql, repository, [tag]).await?.is_empty() {
                return Err(kept(name, tag.as_str()));
            }
            self.judge(name, &reference, precondition).await?;
        }
        Err(Error::Contended)
    }

    async fn delete_by_digest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        precondition: &Precondition,
    ) -> Result<()> {
        let reference = Reference::Digest(*digest);
        // While it is there it has this digest, so this does not change before the commit.
        let holds = precondition.holds(Some(digest));
        for _ in 0..ROUNDS {
            let repository = self.existing(name).await?;
            if !holds && manifest::stat(&*self.sql, Freshness::Latest, name.as_str(), &reference).await?.is_some() {
                return Err(Error::PreconditionFailed(Some(*digest)));
            }
            let mut batch = self.batch();
            let at = batch.at;
            batch.extend(tag::untag(repository, digest, at)).extend(manifest::delete(repository, digest, at));
            if self.try_commit(batch).await? {
                return Ok(());
            }
            if manifest::stat(&*self.sql, Freshness::Latest, name.as_str(), &reference).await?.is_none() {
                return Err(Error::ManifestUnknown(reference));
            }
            if let Some(tag) = tag::fixed_to(&*self.sql, repository, digest).await? {
                return Err(kept(name, &tag));
            }
            if let Some(index) = manifest::parent(&*self.sql, repository, digest).await? {
                return Err(Error::InUse(format!("manifest {digest} is named by index {index}; delete that first")));
            }
        }
        Err(Error::Contended)
    }
}

/// Why a tag stays.
fn kept(name: &RepositoryName, tag: &str) -> Error {
    Error::Denied(format!("tag {tag} cannot be deleted because {name} is an immutable repository"))
}
