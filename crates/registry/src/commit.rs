//! The end of a use case: one commit, built anew while others change the same things.

use std::time::Duration;

use roadstead_metadata::records::repository::{self, Repository};
use roadstead_metadata::{Batch, CommitError, Freshness, Status, commit_once};
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use crate::{Admitted, Error, Making, Registry, Result};

/// How long a commit without an answer is retried before the client is told to come back.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How often a use case looks again after a conflict.
pub(crate) const ROUNDS: usize = 8;

/// A repository that a push writes to, perhaps made by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PushTarget {
    /// Its id.
    pub id: Uuid,
    /// Whether the batch has to make it.
    new: bool,
}

/// Whether the answer to a HEAD stands, by the outcome of having kept what it is about. While metadata cannot be asked for
/// what is newest, or cannot be written, nothing is removed and no push can end: it stands.
pub(crate) fn stands(kept: Result<bool>) -> Result<bool> {
    match kept {
        Err(Error::ReadOnly(_) | Error::Unavailable { .. } | Error::Uncertain(_)) => Ok(true),
        outcome => outcome,
    }
}

impl Registry {
    /// Whether a push can be committed now, as far as is known: `ReadOnly` or `Unavailable` when not. Asked before a
    /// body is read, which would be read for nothing.
    pub fn writable(&self) -> Result<()> {
        match self.sql.status() {
            Status::Writable => Ok(()),
            Status::ReadOnly(why) => Err(Error::ReadOnly(why)),
            Status::Down(cause) => Err(Error::Unavailable { component: "metadata", cause }),
        }
    }

    /// Commits `batch`. `Ok(false)` is a conflict: nothing happened, look again.
    pub(crate) async fn try_commit(&self, batch: Batch) -> Result<bool> {
        match commit_once(&*self.sql, batch, PATIENCE).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict(why)) => {
                tracing::debug!(why, "commit conflicts, looking again");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The repository a push writes to.
    pub(crate) async fn push_target(&self, name: &RepositoryName) -> Result<PushTarget> {
        Ok(PushTarget::of(repository::find(&*self.sql, Freshness::Latest, name.as_str()).await?))
    }

    /// The id of a repository that must exist.
    pub(crate) async fn existing(&self, name: &RepositoryName) -> Result<Uuid> {
        let id = repository::find(&*self.sql, Freshness::Latest, name.as_str()).await?;
        id.ok_or_else(|| Error::NameUnknown(name.clone()))
    }
}

impl PushTarget {
    /// The repository that was found, or else one to be made.
    pub(crate) fn of(found: Option<Uuid>) -> Self {
        Self { id: found.unwrap_or_else(Uuid::now_v7), new: found.is_none() }
    }

    /// The batch conflicts when the repository is removed meanwhile. When it is new it is made in the batch, private, where
    /// the caller may make one: else it is `NameUnknown`. Of two that make it at once one conflicts and looks again.
    pub(crate) async fn ensure(&self, registry: &Registry, name: &Admitted, batch: &mut Batch) -> Result<()> {
        if !self.new {
            batch.push(repository::guard_named(self.id, name.as_str()));
            return Ok(());
        }
        let (at, text) = (batch.at, name.to_string());
        let making = match name.making {
            // It was there when the caller was let in.
            Making::Nowhere => registry.access_again(name).await?.making,
            making => making,
        };
        match making {
            Making::Nowhere => return Err(Error::NameUnknown((**name).clone())),
            Making::In(namespace) => {
                let new = Repository { id: self.id, name: text, public: false, immutable_tags: false, created_at: at };
                batch.extend(repository::create_in(namespace, &new))
            }
            Making::Anywhere => batch.extend(repository::create(self.id, Uuid::now_v7(), &text, at)),
        };
        Ok(())
    }
}
