//! Users of others: somebody else keeps their passwords, and is asked whether somebody is who it says.
//!
//! A name that we have an account of our own for is never theirs, with or without a password. Who is known to a source and
//! not to us gets an account at its first login, marked with the source for good, so that grants, teams, tokens and the
//! audit know it like everybody else; a namespace that is there already is not taken over. An account that was made not
//! active stays out; one that was removed is made anew, under a new id, with nothing of what the old one had.
//!
//! What a source said counts as long as it says so: a remembered login and a token are asked for again with each request
//! ([`Identities::still_vouched`]), which costs a look at what the source has in memory.

use std::fmt::Debug;

use async_trait::async_trait;
use roadstead_metadata::records::account::{self, Account};
use roadstead_metadata::{Freshness, Millis};
use uuid::Uuid;

use super::deed::Deed;
use super::login::identity;
use super::names::FIRST_ADMIN;
use super::{Arc, Identities, IdentityError, Outcome, Passwords, names};
use crate::{Caller, Identity, Vouched};

/// What a source says of a name and a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has nobody of this name.
    Nobody,
    /// It has, and the secret is not right.
    Wrong,
    /// It is this user.
    Right {
        /// Stands for the secret; see [`Vouched::mark`].
        mark: u64,
        /// Until when this holds, milliseconds since the Unix epoch.
        until: Option<Millis>,
    },
    /// It is this user by a statement, which also says who that is when the name is given to another.
    Stated {
        /// What the source calls it for good.
        subject: String,
        /// As above.
        mark: u64,
        /// As above.
        until: Millis,
    },
}

/// Somebody who vouches for users.
#[async_trait]
pub trait Source: Debug + Send + Sync + 'static {
    /// What accounts, the audit and the log call it. Accounts keep it for good: another name is another source.
    fn name(&self) -> &str;

    /// Whether a secret is of a form that is this source's to judge and nobody else's, whatever name comes with it. Costs
    /// no slow hash.
    fn recognizes(&self, secret: &str) -> bool;

    /// Judges a name and a secret; without a name the verdict is `Nobody`, after the time that the slowest one takes.
    /// Slow hashes are computed by `passwords`. An error is for what cannot be known now:
    /// [`SourceUnavailable`](crate::Error::SourceUnavailable) when it does not answer.
    async fn judge(&self, name: Option<&str>, secret: &str, passwords: &Passwords) -> Outcome<Verdict>;

    /// Whether it has a user of this name. One that cannot know before it sees a secret says no.
    fn knows(&self, _name: &str) -> bool {
        false
    }

    /// Whether whom it knows and we do not gets an account.
    fn creates_accounts(&self) -> bool {
        true
    }

    /// Whether it would say the same again of who was told to be `name` under this mark.
    fn holds(&self, name: &str, mark: u64) -> bool;
}

impl Identities {
    /// Asks these, in this order, for who is no user of ours.
    pub fn with_sources(mut self, sources: Vec<Arc<dyn Source>>) -> Self {
        self.sources = sources;
        self
    }

    /// Whether who vouched for this caller still does; of others there is nothing to ask.
    pub fn still_vouched(&self, caller: &Caller) -> bool {
        let Caller::Known(identity) = caller else { return true };
        identity.vouched.as_ref().is_none_or(|vouched| {
            let source = self.sources.iter().find(|source| source.name() == vouched.source);
            source.is_some_and(|source| source.holds(&identity.name, vouched.mark))
        })
    }

    /// One of the configured sources is called so.
    pub(super) fn known_source(&self, name: &str) -> Outcome<()> {
        if self.sources.iter().any(|source| source.name() == name) {
            return Ok(());
        }
        let known: Vec<_> = self.sources.iter().map(|source| source.name()).collect();
        Err(IdentityError::Invalid(match known.as_slice() {
            [] => format!("no {name} vouches for users here: auth.htpasswd and auth.oidc name who does"),
            known => format!("no {name} vouches for users here; {} does", known.join(" and ")),
        }))
    }

    /// By what the secret itself states. It is looked at whoever there is, so that nobody learns that from the time.
    pub(super) async fn log_in_by_statement(
        &self,
        source: &dyn Source,
        name: &str,
        secret: &str,
        found: Option<Account>,
    ) -> Outcome<Identity> {
        let verdict = source.judge(Some(name), secret, &self.passwords).await?;
        self.judged(source, name, found, verdict).await
    }

    /// By whoever knows the name. Each takes its time whether or not the name is its to know.
    pub(super) async fn log_in_by_sources(
        &self,
        name: &str,
        secret: &str,
        found: Option<Account>,
    ) -> Outcome<Identity> {
        let mut known = false;
        for source in &self.sources {
            let theirs = |user: &Account| user.active && user.source.as_deref() == Some(source.name());
            let asked = Some(name).filter(|_| !known && found.as_ref().is_none_or(theirs));
            match source.judge(asked, secret, &self.passwords).await? {
                Verdict::Nobody => {}
                Verdict::Wrong => known = true,
                right => return self.judged(&**source, name, found, right).await,
            }
        }
        Err(IdentityError::Unauthorized)
    }

    async fn judged(
        &self,
        source: &dyn Source,
        name: &str,
        found: Option<Account>,
        verdict: Verdict,
    ) -> Outcome<Identity> {
        let (mark, until, subject) = match verdict {
            Verdict::Right { mark, until } => (mark, until, None),
            Verdict::Stated { subject, mark, until } => (mark, Some(until), Some(subject)),
            Verdict::Nobody | Verdict::Wrong => return Err(IdentityError::Unauthorized),
        };
        let user = match found {
            Some(user) => user,
            None => {
                self.may_be_new(source, name)?;
                self.first_login(source.name(), name).await?
            }
        };
        if !user.active || user.source.as_deref() != Some(source.name()) {
            tracing::info!(user = name, source = source.name(), "refused: the account is another's, or not active");
            return Err(IdentityError::Unauthorized);
        }
        if let Some(subject) = subject {
            self.is_the_same(&user, &subject).await?;
        }
        Ok(identity(user, Some(Vouched { source: source.name().to_owned(), mark, until })))
    }

    /// Whether a name that has no account yet is for this source to fill: not where an admin adds its users, not that of the
    /// first admin, and not one that another source has, whose user would be locked out by whoever came first.
    fn may_be_new(&self, source: &dyn Source, name: &str) -> Outcome<()> {
        if name == FIRST_ADMIN {
            tracing::warn!(
                user = name,
                source = source.name(),
                "refused: this is the name of the first system admin; give the user another one at the source"
            );
            return Err(IdentityError::Unauthorized);
        }
        if !source.creates_accounts() {
            tracing::warn!(
                user = name,
                source = source.name(),
                "refused: nobody added this user: `roadstead user add {name} --source {}`",
                source.name()
            );
            return Err(IdentityError::Unauthorized);
        }
        let other = self.sources.iter().find(|other| other.name() != source.name() && other.knows(name));
        let Some(other) = other else { return Ok(()) };
        tracing::warn!(
            user = name,
            source = source.name(),
            also = other.name(),
            "refused: two sources have this name; say whose it is: `roadstead user add {name} --source SOURCE`"
        );
        Err(IdentityError::Unauthorized)
    }

    /// Who comes by a name is who came by it before: a source may give the name to somebody else. Who comes first is kept.
    async fn is_the_same(&self, user: &Account, subject: &str) -> Outcome<()> {
        let kept = match &user.subject {
            Some(kept) => Some(kept.clone()),
            None => {
                let deed = Deed::of_system("user.bind", &user.name).with(subject);
                if self.change(deed, account::bind(user.id, subject)).await? {
                    return Ok(());
                }
                // Another came at once.
                account::by_id(&*self.sql, Freshness::Latest, user.id).await?.and_then(|user| user.subject)
            }
        };
        if kept.as_deref() == Some(subject) {
            return Ok(());
        }
        tracing::warn!(
            user = user.name,
            subject,
            kept,
            "refused: the source gave this name to somebody else; if it is the same user: `roadstead user relink {}`",
            user.name
        );
        Err(IdentityError::Unauthorized)
    }

    /// The account of whom a source vouches for: with its own namespace, and nothing else.
    async fn first_login(&self, source: &str, name: &str) -> Outcome<Account> {
        if let Err(error) = names::check_namespace("a user", name) {
            tracing::warn!(source, %error, "a user cannot be let in");
            return Err(IdentityError::Unauthorized);
        }
        let made = account::create_of(Uuid::now_v7(), name, source, false, self.clock.now());
        let made = [account::guard_unused(name)].into_iter().chain(made);
        let deed = Deed::of_system("user.add", name).with(format!("user of {source}, at the first login"));
        if self.change(deed, made).await? {
            return self.user_named(name).await;
        }
        // Two first logins at once, or a namespace that was there.
        account::by_name(&*self.sql, Freshness::Latest, name).await?.ok_or_else(|| {
            tracing::warn!(
                user = name,
                source,
                "refused: there is a namespace of this name already; to make it the user's: `roadstead user add {name} --source {source}`"
            );
            IdentityError::Unauthorized
        })
    }
}
