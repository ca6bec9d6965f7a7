//! Cross-repository mount (end-11): a link without an upload.

use roadstead_metadata::Freshness;
use roadstead_metadata::records::{blob, repository};
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
        let name = self.access(caller, Action::Push, name)?;
        for _ in 0..ROUNDS {
            let source = match from {
                Some(from) => self.readable(caller, from),
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
            target.ensure(&name, &mut batch);
            batch.push(blob::guard_linked(source, digest));
            let at = batch.at;
            batch.extend(blob::rely(digest, at)).push(blob::link(target.id, digest));
            if self.try_commit(batch).await? {
                return Ok(Mount::Mounted);
            }
        }
        Err(Error::Contended)
    }

    fn readable(&self, caller: &Caller, from: &RepositoryName) -> Option<RepositoryName> {
        self.access(caller, Action::Pull, from).ok()
    }

    /// The oldest repository that links the blob and that the caller may pull.
    async fn any_readable(&self, caller: &Caller, digest: &Digest) -> Result<Option<RepositoryName>> {
        const PAGE: i64 = 100;
        let mut after = Uuid::nil();
        loop {
            let page = blob::repositories(&*self.sql, digest, after, PAGE).await?;
            let readable =
                page.iter().filter_map(|(_, name)| name.parse().ok()).find_map(|name| self.readable(caller, &name));
            match page.last() {
                Some((last, _)) if readable.is_none() && page.len() as i64 == PAGE => after = *last,
                _ => return Ok(readable),
            }
        }
    }
}
