//! Repositories as they are set, and by whom.

use roadstead_metadata::records::repository::{self, Repository};
use roadstead_metadata::records::{removal, visible};
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use super::deed::Deed;
use super::{Identities, IdentityError, Outcome, contended};
use crate::access::{Decision, Question, Rules, decide};
use crate::clock::new_id;
use crate::commit::ROUNDS;
use crate::registry::canonical;
use crate::{Action, Caller, Error};
use roadstead_metadata::Freshness;
use roadstead_metadata::records::access::{self, Asked, Facts};

/// A repository to add.
#[derive(Debug, Clone)]
pub struct NewRepository {
    /// Its name; the namespace has to be there.
    pub name: RepositoryName,
    /// Everybody may pull from it.
    pub public: bool,
    /// Tags that are there neither move nor go.
    pub immutable_tags: bool,
}

/// What changes of a repository; `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepositoryChange {
    /// Everybody may pull from it.
    pub public: Option<bool>,
    /// Tags that are there neither move nor go.
    pub immutable_tags: Option<bool>,
}

impl Identities {
    /// Adds a repository. For those who may push to everything in its namespace; one that is public or keeps its tags for
    /// those who have admin access to all of it, since these are settings.
    pub async fn create_repository(&self, caller: &Caller, new: NewRepository) -> Outcome<Repository> {
        let name = canonical(&new.name);
        for _ in 0..ROUNDS {
            let (facts, decision) = self.decision(caller, Action::Push, &name).await?;
            if facts.repository.is_some() && decision == Decision::Allowed {
                return Err(IdentityError::Exists(format!("there is a repository {name} already")));
            }
            let Decision::AllowedMaking(namespace) = decision else {
                return Err(refused(decision, &name));
            };
            let (id, at) = (Uuid::now_v7(), self.clock.now());
            let NewRepository { public, immutable_tags, .. } = new;
            if (public || immutable_tags) && self.decision(caller, Action::Admin, &name).await?.1 != Decision::Allowed {
                return Err(IdentityError::Denied(format!(
                    "{name}: a public repository or one with immutable tags takes admin access to its namespace; add it \
                     without, or ask an owner"
                )));
            }
            let made = Repository { id, name: name.to_string(), public, immutable_tags, created_at: at };
            let statements = match namespace {
                Some(namespace) => repository::create_in(namespace, &made).to_vec(),
                // The first of `library`.
                None => {
                    let library = repository::create(id, Uuid::now_v7(), name.as_str(), at);
                    library.into_iter().chain(repository::set(id, Some(public), Some(immutable_tags))).collect()
                }
            };
            let deed =
                Deed::new(caller, "repository.add", &name).within(&name).with(set(Some(public), Some(immutable_tags)));
            if self.change(deed, statements).await? {
                return Ok(made);
            }
        }
        Err(contended())
    }

    /// A repository and how it is set. For those who may pull from it.
    pub async fn repository(&self, caller: &Caller, name: &RepositoryName) -> Outcome<Repository> {
        let name = canonical(name);
        self.require(caller, Action::Pull, &name).await?;
        let found = repository::settings(&*self.sql, name.as_str()).await?;
        found.ok_or_else(|| Error::NameUnknown(name).into())
    }

    /// Repositories that the caller may pull from, and how they are set, in the order of their names after `after`.
    pub async fn repositories(&self, caller: &Caller, after: &str, limit: usize) -> Outcome<Vec<Repository>> {
        let viewer = self.policy.viewer(caller).await.map_err(|error| match error {
            Error::Unauthorized => IdentityError::Unauthorized,
            error => error.into(),
        })?;
        for _ in 0..ROUNDS {
            let names = visible::page(&*self.sql, viewer, &caller.ranges(after), limit as i64).await?;
            let found = repository::all_settings(&*self.sql, &names).await?;
            // One that went meanwhile would leave a page that is short, and looks like the last one.
            if found.len() == names.len() {
                return Ok(found);
            }
        }
        Err(contended())
    }

    /// Changes how a repository is set. For its admins.
    pub async fn change_repository(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        change: RepositoryChange,
    ) -> Outcome<Repository> {
        let name = canonical(name);
        let id = self.require(caller, Action::Admin, &name).await?;
        let deed =
            Deed::new(caller, "repository.change", &name).within(&name).with(set(change.public, change.immutable_tags));
        if !self.change(deed, repository::set(id, change.public, change.immutable_tags)).await? {
            return Err(Error::NameUnknown(name).into());
        }
        self.repository(caller, &name).await
    }

    /// Removes a repository with all that is in it, immutable tags included: from now on there is none of this name for
    /// anybody, and whoever pushes to it makes another. What it held goes in the background; its blobs stay for the grace.
    /// For its admins.
    pub async fn remove_repository(&self, caller: &Caller, name: &RepositoryName) -> Outcome<()> {
        let name = canonical(name);
        for _ in 0..ROUNDS {
            let id = self.require(caller, Action::Admin, &name).await?;
            let removal = removal::remove(id, name.as_str(), new_id(&*self.clock), self.clock.now());
            let deed = Deed::new(caller, "repository.remove", &name).within(&name);
            if self.change(deed, removal).await? {
                tracing::info!(repository = %name, "repository removed; what it held goes in the background");
                return Ok(());
            }
        }
        Err(contended())
    }

    /// The id of a repository in which the caller may do this.
    pub(super) async fn require(&self, caller: &Caller, action: Action, name: &RepositoryName) -> Outcome<Uuid> {
        let (facts, decision) = self.decision(caller, action, name).await?;
        match (decision, facts.repository) {
            (Decision::Allowed, Some(repository)) => Ok(repository.id),
            (Decision::Allowed, None) => Err(Error::NameUnknown(name.clone()).into()),
            (decision, _) => Err(refused(decision, name)),
        }
    }

    /// Decides on what is newest, whatever pushes may make.
    async fn decision(&self, caller: &Caller, action: Action, name: &RepositoryName) -> Outcome<(Facts, Decision)> {
        let (subject, token) = match caller {
            Caller::Known(identity) => (Some(identity.subject), identity.token),
            Caller::Anonymous | Caller::Operator => (None, None),
        };
        let asked = Asked { subject, token, repository: name.as_str() };
        let facts = access::facts(&*self.sql, Freshness::Latest, asked).await?;
        let question = Question { action, repository: name, at: self.clock.now() };
        let rules = Rules { create_on_push: true, anonymous_pull: false };
        let decision = decide(&rules, caller, &facts, question);
        Ok((facts, decision))
    }
}

/// What is set of a repository, in words.
fn set(public: Option<bool>, immutable: Option<bool>) -> String {
    let public = public.map(|public| if public { "public" } else { "private" });
    let tags = immutable.map(|immutable| if immutable { "immutable tags" } else { "tags that move" });
    [public, tags].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A decision that is not the one hoped for.
fn refused(decision: Decision, name: &RepositoryName) -> IdentityError {
    match decision {
        Decision::Unauthorized => IdentityError::Unauthorized,
        Decision::Denied(why) => IdentityError::Denied(format!("{name}: {why}")),
        Decision::Allowed | Decision::AllowedMaking(_) | Decision::NameUnknown => {
            IdentityError::Registry(Error::NameUnknown(name.clone()))
        }
    }
}
