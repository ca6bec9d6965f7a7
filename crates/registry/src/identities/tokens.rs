//! Access tokens.

use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::access_token::{self, AccessToken};
use roadstead_metadata::{Freshness, Millis};
use uuid::Uuid;

use super::deed::Deed;
use super::ending::Others;
use super::secret::{ACCESS, Secret};
use super::{Identities, IdentityError, Outcome};
use crate::{Caller, Scope};

/// Longest name of a token in characters.
const LONGEST: usize = 128;
/// Most good tokens of one user or robot.
const MOST: i64 = 1_000;

/// A token to make.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// What its owner calls it.
    pub name: &'a str,
    /// For which robot, as in `acme+ci`, or which user; `None`: for the caller.
    pub of: Option<&'a str>,
    /// What it is good for; `None`: all that its owner may.
    pub scope: Option<Scope>,
    /// When it ends by itself.
    pub expires_at: Option<Millis>,
}

/// A token that was made.
#[derive(Clone)]
pub struct TokenMade {
    /// What is kept of it.
    pub token: AccessToken,
    /// What its owner holds: shown once, and nowhere kept.
    pub secret: String,
}

/// Without the secret.
impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenMade").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Identities {
    /// Makes a token. For oneself; for a robot by those to whom its namespace belongs; for everybody by system admins.
    pub async fn create_token(&self, caller: &Caller, new: NewToken<'_>) -> Outcome<TokenMade> {
        let subject = self.token_owner(caller, new.of).await?;
        let at = self.clock.now();
        let characters = new.name.chars().count();
        if characters == 0 || characters > LONGEST || new.name.chars().any(char::is_control) {
            return Err(IdentityError::Invalid(format!(
                "a token's name has 1 to {LONGEST} characters, none of them control"
            )));
        }
        if new.expires_at.is_some_and(|end| end <= at) {
            return Err(IdentityError::Invalid("the token would have expired already; give a time to come".to_owned()));
        }
        self.not_beyond(caller, subject, new.expires_at).await?;
        if access_token::living(&*self.sql, subject, at, MOST).await? >= MOST {
            return Err(IdentityError::Refused(format!(
                "whose token it was to be has {MOST} already; revoke some that are not used any more, or give them an end"
            )));
        }
        let secret = Secret::new(Uuid::now_v7());
        let token = AccessToken {
            id: secret.id,
            subject,
            name: new.name.to_owned(),
            secret: secret.hash(),
            scope: new.scope.map(|scope| scope.to_string()),
            created_at: at,
            expires_at: new.expires_at,
            revoked_at: None,
            parent: came_with(caller),
        };
        let scope = token.scope.as_ref().map_or(String::new(), |scope| format!(", for {scope}"));
        let deed = Deed::new(caller, "token.add", token.id).with(format!(
            "{} of {}{scope}",
            new.name,
            new.of.unwrap_or("the caller")
        ));
        match self.change(deed, access_token::create(&token)).await? {
            true => Ok(TokenMade { token, secret: secret.show(ACCESS) }),
            false => {
                Err(IdentityError::Unknown("whose token it was to be, or the one you came with, has gone".to_owned()))
            }
        }
    }

    /// Tokens of somebody (as in [`NewToken::of`]), oldest first, after the one with the id `after`.
    pub async fn tokens(
        &self,
        caller: &Caller,
        of: Option<&str>,
        after: Uuid,
        limit: usize,
    ) -> Outcome<Vec<AccessToken>> {
        let subject = self.token_owner(caller, of).await?;
        Ok(access_token::page(&*self.sql, subject, after, limit as i64).await?)
    }

    /// Ends a token, everywhere within a second, and what was made with it: what is of others only where the caller could end
    /// it by itself, and never by a token that ends itself, as by logging out. For whoever may make one for its owner.
    ///
    /// When this fails the token may have ended and some of what was made for others not: once more goes on.
    pub async fn revoke_token(&self, caller: &Caller, id: Uuid) -> Outcome<()> {
        let unknown = || IdentityError::Unknown(format!("there is no token {id}"));
        self.power(caller, "/").await?;
        let token = access_token::by_id(&*self.sql, Freshness::Latest, id).await?.ok_or_else(unknown)?;
        let may = self.manages(caller, token.subject).await?;
        let revoked = access_token::revoke(id, self.clock.now());
        if !may || !self.change(Deed::new(caller, "token.revoke", id), revoked).await? {
            return Err(unknown());
        }
        let others = if came_with(caller) == Some(id) { Others::Stay } else { Others::EndIfManaged };
        self.end_made_with(caller, id, token.subject, others).await
    }

    /// Who came with a token that ends makes none for itself that ends later: a time to end would mean nothing.
    async fn not_beyond(&self, caller: &Caller, subject: Subject, expires_at: Option<Millis>) -> Outcome<()> {
        let Caller::Known(identity) = caller else { return Ok(()) };
        let Some(id) = identity.token.filter(|_| identity.subject == subject) else { return Ok(()) };
        let token = access_token::by_id(&*self.sql, Freshness::Latest, id).await?;
        let Some(end) = token.and_then(|token| token.expires_at) else { return Ok(()) };
        match expires_at.is_some_and(|wanted| wanted <= end) {
            true => Ok(()),
            false => Err(IdentityError::Denied(
                "the token that you came with ends before that; give an earlier end, or log in with your password"
                    .to_owned(),
            )),
        }
    }

    /// Whose tokens are meant, if the caller may have to do with them.
    async fn token_owner(&self, caller: &Caller, of: Option<&str>) -> Outcome<Subject> {
        match of {
            Some(robot) if robot.contains('+') => {
                let namespace = robot.split_once('+').map_or(robot, |(namespace, _)| namespace);
                self.owner(caller, namespace).await?;
                Ok(Subject::Robot(self.robot_named(robot).await?.id))
            }
            Some(user) => Ok(Subject::User(self.self_or_admin(caller, user).await?.id)),
            None => {
                let whose = "say for whom the token is: a user or a robot";
                self.power(caller, "/").await?.subject.ok_or_else(|| IdentityError::Invalid(whose.to_owned()))
            }
        }
    }
}

/// The access token that the caller came with.
fn came_with(caller: &Caller) -> Option<Uuid> {
    match caller {
        Caller::Known(identity) => identity.token,
        Caller::Anonymous | Caller::Operator => None,
    }
}
