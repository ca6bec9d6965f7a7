//! The one step every use case passes first: may this caller do this to this repository.

use std::fmt::Debug;

use roadstead_oci::RepositoryName;

use crate::Result;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read manifests, blobs, tags, referrers.
    Pull,
    /// Write blobs, manifests, tags.
    Push,
    /// Remove tags, manifests, blobs.
    Delete,
}

/// Decides. Pure: whatever it needs it holds.
pub trait Policy: Debug + Send + Sync + 'static {
    /// `Ok` when `caller` may do `action` in `repository`, else [`crate::Error::Unauthorized`], [`crate::Error::Denied`] or, to
    /// hide that the repository exists, [`crate::Error::NameUnknown`].
    fn decide(&self, caller: &Caller, action: Action, repository: &RepositoryName) -> Result<()>;

    /// Whether `caller` may see `repository` in the catalog.
    fn lists(&self, caller: &Caller, repository: &RepositoryName) -> bool {
        self.decide(caller, Action::Pull, repository).is_ok()
    }
}

/// Everything for everyone: right only where nobody else can connect, which the configuration enforces.
#[derive(Debug)]
pub struct Everyone;

impl Policy for Everyone {
    fn decide(&self, caller: &Caller, _action: Action, _repository: &RepositoryName) -> Result<()> {
        match caller {
            Caller::Anonymous => Ok(()),
        }
    }
}
