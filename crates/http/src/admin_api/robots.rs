//! Robots of users and organizations.

use roadstead_metadata::Millis;
use roadstead_metadata::records::robot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call::{Call, done, made};
use super::pages::Asked;
use super::refusals::Answer;

/// A robot.
#[derive(Serialize, JsonSchema)]
pub(super) struct Robot {
    /// Its name, as it logs in: `acme+ci`.
    name: String,
    /// Since when it is there, in milliseconds since the Unix epoch.
    created_at: Millis,
}

impl Robot {
    fn of(namespace: &str, robot: &robot::Robot) -> Self {
        Self { name: format!("{namespace}+{}", robot.name), created_at: robot.created_at }
    }
}

/// A robot to add.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRobot {
    /// Its name in the namespace: `ci` of `acme+ci`.
    name: String,
}

pub(super) async fn list(call: Call) -> Answer {
    let page = Asked::of(&call)?;
    let namespace = call.named("namespace");
    let found = call.identities().robots(&call.caller, namespace, page.name(), page.limit()).await?;
    page.answer(&call, found, |robot| robot.name.clone(), |robot| Robot::of(namespace, &robot))
}

pub(super) async fn add(call: Call) -> Answer {
    let NewRobot { name } = call.body()?;
    let namespace = call.named("namespace");
    made(&Robot::of(namespace, &call.identities().create_robot(&call.caller, namespace, &name).await?))
}

pub(super) async fn remove(call: Call) -> Answer {
    call.identities().remove_robot(&call.caller, call.named("namespace"), call.named("robot")).await?;
    done()
}
