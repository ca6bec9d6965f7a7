//! Lists of names: tags of a repository (end-8), repositories of the registry (`_catalog`).

use roadstead_metadata::records::{repository, tag};
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
        let name = self.access(caller, Action::Pull, name)?;
        let limit = self.page_size(page);
        let after = page.last.as_deref().unwrap_or_default();
        let names = tag::page(&*self.sql, name.as_str(), after, limit as i64 + 1).await?;
        if names.is_empty() && !self.index.exists(&name).await? {
            return Err(Error::NameUnknown(name));
        }
        Ok(Names::cut(names, limit))
    }

    /// A page of the repositories that the caller may see.
    pub async fn catalog(&self, caller: &Caller, page: &Page) -> Result<Names> {
        let limit = self.page_size(page);
        let mut after = page.last.clone().unwrap_or_default();
        let mut seen = Vec::new();
        loop {
            let wanted = limit + 1 - seen.len();
            let names = repository::page(&*self.sql, &after, wanted as i64).await?;
            let last = names.len() < wanted;
            if let Some(name) = names.last() {
                after.clone_from(name);
            }
            let visible = |name: &String| name.parse().is_ok_and(|name| self.policy.lists(caller, &name));
            seen.extend(names.into_iter().filter(visible));
            if last || seen.len() > limit {
                return Ok(Names::cut(seen, limit));
            }
        }
    }

    /// As many as asked for, up to the configured page size. `n=0` is an empty page.
    fn page_size(&self, page: &Page) -> usize {
        page.n.unwrap_or(self.limits.page).min(self.limits.page)
    }
}
