//! Logging in: a name with a password, or with an access token in its place.
//!
//! Whatever is wrong, the answer is the same, and takes the time that a password takes.

use std::sync::Arc;

use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::access_token::{self, AccessToken};
use roadstead_metadata::records::account::{self, Account};
use roadstead_metadata::records::robot;
use roadstead_metadata::{Freshness, QueryError};

use super::secret::{ACCESS, Secret};
use super::{Identities, IdentityError, Outcome, Source};
use crate::{Error, Identity, Vouched};

/// Where it is asked for what somebody logs in with: what is newest, or, while that cannot be had, what is at hand.
const ASKED: [Freshness; 2] = [Freshness::Latest, Freshness::Local];

impl Identities {
    /// Who it is that comes with a name and a password or an access token; `Unauthorized` when it is nobody.
    pub async fn log_in(&self, name: &str, secret: &str) -> Outcome<Identity> {
        match Secret::parse(ACCESS, secret) {
            Some(token) => self.log_in_by_token(Some(name), &token).await,
            None => self.log_in_by_password(name, secret).await,
        }
    }

    /// Who it is that comes with an access token alone; `Unauthorized` when it is nobody.
    pub async fn log_in_with_token(&self, secret: &str) -> Outcome<Identity> {
        let token = Secret::parse(ACCESS, secret).ok_or(IdentityError::Unauthorized)?;
        self.log_in_by_token(None, &token).await
    }

    /// Whether this is the form of an access token, which costs no slow hash to compare.
    pub fn is_token(secret: &str) -> bool {
        Secret::parse(ACCESS, secret).is_some()
    }

    /// Whether this is a statement of who somebody is, which a source judges by itself: it costs no slow hash, and nobody
    /// guesses one.
    pub fn is_statement(&self, secret: &str) -> bool {
        self.stating(secret).is_some()
    }

    fn stating(&self, secret: &str) -> Option<&Arc<dyn Source>> {
        self.sources.iter().find(|source| source.recognizes(secret))
    }

    async fn log_in_by_password(&self, name: &str, password: &str) -> Outcome<Identity> {
        let found = self.at_hand(|fresh| account::by_name(&*self.sql, fresh, name)).await?;
        if let Some(source) = self.stating(password) {
            return self.log_in_by_statement(&**source, name, password, found).await;
        }
        let hash = found.as_ref().filter(|user| user.active).and_then(|user| user.password_hash.as_deref());
        let known = self.passwords.verify(password, hash).await?;
        match found {
            Some(user) if known => Ok(identity(user, None)),
            found => self.log_in_by_sources(name, password, found).await,
        }
    }

    async fn log_in_by_token(&self, name: Option<&str>, secret: &Secret) -> Outcome<Identity> {
        let found = self.at_hand(|fresh| access_token::by_id(&*self.sql, fresh, secret.id)).await?;
        // What is not there is compared, too.
        let kept = found.as_ref().map_or(&[0; 32][..], |token| &token.secret);
        let known = secret.is(kept);
        let token = found.filter(|token| known && self.holds(token)).ok_or(IdentityError::Unauthorized)?;
        let owner = self.token_owner_name(token.subject).await?.ok_or(IdentityError::Unauthorized)?;
        if name.is_some_and(|name| name != owner) {
            return Err(IdentityError::Unauthorized);
        }
        let scope = match token.scope.as_deref().map(str::parse).transpose() {
            Ok(scope) => scope,
            // Made by a later version: it is good for less than this one can say.
            Err(error) => {
                let error = format!("token {}: {error}", token.id);
                return Err(Error::Internal(error).into());
            }
        };
        Ok(Identity { token: Some(token.id), scope, ..Identity::new(token.subject, owner) })
    }

    fn holds(&self, token: &AccessToken) -> bool {
        token.revoked_at.is_none() && token.expires_at.is_none_or(|end| self.clock.now() < end)
    }

    /// What the owner of a token is called, if it may do anything.
    pub(super) async fn token_owner_name(&self, subject: Subject) -> Outcome<Option<String>> {
        match subject {
            Subject::User(id) => {
                let user = self.at_hand(|fresh| account::by_id(&*self.sql, fresh, id)).await?;
                Ok(user.filter(|user| user.active).map(|user| user.name))
            }
            Subject::Robot(id) => {
                let robot = self.at_hand(|fresh| robot::by_id(&*self.sql, fresh, id)).await?;
                let Some((robot, namespace)) = robot else { return Ok(None) };
                let of = robot.namespace;
                let user = self.at_hand(|fresh| account::by_id(&*self.sql, fresh, of)).await?;
                let active = user.is_none_or(|user| user.active);
                Ok(active.then(|| format!("{namespace}+{}", robot.name)))
            }
        }
    }

    /// The newest answer, or, while that cannot be had, the one at hand.
    pub(super) async fn at_hand<T, F>(&self, ask: impl Fn(Freshness) -> F) -> Outcome<T>
    where
        F: Future<Output = Result<T, QueryError>>,
    {
        let [newest, near] = ASKED;
        match ask(newest).await {
            Err(QueryError::Unavailable(_)) => Ok(ask(near).await?),
            answer => Ok(answer?),
        }
    }
}

/// A user that has shown to be it, to us or to who vouches for it.
pub(super) fn identity(user: Account, vouched: Option<Vouched>) -> Identity {
    let epoch = Some(user.password_changed_at);
    Identity { epoch, vouched: vouched.map(Arc::new), ..Identity::new(Subject::User(user.id), user.name) }
}
