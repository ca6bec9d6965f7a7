//! What is granted to whom.

use roadstead_metadata::records::access::{Access, namespace_of};
use roadstead_metadata::records::grant::{self, Grant, Grantee, Object};
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use super::deed::Deed;
use super::{Identities, IdentityError, Outcome};
use crate::registry::canonical;
use crate::{Action, Caller};

/// On what access is granted.
#[derive(Debug, Clone)]
pub enum GrantTarget {
    /// One repository; its admins grant.
    Repository(RepositoryName),
    /// All that is and will be in a namespace; its user or its owners grant.
    Namespace(String),
}

impl GrantTarget {
    fn namespace(&self) -> &str {
        match self {
            GrantTarget::Repository(name) => namespace_of(name.as_str()),
            GrantTarget::Namespace(name) => name,
        }
    }
}

impl GrantTarget {
    /// What is done there to what somebody may.
    fn deed<'a>(&self, caller: &'a Caller, action: &'static str, whose: &str) -> Deed<'a> {
        match self {
            GrantTarget::Repository(name) => Deed::new(caller, action, whose).within(name),
            GrantTarget::Namespace(name) => Deed::new(caller, action, format!("{whose} on {name}/")),
        }
    }
}

/// Access to grant.
#[derive(Debug, Clone)]
pub struct NewGrant<'a> {
    /// On what.
    pub target: GrantTarget,
    /// To whom: a team as in `acme/dev`, a robot as in `acme+ci`, or a user.
    pub to: &'a str,
    /// What they may.
    pub access: Access,
}

impl Identities {
    /// Grants access in place of what the same had there before.
    pub async fn put_grant(&self, caller: &Caller, new: &NewGrant<'_>) -> Outcome<()> {
        let object = self.granted_object(caller, &new.target).await?;
        let to = self.grantee(&new.target, new.to).await?;
        match self
            .change(
                new.target.deed(caller, "grant.put", new.to).with(named(new.access)),
                grant::put(object, to, new.access, self.clock.now()),
            )
            .await?
        {
            true => Ok(()),
            false => Err(IdentityError::Unknown(format!("{} or what it was to get has gone", new.to))),
        }
    }

    /// Takes back what somebody (as in [`NewGrant::to`]) was granted there; nothing when nothing was, also when there is
    /// nobody of this name: who takes back learns nothing of the accounts of others. System admins, who may see all of them,
    /// are told of a name that is misspelt.
    pub async fn remove_grant(&self, caller: &Caller, target: &GrantTarget, from: &str) -> Outcome<()> {
        let object = self.granted_object(caller, target).await?;
        let (name, from) = match self.grantee(target, from).await {
            Ok(grantee) => (from, grantee),
            Err(IdentityError::Unknown(_)) if !self.is_admin(caller).await? => return Ok(()),
            Err(error) => return Err(error),
        };
        self.change(target.deed(caller, "grant.remove", name), grant::remove(object, from.id())).await.map(drop)
    }

    /// What is granted there, after the one to the id `after`.
    pub async fn grants(
        &self,
        caller: &Caller,
        target: &GrantTarget,
        after: Uuid,
        limit: usize,
    ) -> Outcome<Vec<Grant>> {
        let object = self.granted_object(caller, target).await?;
        Ok(grant::page(&*self.sql, object, after, limit as i64).await?)
    }

    async fn granted_object(&self, caller: &Caller, target: &GrantTarget) -> Outcome<Object> {
        match target {
            GrantTarget::Repository(name) => {
                Ok(Object::Repository(self.require(caller, Action::Admin, &canonical(name)).await?))
            }
            GrantTarget::Namespace(name) => Ok(Object::Namespace(self.owner(caller, name).await?.0)),
        }
    }

    /// Whom a name means that something there is granted to.
    async fn grantee(&self, target: &GrantTarget, name: &str) -> Outcome<Grantee> {
        // By names alone, so that nobody learns what teams others have.
        let organization = name.split_once('/').map(|(organization, _)| organization);
        if organization.is_some_and(|organization| organization != target.namespace()) {
            return Err(IdentityError::Refused(format!(
                "team {name} has access to repositories of its own organization only; name a user or a robot"
            )));
        }
        match name.split_once('/') {
            Some((organization, team)) => Ok(Grantee::Team(self.team_named(organization, team).await?.id)),
            None if name.contains('+') => Ok(Grantee::Robot(self.robot_named(name).await?.id)),
            None => Ok(Grantee::User(self.user_named(name).await?.id)),
        }
    }
}

fn named(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read-only",
        Access::ReadWrite => "read-write",
        Access::Admin => "admin",
    }
}
