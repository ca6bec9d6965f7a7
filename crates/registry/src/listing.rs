//! Lists of names: tags of a repository (end-8), repositories of the registry (`_catalog`).

use roadstead_metadata::records::{tag, visible};
use roadstead_oci::{Page, RepositoryName};

use crate::{Action, Caller, Error, Registry, Result};

/// A page of names in ASCII order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The names.
    pub names: Vec<String>,
    /// Whether others follow; the next page begins after the last name of this one.
    pub more: bool,
}

impl Names {
    /// The first `limit` of names asked for with one more than that.
    fn cut(mut names: Vec<String>, limit: usize) -> Self {
        let more = names.len() > limit;
        names.truncate(limit);
        Self { names, more }
    }
}

impl Registry {
    /// A page of tags. An empty page of an unknown repository is `NameUnknown`.
    pub async fn tags(&self, caller: &Caller, name: &RepositoryName, page: &Page) -> Result<Names> {
        let name = self.access(caller, Action::Pull, name).await?;
        let limit = self.page_size(page);
        let after = page.last.as_deref().unwrap_or_default();
        let names = tag::page(&*self.at_hand, name.as_str(), after, limit as i64 + 1).await?;
        if names.is_empty() && !self.index.exists(&name).await? {
            return Err(Error::NameUnknown((*name).clone()));
        }
        Ok(Names::cut(names, limit))
    }

    /// A page of the repositories that the caller may pull.
    pub async fn catalog(&self, caller: &Caller, page: &Page) -> Result<Names> {
        let limit = self.page_size(page);
        let viewer = self.policy.viewer(caller).await?;
        let ranges = caller.ranges(page.last.as_deref().unwrap_or_default());
        Ok(Names::cut(visible::page(&*self.at_hand, viewer, &ranges, limit as i64 + 1).await?, limit))
    }

    /// As many as asked for, up to the configured page size. `n=0` is an empty page.
    fn page_size(&self, page: &Page) -> usize {
        page.n.unwrap_or(self.limits.page).min(self.limits.page)
    }
}
