//! Organizations and their members.

use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::organization::{self, Member, Organization, Role};
use roadstead_metadata::records::repository;
use uuid::Uuid;

use super::deed::Deed;
use super::users::taken;
use super::{Identities, IdentityError, Outcome, contended, names};
use crate::Caller;
use crate::commit::ROUNDS;

impl Identities {
    /// Adds an organization; the user that adds it is its first owner. For system admins.
    pub async fn create_organization(&self, caller: &Caller, name: &str) -> Outcome<Organization> {
        let power = self.power(caller, "/").await?;
        if !power.admin {
            return Err(IdentityError::Denied("only system admins add organizations".to_owned()));
        }
        names::check_namespace("an organization", name)?;
        let owner = match power.subject {
            Some(Subject::User(id)) => Some(id),
            _ => None,
        };
        let deed = Deed::new(caller, "organization.add", name);
        match self.change(deed, organization::create(Uuid::now_v7(), name, owner, self.clock.now())).await? {
            true => self.organization_named(name).await,
            false => Err(taken(name)),
        }
    }

    /// Organizations in the order of their names after `after`. For system admins.
    pub async fn organizations(&self, caller: &Caller, after: &str, limit: usize) -> Outcome<Vec<Organization>> {
        self.admin(caller).await?;
        Ok(organization::page(&*self.sql, after, limit as i64).await?)
    }

    /// An organization. For its owners and members.
    pub async fn organization(&self, caller: &Caller, name: &str) -> Outcome<Organization> {
        self.organization_of_member(caller, name).await?;
        self.organization_named(name).await
    }

    /// Removes an organization with its teams, robots, memberships and grants; `Refused` while it has repositories. For its
    /// owners.
    pub async fn remove_organization(&self, caller: &Caller, name: &str) -> Outcome<()> {
        for _ in 0..ROUNDS {
            let id = self.owned_organization(caller, name).await?;
            if self.change(Deed::new(caller, "organization.remove", name), organization::remove(id)).await? {
                return Ok(());
            }
            if let Some(owned) = repository::some_of(&*self.sql, id, 1).await?.first() {
                return Err(IdentityError::Refused(format!(
                    "organization {name} has repositories, {owned} among them; remove those first"
                )));
            }
        }
        Err(contended())
    }

    /// Members, after the one with the id `after`. For owners and members.
    pub async fn members(&self, caller: &Caller, name: &str, after: Uuid, limit: usize) -> Outcome<Vec<Member>> {
        let id = self.organization_of_member(caller, name).await?;
        Ok(organization::members(&*self.sql, id, after, limit as i64).await?)
    }

    /// Makes a user a member or an owner; `Refused` when it is the last owner and would be none. For owners.
    pub async fn put_member(&self, caller: &Caller, organization: &str, user: &str, role: Role) -> Outcome<()> {
        for _ in 0..ROUNDS {
            let id = self.owned_organization(caller, organization).await?;
            let member = self.user_named(user).await?;
            let role_name = match role {
                Role::Owner => "owner",
                Role::Member => "member",
            };
            let deed =
                Deed::new(caller, "organization.member.put", user).with(format!("{role_name} of {organization}"));
            if self.change(deed, organization::put_member(id, member.id, role, self.clock.now())).await? {
                return Ok(());
            }
            if role == Role::Member {
                self.not_the_last_owner(organization, user, member.id).await?;
            }
        }
        Err(contended())
    }

    /// A member leaves the organization and its teams; `Refused` when it is the last owner. For owners, and for whoever
    /// leaves.
    pub async fn remove_member(&self, caller: &Caller, organization: &str, user: &str) -> Outcome<()> {
        for _ in 0..ROUNDS {
            let id = match self.self_or_admin(caller, user).await {
                Ok(_) => self.organization_of_member(caller, organization).await?,
                Err(_) => self.owned_organization(caller, organization).await?,
            };
            let member = self.user_named(user).await?;
            let deed = Deed::new(caller, "organization.member.remove", user).with(organization);
            if self.change(deed, organization::remove_member(id, member.id)).await? {
                return Ok(());
            }
            self.not_the_last_owner(organization, user, member.id).await?;
            let just_before = Uuid::from_u128(member.id.as_u128().saturating_sub(1));
            let found = organization::members(&*self.sql, id, just_before, 1).await?;
            if found.first().is_none_or(|found| found.user != member.id) {
                return Err(IdentityError::Unknown(format!("user {user} is no member of {organization}")));
            }
        }
        Err(contended())
    }

    async fn not_the_last_owner(&self, organization: &str, user: &str, id: Uuid) -> Outcome<()> {
        let found = self.organization_named(organization).await?.id;
        let owners = organization::owners(&*self.sql, found, 2).await?;
        match owners[..] {
            [only] if only == id => Err(IdentityError::Refused(format!(
                "user {user} is the last owner of organization {organization}; make somebody else an owner first"
            ))),
            _ => Ok(()),
        }
    }

    /// An organization, to its members and system admins; to others there is none.
    pub(super) async fn organization_of_member(&self, caller: &Caller, name: &str) -> Outcome<Uuid> {
        let power = self.power(caller, &format!("{name}/")).await?;
        let found = self.organization_named(name).await?;
        match power.admin || power.facts.owner.is_some() {
            true => Ok(found.id),
            false => Err(no_organization(name)),
        }
    }

    async fn organization_named(&self, name: &str) -> Outcome<Organization> {
        organization::by_name(&*self.sql, name).await?.ok_or_else(|| no_organization(name))
    }
}

fn no_organization(name: &str) -> IdentityError {
    IdentityError::Unknown(format!("there is no organization {name}"))
}
