//! The end of a use case: one commit, built anew while others change the same things.

use std::time::Duration;

use roadstead_metadata::records::repository;
use roadstead_metadata::{Batch, CommitError, Freshness, Status, commit_once};
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use crate::{Error, Registry, Result};

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
        Ok(match repository::find(&*self.sql, Freshness::Latest, name.as_str()).await? {
            Some(id) => PushTarget { id, new: false },
            None => PushTarget { id: Uuid::now_v7(), new: true },
        })
    }

    /// The id of a repository that must exist.
    pub(crate) async fn existing(&self, name: &RepositoryName) -> Result<Uuid> {
        let id = repository::find(&*self.sql, Freshness::Latest, name.as_str()).await?;
        id.ok_or_else(|| Error::NameUnknown(name.clone()))
    }
}

impl PushTarget {
    /// Makes the repository in the batch when it is new. Of two that make it at once one conflicts and looks again.
    pub(crate) fn ensure(&self, name: &RepositoryName, batch: &mut Batch) {
        if self.new {
            batch.extend(repository::create(self.id, Uuid::now_v7(), name.as_str(), batch.at));
        }
    }
}
