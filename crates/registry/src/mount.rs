//! Cross-repository mount (end-11): a link without an upload.

use roadstead_metadata::Freshness;
use roadstead_metadata::records::{blob, repository, visible};
use roadstead_oci::{Digest, RepositoryName};
use uuid::Uuid;

use crate::commit::ROUNDS;
use crate::{Action, Caller, Error, Registry, Result};

/// What became of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// The repository links the blob now.
    Mounted,
    /// There is nothing to mount, or nothing this caller may read: the client uploads.
    NotMounted,
}

impl Registry {
    /// Links a blob of another repository that the caller may pull: of `from`, or, without it, of any.
    pub async fn mount_blob(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        digest: &Digest,
        from: Option<&RepositoryName>,
    ) -> Result<Mount> {
        let name = self.access(caller, Action::Push, name).await?;
        for _ in 0..ROUNDS {
            let source = match from {
                Some(from) => self.readable(caller, from).await,
                None => self.any_readable(caller, digest).await?,
            };
            let Some(source) = source else { return Ok(Mount::NotMounted) };
            // What is lost or cut short is uploaded, which heals it.
            match self.index.places(&source, digest).await? {
                Some(places) if self.is_whole(&places).await => {}
                _ => return Ok(Mount::NotMounted),
            }
            let Some(source) = repository::find(&*self.sql, Freshness::Latest, source.as_str()).await? else {
                return Ok(Mount::NotMounted);
            };
            if blob::linked(&*self.sql, source, &[*digest]).await?.is_empty() {
                return Ok(Mount::NotMounted);
            }
            let target = self.push_target(&name).await?;
            let mut batch = self.batch();
            target.ensure(self, &name, &mut batch).await?;
            batch.push(blob::guard_linked(source, digest));
            let at = batch.at;
            batch.extend(blob::rely(digest, at)).push(blob::link(target.id, digest));
            if self.try_commit(batch).await? {
                return Ok(Mount::Mounted);
            }
        }
        Err(Error::Contended)
    }

    async fn readable(&self, caller: &Caller, from: &RepositoryName) -> Option<RepositoryName> {
        self.access(caller, Action::Pull, from).await.ok().map(|admitted| (*admitted).clone())
    }

    /// The oldest repository that links the blob and that the caller may pull, of the first hundred that link it. What they
    /// are to the caller is asked for all at once: many that may not be pulled cost what one does.
    async fn any_readable(&self, caller: &Caller, digest: &Digest) -> Result<Option<RepositoryName>> {
        const LOOKED_AT: i64 = 100;
        let linked = blob::repositories(&*self.sql, digest, Uuid::nil(), LOOKED_AT).await?;
        let ids: Vec<Uuid> = linked.iter().map(|(id, _)| *id).collect();
        let seen = visible::among(&*self.sql, self.policy.viewer(caller).await?, &ids).await?;
        for (_, name) in linked.iter().filter(|(id, _)| seen.contains(id)) {
            let Ok(name) = name.parse() else { continue };
            if in_scope(caller, &name)
                && let Some(readable) = self.readable(caller, &name).await
            {
                return Ok(Some(readable));
            }
        }
        Ok(None)
    }
}

/// Whether what the caller came with is good to pull from there.
fn in_scope(caller: &Caller, name: &RepositoryName) -> bool {
    match caller {
        Caller::Known(identity) => identity.scope.as_ref().is_none_or(|scope| scope.allows(name, Action::Pull)),
        Caller::Anonymous | Caller::Operator => true,
    }
}
