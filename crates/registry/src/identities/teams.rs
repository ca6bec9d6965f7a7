//! Teams of organizations. They are shown as `organization/team`.

use roadstead_metadata::records::team::{self, Team};
use uuid::Uuid;

use super::deed::Deed;
use super::{Identities, IdentityError, Outcome, names};
use crate::Caller;

impl Identities {
    /// Adds a team. For owners of the organization.
    pub async fn create_team(&self, caller: &Caller, organization: &str, name: &str) -> Outcome<Team> {
        let id = self.owned_organization(caller, organization).await?;
        names::check("a team", name)?;
        let (made, at) = (Uuid::now_v7(), self.clock.now());
        let team = Team { id: made, organization: id, name: name.to_owned(), created_at: at };
        match self.change(Deed::new(caller, "team.add", format!("{organization}/{name}")), team::create(&team)).await? {
            true => Ok(team),
            false => Err(IdentityError::Exists(format!("there is a team {organization}/{name} already"))),
        }
    }

    /// Teams in the order of their names after `after`. For members of the organization.
    pub async fn teams(&self, caller: &Caller, organization: &str, after: &str, limit: usize) -> Outcome<Vec<Team>> {
        let id = self.organization_of_member(caller, organization).await?;
        Ok(team::page(&*self.sql, id, after, limit as i64).await?)
    }

    /// Removes a team with what was granted to it. For owners.
    pub async fn remove_team(&self, caller: &Caller, organization: &str, name: &str) -> Outcome<()> {
        self.owned_organization(caller, organization).await?;
        let team = self.team_named(organization, name).await?;
        match self
            .change(Deed::new(caller, "team.remove", format!("{organization}/{name}")), team::remove(&team))
            .await?
        {
            true => Ok(()),
            false => Err(no_team(organization, name)),
        }
    }

    /// Ids and names of members, after the one with the id `after`. For members of the organization.
    pub async fn team_members(
        &self,
        caller: &Caller,
        organization: &str,
        name: &str,
        after: Uuid,
        limit: usize,
    ) -> Outcome<Vec<(Uuid, String)>> {
        self.organization_of_member(caller, organization).await?;
        let team = self.team_named(organization, name).await?;
        Ok(team::members(&*self.sql, team.id, after, limit as i64).await?)
    }

    /// Makes a user a member of the team, and of the organization if it is none. For owners.
    pub async fn put_team_member(&self, caller: &Caller, organization: &str, name: &str, user: &str) -> Outcome<()> {
        self.owned_organization(caller, organization).await?;
        let team = self.team_named(organization, name).await?;
        let member = self.user_named(user).await?;
        let deed = Deed::new(caller, "team.member.put", user).with(format!("{organization}/{name}"));
        match self.change(deed, team::put_member(&team, member.id, self.clock.now())).await? {
            true => Ok(()),
            false => Err(IdentityError::Unknown(format!("team {organization}/{name} or user {user} has gone"))),
        }
    }

    /// A member leaves the team, not the organization. For owners.
    pub async fn remove_team_member(&self, caller: &Caller, organization: &str, name: &str, user: &str) -> Outcome<()> {
        self.owned_organization(caller, organization).await?;
        let team = self.team_named(organization, name).await?;
        let member = self.user_named(user).await?;
        let deed = Deed::new(caller, "team.member.remove", user).with(format!("{organization}/{name}"));
        match self.change(deed, team::remove_member(team.id, member.id)).await? {
            true => Ok(()),
            false => Err(IdentityError::Unknown(format!("user {user} is no member of team {organization}/{name}"))),
        }
    }

    pub(super) async fn team_named(&self, organization: &str, name: &str) -> Outcome<Team> {
        team::by_name(&*self.sql, organization, name).await?.ok_or_else(|| no_team(organization, name))
    }
}

fn no_team(organization: &str, name: &str) -> IdentityError {
    IdentityError::Unknown(format!("there is no team {organization}/{name}"))
}
