//! Robots, shown as `namespace+name`. A robot may do what is granted to it and logs in by its tokens.

use roadstead_metadata::records::robot::{self, Robot};
use uuid::Uuid;

use super::deed::Deed;
use super::{Identities, IdentityError, Outcome, names};
use crate::Caller;

impl Identities {
    /// Adds a robot. For the namespace's user, or owners.
    pub async fn create_robot(&self, caller: &Caller, namespace: &str, name: &str) -> Outcome<Robot> {
        let (id, _) = self.owner(caller, namespace).await?;
        names::check("a robot", name)?;
        let (made, at) = (Uuid::now_v7(), self.clock.now());
        let robot = Robot { id: made, namespace: id, name: name.to_owned(), created_at: at };
        match self.change(Deed::new(caller, "robot.add", format!("{namespace}+{name}")), robot::create(&robot)).await? {
            true => Ok(robot),
            false => Err(IdentityError::Exists(format!("there is a robot {namespace}+{name} already"))),
        }
    }

    /// Robots in the order of their names after `after`. For the namespace's user, or owners.
    pub async fn robots(&self, caller: &Caller, namespace: &str, after: &str, limit: usize) -> Outcome<Vec<Robot>> {
        let (id, _) = self.owner(caller, namespace).await?;
        Ok(robot::page(&*self.sql, id, after, limit as i64).await?)
    }

    /// Removes a robot with its tokens and grants. For the namespace's user, or owners.
    pub async fn remove_robot(&self, caller: &Caller, namespace: &str, name: &str) -> Outcome<()> {
        self.owner(caller, namespace).await?;
        let shown = format!("{namespace}+{name}");
        let robot = self.robot_named(&shown).await?;
        match self.change(Deed::new(caller, "robot.remove", &shown), robot::remove(robot.id)).await? {
            true => Ok(()),
            false => Err(no_robot(&shown)),
        }
    }

    /// A robot by the name it is shown with.
    pub(super) async fn robot_named(&self, shown: &str) -> Outcome<Robot> {
        let (namespace, name) = shown.split_once('+').ok_or_else(|| no_robot(shown))?;
        robot::by_name(&*self.sql, namespace, name).await?.ok_or_else(|| no_robot(shown))
    }
}

pub(super) fn no_robot(shown: &str) -> IdentityError {
    IdentityError::Unknown(format!("there is no robot {shown}; one is named as in acme+ci"))
}
