//! Teams of organizations.

use roadstead_metadata::Millis;
use roadstead_metadata::records::team;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{Call, done, made, shown};
use super::pages::Asked;
use super::refusals::Answer;

/// A team.
#[derive(Serialize, JsonSchema)]
pub(super) struct Team {
    /// Its name in the organization.
    name: String,
    /// Since when it is there, in milliseconds since the Unix epoch.
    created_at: Millis,
}

impl From<team::Team> for Team {
    fn from(team: team::Team) -> Self {
        Self { name: team.name, created_at: team.created_at }
    }
}

/// A team to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTeam {
    /// Its name in the organization.
    name: String,
}

/// A member of a team.
#[derive(Serialize, JsonSchema)]
pub(super) struct TeamMember {
    /// The user.
    user: String,
}

pub(super) async fn list(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let organization = call.named("organization");
    let found = call.identities().teams(&call.caller, organization, page.name(), page.limit()).await?;
    page.answer(&call, found, |team| team.name.clone(), Team::from)
}

pub(super) async fn add(call: Call) -> Answer {
    let NewTeam { name } = call.body()?;
    made(&Team::from(call.identities().create_team(&call.caller, call.named("organization"), &name).await?))
}

pub(super) async fn remove(call: Call) -> Answer {
    call.identities().remove_team(&call.caller, call.named("organization"), call.named("team")).await?;
    done()
}

pub(super) async fn members(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let (organization, team) = (call.named("organization"), call.named("team"));
    let found = call.identities().team_members(&call.caller, organization, team, page.id()?, page.limit()).await?;
    page.answer(&call, found, |(id, _)| id.to_string(), |(_, user)| TeamMember { user })
}

pub(super) async fn put_member(call: Call) -> Answer {
    let (organization, team, user) = (call.named("organization"), call.named("team"), call.named("user"));
    call.identities().put_team_member(&call.caller, organization, team, user).await?;
    shown(&TeamMember { user: user.to_owned() })
}

pub(super) async fn remove_member(call: Call) -> Answer {
    let (organization, team, user) = (call.named("organization"), call.named("team"), call.named("user"));
    call.identities().remove_team_member(&call.caller, organization, team, user).await?;
    done()
}
