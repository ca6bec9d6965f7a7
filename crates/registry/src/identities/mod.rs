//! Who there is and what is granted to whom: the use cases of administration, and logging in.
//!
//! Each asks first, where metadata is newest, whether its caller may; and ends in one commit, whose guards refuse what must
//! not be (no last owner, no last system admin, no name twice), after which decisions of this process know of it. A token
//! with a scope is for repositories: it administers nothing else.

mod auditing;
mod callers;
mod deed;
mod ending;
mod grants;
mod keys;
mod login;
mod names;
mod often;
mod organizations;
mod passwords;
mod refresh;
mod repositories;
mod robots;
mod secret;
mod sources;
mod teams;
mod tokens;
mod users;

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::records::access::{self, Asked, Facts, Subject};
use roadstead_metadata::records::account::{self, Account};
use roadstead_metadata::records::repository::NamespaceKind;
use roadstead_metadata::{Batch, CommitError, Freshness, QueryError, Sql, Statement, commit_once};
use uuid::Uuid;

use crate::access::is_valid;
use crate::audit::{Audit, AuditOutcome};
use crate::commit::PATIENCE;
use crate::{Caller, Clock, Error, Identity, Policy};

use deed::Deed;
pub use grants::{GrantTarget, NewGrant};
pub use names::{FIRST_ADMIN, not_a_user};
use often::Often;
pub use passwords::{PASSWORD_CHARACTERS, Passwords};
use refresh::Lately;
pub use refresh::{NewRefresh, RefreshShown};
pub use repositories::{NewRepository, RepositoryChange};
pub use sources::{Source, Verdict};
pub use tokens::{NewToken, TokenMade};
pub use users::{NewPassword, NewUser, UserChange};

/// Users, organizations, teams, robots, tokens, repositories and grants.
#[derive(Debug)]
pub struct Identities {
    sql: Arc<dyn Sql>,
    clock: Arc<dyn Clock>,
    policy: Arc<dyn Policy>,
    passwords: Passwords,
    often: Often,
    /// Who else vouches for users.
    sources: Vec<Arc<dyn Source>>,
    audit: Option<Arc<Audit>>,
    lately: Lately,
}

/// Why a use case of administration failed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Who asks is not known, or not who it was.
    #[error("authentication required")]
    Unauthorized,
    /// Who asks may not do this.
    #[error("{0}")]
    Denied(String),
    /// There is nothing of this name for who asks.
    #[error("{0}")]
    Unknown(String),
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// What is there forbids it.
    #[error("{0}")]
    Refused(String),
    /// A name, password, scope or time is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// Who asks sets passwords, or tries its own, too often; the next one after so long.
    #[error("too many passwords were set or tried; wait before the next one")]
    TooOften(Duration),
    /// Metadata or the process fails: read-only, unavailable, contended, internal.
    #[error(transparent)]
    Registry(#[from] Error),
}

impl From<QueryError> for IdentityError {
    fn from(error: QueryError) -> Self {
        Self::Registry(error.into())
    }
}

/// The outcome of a use case of administration.
pub type Outcome<T> = Result<T, IdentityError>;

/// What a caller is to a namespace.
struct Power {
    /// A system admin, or the operator.
    admin: bool,
    /// The user or robot, if it is one.
    subject: Option<Subject>,
    facts: Facts,
}

impl Power {
    /// Whether the namespace that was asked for is the caller's: its own, its organization's, or everybody's of an admin.
    fn owns(&self) -> bool {
        let own = match (self.subject, self.facts.namespace) {
            (Some(Subject::User(id)), Some((of, NamespaceKind::User))) => id == of,
            _ => false,
        };
        self.admin || own || self.facts.owner == Some(true)
    }
}

impl Identities {
    /// Over migrated metadata; `policy` is told of every change.
    pub fn new(sql: Arc<dyn Sql>, clock: Arc<dyn Clock>, policy: Arc<dyn Policy>) -> Self {
        Self {
            sql,
            often: Often::new(clock.clone()),
            clock,
            policy,
            passwords: Passwords::default(),
            sources: Vec::new(),
            audit: None,
            lately: Lately::default(),
        }
    }

    /// Tells `audit` of every change.
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// How many hashes of passwords this process has computed.
    pub fn password_hashes(&self) -> u64 {
        self.passwords.computed()
    }

    /// Commits what changes who may do what. `Ok(false)` is a conflict: nothing happened, look why.
    async fn change(&self, deed: Deed<'_>, statements: impl IntoIterator<Item = Statement>) -> Outcome<bool> {
        let outcome = self.commit(statements).await;
        if !matches!(outcome, Ok(false)) {
            self.policy.changed();
            self.tell(deed, if outcome.is_ok() { AuditOutcome::Ok } else { AuditOutcome::Unknown });
        }
        outcome
    }

    /// Tells the audit of what was done, or may have been.
    fn tell(&self, deed: Deed<'_>, outcome: AuditOutcome) {
        if let Some(audit) = &self.audit {
            audit.note(deed.event(outcome));
        }
    }

    /// Commits what changes nothing of that.
    async fn commit(&self, statements: impl IntoIterator<Item = Statement>) -> Outcome<bool> {
        let mut batch = Batch::new(Uuid::now_v7(), self.clock.now());
        batch.extend(statements);
        match commit_once(&*self.sql, batch, PATIENCE).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict(why)) => {
                tracing::debug!(why, "a change of identities conflicts");
                Ok(false)
            }
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// What the caller is, to the namespace of `repository`; `NAME/` asks of a namespace alone. A token with a scope is
    /// nothing here.
    async fn power(&self, caller: &Caller, repository: &str) -> Outcome<Power> {
        let asked = match caller {
            Caller::Anonymous => return Err(IdentityError::Unauthorized),
            Caller::Operator => Asked { subject: None, token: None, repository },
            Caller::Known(identity) => Asked { subject: Some(identity.subject), token: identity.token, repository },
        };
        let facts = access::facts(&*self.sql, Freshness::Latest, asked).await?;
        let Caller::Known(identity) = caller else { return Ok(Power { admin: true, subject: None, facts }) };
        if !is_valid(identity, &facts, self.clock.now()) {
            return Err(IdentityError::Unauthorized);
        }
        unscoped(identity)?;
        let admin = facts.standing.is_some_and(|standing| standing.admin);
        Ok(Power { admin, subject: Some(identity.subject), facts })
    }

    /// The caller is a system admin, or it is `Denied`.
    async fn admin(&self, caller: &Caller) -> Outcome<()> {
        match self.power(caller, "/").await?.admin {
            true => Ok(()),
            false => Err(IdentityError::Denied("only system admins may do this".to_owned())),
        }
    }

    /// The caller owns this namespace, or it is `Denied` to a member and `Unknown` to everybody else.
    async fn owner(&self, caller: &Caller, namespace: &str) -> Outcome<(Uuid, NamespaceKind)> {
        let unknown = || IdentityError::Unknown(format!("there is no user and no organization {namespace}"));
        let power = self.power(caller, &format!("{namespace}/")).await?;
        match power.facts.namespace {
            Some(found) if power.owns() => Ok(found),
            Some(_) if power.facts.owner.is_some() => {
                Err(IdentityError::Denied(format!("only owners of {namespace} and system admins may do this")))
            }
            _ => Err(unknown()),
        }
    }

    /// The caller owns this organization.
    async fn owned_organization(&self, caller: &Caller, name: &str) -> Outcome<Uuid> {
        match self.owner(caller, name).await? {
            (id, NamespaceKind::Organization) => Ok(id),
            _ => Err(IdentityError::Unknown(format!("there is no organization {name}"))),
        }
    }

    /// A user that must be there.
    async fn user_named(&self, name: &str) -> Outcome<Account> {
        let found = account::by_name(&*self.sql, Freshness::Latest, name).await?;
        found.ok_or_else(|| IdentityError::Unknown(format!("there is no user {name}")))
    }
}

/// What came with a scope is for repositories.
fn unscoped(identity: &Identity) -> Outcome<()> {
    match &identity.scope {
        None => Ok(()),
        Some(scope) => Err(IdentityError::Denied(format!(
            "this token is for {scope} only; use a password or a token without a scope"
        ))),
    }
}

/// Others keep changing the same.
fn contended() -> IdentityError {
    IdentityError::Registry(Error::Contended)
}
