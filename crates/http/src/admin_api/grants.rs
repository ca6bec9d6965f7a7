//! What is granted on repositories and namespaces.

use roadstead_metadata::records::access;
use roadstead_metadata::records::grant::{self, Grantee};
use roadstead_registry::identities::{GrantTarget, NewGrant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{Call, done, shown};
use super::pages::Asked;
use super::refusals::{Answer, Refusal};

/// What is granted to somebody: to a team, a user or a robot.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    /// `acme/dev`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// `bob`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// `acme+ci`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    robot: Option<String>,
    /// What it may.
    access: Access,
}

/// What a grant allows. Each includes those before it.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
    Admin,
}

impl From<access::Access> for Access {
    fn from(access: access::Access) -> Self {
        match access {
            access::Access::ReadOnly => Access::ReadOnly,
            access::Access::ReadWrite => Access::ReadWrite,
            access::Access::Admin => Access::Admin,
        }
    }
}

impl From<Access> for access::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::ReadOnly => access::Access::ReadOnly,
            Access::ReadWrite => access::Access::ReadWrite,
            Access::Admin => access::Access::Admin,
        }
    }
}

impl From<grant::Grant> for Grant {
    fn from(grant: grant::Grant) -> Self {
        let (name, access) = (grant.name, grant.access.into());
        let nobody = Self { team: None, user: None, robot: None, access };
        match grant.grantee {
            Grantee::Team(_) => Self { team: Some(name), ..nobody },
            Grantee::User(_) => Self { user: Some(name), ..nobody },
            Grantee::Robot(_) => Self { robot: Some(name), ..nobody },
        }
    }
}

/// The one of the three that is given, if its name is of that kind.
fn grantee<'a>(team: Option<&'a str>, user: Option<&'a str>, robot: Option<&'a str>) -> Result<&'a str, Refusal> {
    let (name, kind, fits): (_, _, fn(&str) -> bool) = match (team, user, robot) {
        (Some(team), None, None) => (team, "a team is named as in acme/dev", |name| name.matches('/').count() == 1),
        (None, Some(user), None) => (user, "a user is named as in bob", |name| !name.contains(['/', '+'])),
        (None, None, Some(robot)) => {
            (robot, "a robot is named as in acme+ci", |name| name.contains('+') && !name.contains('/'))
        }
        _ => return Err(Refusal::invalid("say to whom: one of team, user and robot")),
    };
    if fits(name) { Ok(name) } else { Err(Refusal::invalid(format!("{name:?}: {kind}"))) }
}

fn target(call: &Call) -> Result<GrantTarget, Refusal> {
    match call.named("namespace") {
        "" => call.repository().map(GrantTarget::Repository),
        namespace => Ok(GrantTarget::Namespace(namespace.to_owned())),
    }
}

pub(super) async fn list(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let found = call.identities().grants(&call.caller, &target(&call)?, page.id()?, page.limit()).await?;
    page.answer(&call, found, |grant| grant.grantee.id().to_string(), Grant::from)
}

pub(super) async fn put(call: Call) -> Answer {
    let grant: Grant = call.body()?;
    let to = grantee(grant.team.as_deref(), grant.user.as_deref(), grant.robot.as_deref())?;
    let new = NewGrant { target: target(&call)?, to, access: grant.access.into() };
    call.identities().put_grant(&call.caller, &new).await?;
    shown(&grant)
}

pub(super) async fn remove(call: Call) -> Answer {
    let [team, user, robot] = ["team", "user", "robot"].map(|kind| call.query.get(kind));
    let from = grantee(team, user, robot)?;
    call.identities().remove_grant(&call.caller, &target(&call)?, from).await?;
    done()
}
