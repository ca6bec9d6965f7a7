//! Users.

use roadstead_metadata::Freshness;
use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::account::{self, Account};
use roadstead_metadata::records::{organization, repository};
use uuid::Uuid;

use super::deed::Deed;
use super::often::For;
use super::{Identities, IdentityError, Outcome, Passwords, contended, names};
use crate::Caller;
use crate::commit::ROUNDS;

/// A user to add.
#[derive(Clone)]
pub struct NewUser<'a> {
    /// Its name, and that of its namespace.
    pub name: &'a str,
    /// Its password; without one it can only log in by a token.
    pub password: Option<&'a str>,
    /// Whether it is a system admin.
    pub admin: bool,
}

/// Without the password.
impl std::fmt::Debug for NewUser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// A new password.
#[derive(Clone, Copy)]
pub struct NewPassword<'a> {
    /// The password.
    pub password: &'a str,
    /// The one so far, which who comes with an access token has to know to change its own.
    pub present: Option<&'a str>,
}

impl<'a> From<&'a str> for NewPassword<'a> {
    fn from(password: &'a str) -> Self {
        Self { password, present: None }
    }
}

/// Without the passwords.
impl std::fmt::Debug for NewPassword<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewPassword").finish_non_exhaustive()
    }
}

/// What changes of a user; `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserChange {
    /// Whether it is a system admin.
    pub admin: Option<bool>,
    /// Whether it may do anything at all.
    pub active: Option<bool>,
}

impl Identities {
    /// Adds a user. For system admins.
    pub async fn create_user(&self, caller: &Caller, new: &NewUser<'_>) -> Outcome<Account> {
        self.admin(caller).await?;
        names::check_namespace("a user", new.name)?;
        let hash = match new.password {
            Some(password) => Some(self.hash(caller, For::Others, password).await?),
            None => None,
        };
        let at = self.clock.now();
        let made = account::create(Uuid::now_v7(), new.name, hash.as_deref(), new.admin, at);
        let deed = Deed::new(caller, "user.add", new.name).with(if new.admin { "system admin" } else { "user" });
        match self.change(deed, made).await? {
            true => self.user_named(new.name).await,
            false => Err(taken(new.name)),
        }
    }

    /// Adds a user for whom `source` vouches, before its first login: to grant it something, or because its name was
    /// pushed to already. For system admins.
    pub async fn create_user_of(&self, caller: &Caller, name: &str, source: &str, admin: bool) -> Outcome<Account> {
        self.admin(caller).await?;
        names::check_namespace("a user", name)?;
        self.known_source(source)?;
        let made = account::create_of(Uuid::now_v7(), name, source, admin, self.clock.now());
        let kind = if admin { "system admin" } else { "user" };
        match self.change(Deed::new(caller, "user.add", name).with(format!("{kind} of {source}")), made).await? {
            true => self.user_named(name).await,
            false => Err(taken(name)),
        }
    }

    /// Adds the first system admin. `Ok(false)` when there is one already, other than of a source: of several instances that
    /// start at once one adds it. `Exists` when the name is somebody else's. For the start of the process.
    pub async fn create_first_admin(&self, name: &str, password: &str) -> Outcome<bool> {
        names::check_namespace("a user", name)?;
        if account::admins(&*self.sql).await? > 0 {
            return Ok(false);
        }
        let hash = self.passwords.hash(password).await?;
        let made = account::create(Uuid::now_v7(), name, Some(&hash), true, self.clock.now());
        let deed = Deed::of_system("user.add", name).with("system admin");
        if self.change(deed, [account::guard_no_admin()].into_iter().chain(made)).await? {
            return Ok(true);
        }
        match account::admins(&*self.sql).await? {
            0 => Err(taken(name)),
            _ => Ok(false),
        }
    }

    /// Users in the order of their names after `after`. For system admins.
    pub async fn users(&self, caller: &Caller, after: &str, limit: usize) -> Outcome<Vec<Account>> {
        self.admin(caller).await?;
        Ok(account::page(&*self.sql, after, limit as i64).await?)
    }

    /// A user. For system admins and itself.
    pub async fn user(&self, caller: &Caller, name: &str) -> Outcome<Account> {
        self.self_or_admin(caller, name).await
    }

    /// Makes somebody a system admin or not, active or not. For system admins.
    pub async fn change_user(&self, caller: &Caller, name: &str, change: UserChange) -> Outcome<Account> {
        self.admin(caller).await?;
        let user = self.user_named(name).await?;
        let word = |set: Option<bool>, yes: &'static str, no: &'static str| set.map(|set| if set { yes } else { no });
        let made = [word(change.admin, "system admin", "no system admin"), word(change.active, "active", "not active")];
        let made = made.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let deed = Deed::new(caller, "user.change", name).with(made);
        if self.change(deed, account::set_power(user.id, change.admin, change.active)).await? {
            return self.user_named(name).await;
        }
        self.user_named(name).await?;
        Err(last_admin(name))
    }

    /// Lets the next login by a user's name be that user, whoever its source says that it is. For system admins.
    pub async fn relink_user(&self, caller: &Caller, name: &str) -> Outcome<Account> {
        self.admin(caller).await?;
        let user = self.user_named(name).await?;
        if user.source.is_none() {
            return Err(IdentityError::Refused(format!("user {name} is of no source; it has nothing to be linked to")));
        }
        self.change(Deed::new(caller, "user.relink", name), account::unbind(user.id)).await?;
        self.user_named(name).await
    }

    /// A new password: what came with the old one does not hold any more; access tokens do. For system admins and itself;
    /// with an access token its own only by who also knows the present one, or who finds a token would have the account.
    /// `TooOften` when the caller may and does it too often: what is refused for other reasons does not count.
    pub async fn set_password<'a>(
        &self,
        caller: &Caller,
        name: &str,
        new: impl Into<NewPassword<'a>> + Send,
    ) -> Outcome<()> {
        let new = new.into();
        let user = self.self_or_admin(caller, name).await?;
        if let Some(source) = &user.source {
            return Err(IdentityError::Refused(format!("user {name} is one of {source}; change its password there")));
        }
        Passwords::check(new.password)?;
        let own = is(caller, &user);
        if own {
            self.knows_present(caller, &user, new.present).await?;
        }
        let hash = self.hash(caller, if own { For::Own } else { For::Others }, new.password).await?;
        match self
            .change(Deed::new(caller, "user.password", name), account::set_password(user.id, &hash, self.clock.now()))
            .await?
        {
            true => Ok(()),
            false => Err(IdentityError::Unknown(format!("there is no user {name}"))),
        }
    }

    /// Removes a user with its tokens, robots, memberships and grants. `Refused` while it owns repositories, is the last
    /// owner of an organization, or the last system admin. For system admins.
    pub async fn remove_user(&self, caller: &Caller, name: &str) -> Outcome<()> {
        self.admin(caller).await?;
        for _ in 0..ROUNDS {
            let user = self.user_named(name).await?;
            if self.change(Deed::new(caller, "user.remove", name), account::remove(user.id, self.clock.now())).await? {
                return Ok(());
            }
            if let Some(owned) = repository::some_of(&*self.sql, user.id, 1).await?.first() {
                return Err(IdentityError::Refused(format!(
                    "user {name} owns repositories, {owned} among them; remove those first"
                )));
            }
            if let Some(organization) = organization::owned_alone(&*self.sql, user.id).await? {
                return Err(IdentityError::Refused(format!(
                    "user {name} is the last owner of organization {organization}; make somebody else an owner first"
                )));
            }
            let counts = user.admin && user.active && user.password_hash.is_some();
            if counts && account::admins(&*self.sql).await? <= 1 {
                return Err(last_admin(name));
            }
        }
        Err(contended())
    }

    /// Whether the caller has shown the present password of its own account, or shows it now.
    async fn knows_present(&self, caller: &Caller, user: &Account, present: Option<&str>) -> Outcome<()> {
        if !matches!(caller, Caller::Known(identity) if identity.token.is_some()) {
            return Ok(());
        }
        let denied = |why: &str| Err(IdentityError::Denied(why.to_owned()));
        let Some(present) = present else {
            return denied(
                "an access token does not change the password of its owner; give the present one, too, or log in with it",
            );
        };
        let guess = self.often.begin(caller, For::Guess)?;
        let known = self.passwords.verify(present, user.password_hash.as_deref()).await;
        if let Some(guess) = guess.filter(|_| !matches!(known, Ok(false))) {
            guess.give_back();
        }
        match known? {
            true => Ok(()),
            false => denied("the present password is another one"),
        }
    }

    /// The hash of a new password, which counts for `caller` if it is computed.
    async fn hash(&self, caller: &Caller, purpose: For, password: &str) -> Outcome<String> {
        Passwords::check(password)?;
        let begun = self.often.begin(caller, purpose)?;
        let hash = self.passwords.hash(password).await;
        if let Some(begun) = begun.filter(|_| hash.is_err()) {
            begun.give_back();
        }
        hash
    }

    /// The user of this name, to itself and system admins; to others there is none.
    pub(super) async fn self_or_admin(&self, caller: &Caller, name: &str) -> Outcome<Account> {
        let power = self.power(caller, "/").await?;
        let found = account::by_name(&*self.sql, Freshness::Latest, name).await?;
        let own = |account: &Account| power.subject == Some(Subject::User(account.id));
        found
            .filter(|account| power.admin || own(account))
            .ok_or_else(|| IdentityError::Unknown(format!("there is no user {name}")))
    }
}

/// Whether the caller is this user.
fn is(caller: &Caller, user: &Account) -> bool {
    matches!(caller, Caller::Known(identity) if identity.subject == Subject::User(user.id))
}

/// Somebody has that name.
pub(super) fn taken(name: &str) -> IdentityError {
    IdentityError::Exists(format!("there is a user or an organization {name} already; choose another name"))
}

fn last_admin(name: &str) -> IdentityError {
    IdentityError::Refused(format!(
        "user {name} is the last active system admin with a password here; make somebody else one first"
    ))
}
