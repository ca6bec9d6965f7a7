//! Organizations and their members.

use roadstead_metadata::Millis;
use roadstead_metadata::records::organization::{self, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{Call, done, made, shown};
use super::pages::Asked;
use super::refusals::Answer;

/// An organization.
#[derive(Serialize, JsonSchema)]
pub(super) struct Organization {
    /// Its name, and that of its namespace.
    name: String,
    /// Since when there is a namespace of this name, in milliseconds since the Unix epoch.
    created_at: Millis,
}

impl From<organization::Organization> for Organization {
    fn from(organization: organization::Organization) -> Self {
        let organization::Organization { name, created_at, .. } = organization;
        Self { name, created_at }
    }
}

/// An organization to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrganization {
    /// Its name, and that of its namespace.
    name: String,
}

/// A member of an organization.
#[derive(Serialize, JsonSchema)]
pub(super) struct Member {
    /// The user.
    user: String,
    /// What it may.
    role: Rank,
}

/// What a member may: an owner everything in the organization's namespace, a member what its teams and grants allow.
#[derive(Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rank {
    #[default]
    Member,
    Owner,
}

impl From<Role> for Rank {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Rank::Member,
            Role::Owner => Rank::Owner,
        }
    }
}

/// What a member becomes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    /// What it may.
    #[serde(default)]
    role: Rank,
}

pub(super) async fn list(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let found = call.identities().organizations(&call.caller, page.name(), page.limit()).await?;
    page.answer(&call, found, |organization| organization.name.clone(), Organization::from)
}

pub(super) async fn add(call: Call) -> Answer {
    let NewOrganization { name } = call.body()?;
    made(&Organization::from(call.identities().create_organization(&call.caller, &name).await?))
}

pub(super) async fn show(call: Call) -> Answer {
    let found = call.identities().organization(&call.caller, call.named("organization")).await?;
    shown(&Organization::from(found))
}

pub(super) async fn remove(call: Call) -> Answer {
    call.identities().remove_organization(&call.caller, call.named("organization")).await?;
    done()
}

pub(super) async fn members(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let organization = call.named("organization");
    let found = call.identities().members(&call.caller, organization, page.id()?, page.limit()).await?;
    let shown = |member: organization::Member| Member { user: member.name, role: member.role.into() };
    page.answer(&call, found, |member| member.user.to_string(), shown)
}

pub(super) async fn put_member(call: Call) -> Answer {
    let NewMember { role } = call.body()?;
    let (organization, user) = (call.named("organization"), call.named("user"));
    let of = match role {
        Rank::Member => Role::Member,
        Rank::Owner => Role::Owner,
    };
    call.identities().put_member(&call.caller, organization, user, of).await?;
    shown(&Member { user: user.to_owned(), role })
}

pub(super) async fn remove_member(call: Call) -> Answer {
    let (organization, user) = (call.named("organization"), call.named("user"));
    call.identities().remove_member(&call.caller, organization, user).await?;
    done()
}
