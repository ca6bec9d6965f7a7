//! Repositories and how they are set.

use roadstead_metadata::Millis;
use roadstead_metadata::records::repository;
use roadstead_registry::identities::{self, RepositoryChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{self, Call, done, made, shown};
use super::pages::Asked;
use super::refusals::Answer;

/// A repository.
#[derive(Serialize, JsonSchema)]
pub(super) struct Repository {
    /// Its name.
    name: String,
    /// Who may pull from it.
    visibility: Visibility,
    /// Whether tags that are there neither move nor go.
    immutable_tags: bool,
    /// Since when it is there, in milliseconds since the Unix epoch.
    created_at: Millis,
}

impl From<repository::Repository> for Repository {
    fn from(repository: repository::Repository) -> Self {
        let repository::Repository { name, public, immutable_tags, created_at, .. } = repository;
        let visibility = if public { Visibility::Public } else { Visibility::Private };
        Self { name, visibility, immutable_tags, created_at }
    }
}

/// Who may pull from a repository: everybody, or those with access.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Visibility {
    Public,
    #[default]
    Private,
}

/// A repository to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRepository {
    /// Its name; its namespace has to be there.
    name: String,
    /// Who may pull from it.
    #[serde(default)]
    visibility: Visibility,
    /// Whether tags that are there neither move nor go.
    #[serde(default)]
    immutable_tags: bool,
}

/// What changes of a repository; what is not given stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedRepository {
    /// Who may pull from it.
    #[serde(default)]
    visibility: Option<Visibility>,
    /// Whether tags that are there neither move nor go.
    #[serde(default)]
    immutable_tags: Option<bool>,
}

pub(super) async fn list(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let found = call.identities().repositories(&call.caller, page.name(), page.limit()).await?;
    page.answer(&call, found, |repository| repository.name.clone(), Repository::from)
}

pub(super) async fn add(call: Call) -> Answer {
    let NewRepository { name, visibility, immutable_tags } = call.body()?;
    let public = visibility == Visibility::Public;
    let new = identities::NewRepository { name: call::repository(&name)?, public, immutable_tags };
    made(&Repository::from(call.identities().create_repository(&call.caller, new).await?))
}

pub(super) async fn show(call: Call) -> Answer {
    shown(&Repository::from(call.identities().repository(&call.caller, &call.repository()?).await?))
}

pub(super) async fn change(call: Call) -> Answer {
    let ChangedRepository { visibility, immutable_tags } = call.body()?;
    let public = visibility.map(|visibility| visibility == Visibility::Public);
    let change = RepositoryChange { public, immutable_tags };
    let changed = call.identities().change_repository(&call.caller, &call.repository()?, change).await?;
    shown(&Repository::from(changed))
}

pub(super) async fn remove(call: Call) -> Answer {
    call.identities().remove_repository(&call.caller, &call.repository()?).await?;
    done()
}
