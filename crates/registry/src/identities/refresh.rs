//! Refresh tokens: what a client that has logged in is given, to come back once without a password.

use std::collections::VecDeque;
use std::net::IpAddr;

use parking_lot::Mutex;
use roadstead_metadata::Millis;
use roadstead_metadata::records::access_token;
use roadstead_metadata::records::refresh_token::{self, RefreshToken};
use roadstead_metadata::{Freshness, records::account};
use uuid::Uuid;

use super::deed::Deed;
use super::secret::{REFRESH, Secret};
use super::{Identities, IdentityError, Outcome};
use crate::Identity;

/// Expired ones that go with each new one, so that they do not gather.
const PURGED: i64 = 16;

/// So long after its use a token that comes again from where it was used is taken for a client that asked twice at once, or
/// did not get the answer, in milliseconds.
const AGAIN: Millis = 30_000;
/// Uses of late that are remembered.
const LATELY: usize = 10_000;

/// A refresh token that is being used, or was.
#[derive(Debug)]
struct Use {
    token: Uuid,
    /// The token that comes in its place.
    next: Uuid,
    from: IpAddr,
    at: Millis,
}

/// From where refresh tokens were used of late in this process, oldest first.
#[derive(Debug, Default)]
pub(super) struct Lately(Mutex<VecDeque<Use>>);

impl Lately {
    /// Notes a use before it is committed, so that whoever comes second finds it.
    fn note(&self, used: Use) {
        let mut uses = self.0.lock();
        while uses.len() >= LATELY || uses.front().is_some_and(|first| used.at.saturating_sub(first.at) >= AGAIN) {
            uses.pop_front();
        }
        uses.push_back(used);
    }

    /// What was noted did not happen.
    fn forget(&self, next: Uuid) {
        self.0.lock().retain(|used| used.next != next);
    }

    /// Whether this was used from there and from nowhere else.
    fn was(&self, token: Uuid, from: IpAddr) -> bool {
        let uses = self.0.lock();
        let mut of_token = uses.iter().filter(|used| used.token == token).peekable();
        of_token.peek().is_some() && of_token.all(|used| used.from == from)
    }
}

/// A refresh token to make.
#[derive(Debug, Clone, Copy)]
pub struct NewRefresh<'a> {
    /// For whom.
    pub identity: &'a Identity,
    /// For which service.
    pub service: &'a str,
    /// For how long, in milliseconds.
    pub life: Millis,
}

/// A refresh token that is good, and not used up yet.
#[derive(Debug)]
pub struct RefreshShown {
    /// Whose it is.
    pub identity: Identity,
    token: RefreshToken,
    from: IpAddr,
}

impl Identities {
    /// Makes a refresh token for who has logged in, which is shown now and never again. `None` for whom somebody else vouches:
    /// it would be good when that does not any more.
    pub async fn create_refresh(&self, new: NewRefresh<'_>) -> Outcome<Option<String>> {
        if new.identity.vouched.is_some() {
            return Ok(None);
        }
        let at = self.clock.now();
        let (token, shown) = next(new, None, at);
        let made = refresh_token::create(&token).into_iter().chain([refresh_token::purge(at, PURGED)]);
        match self.commit(made).await? {
            true => Ok(Some(shown)),
            false => Err(IdentityError::Unauthorized),
        }
    }

    /// Whose a refresh token is that is shown from an address; `Unauthorized` when it was used, has expired, is for another
    /// service, or its owner may do nothing or has another password by now. One that was used ends all of its family: who
    /// has the others may have stolen them, or this one.
    pub async fn show_refresh(&self, text: &str, service: &str, from: IpAddr) -> Outcome<RefreshShown> {
        let secret = Secret::parse(REFRESH, text).ok_or(IdentityError::Unauthorized)?;
        let found = refresh_token::by_id(&*self.sql, secret.id).await?;
        let known = found.filter(|token| secret.is(&token.secret) && token.service == service);
        let token = known.ok_or(IdentityError::Unauthorized)?;
        let name = self.token_owner_name(token.subject).await?.ok_or(IdentityError::Unauthorized)?;
        if token.used_at.is_some() {
            return Err(self.replayed(&token, &name, from).await);
        }
        let epoch = (token.epoch != 0).then_some(token.epoch);
        if let Some(id) = token.access_token {
            let now = self.clock.now();
            let made_with = access_token::by_id(&*self.sql, Freshness::Latest, id).await?;
            let holds =
                made_with.is_some_and(|made| made.revoked_at.is_none() && made.expires_at.is_none_or(|end| now < end));
            if !holds {
                return Err(IdentityError::Unauthorized);
            }
        } else if let Some(epoch) = epoch {
            let user = account::by_id(&*self.sql, Freshness::Latest, token.subject.id()).await?;
            if user.is_none_or(|user| user.password_changed_at != epoch) {
                return Err(IdentityError::Unauthorized);
            }
        }
        if self.clock.now() >= token.expires_at {
            return Err(IdentityError::Unauthorized);
        }
        let scope = match token.scope.is_empty() {
            true => None,
            false => Some(token.scope.parse().map_err(|_| IdentityError::Unauthorized)?),
        };
        let identity = Identity { token: token.access_token, epoch, scope, ..Identity::new(token.subject, name) };
        Ok(RefreshShown { identity, token, from })
    }

    /// Uses a refresh token up and makes the next one, both or neither: whoever is not answered has lost nothing.
    pub async fn renew_refresh(&self, shown: &RefreshShown, life: Millis) -> Outcome<String> {
        let RefreshShown { identity, token, from } = shown;
        let at = self.clock.now();
        let new = NewRefresh { identity, service: &token.service, life };
        let (next, text) = next(new, Some(token.first()), at);
        let used = refresh_token::use_up(token.id, at).into_iter();
        let batch = used.chain(refresh_token::create(&next)).chain([refresh_token::purge(at, PURGED)]);
        self.lately.note(Use { token: token.id, next: next.id, from: *from, at });
        let done = self.commit(batch).await;
        if matches!(done, Ok(false)) {
            self.lately.forget(next.id);
        }
        if done? {
            return Ok(text);
        }
        // Of two at once the other was first.
        match refresh_token::by_id(&*self.sql, token.id).await? {
            Some(token) if token.used_at.is_some() => Err(self.replayed(&token, &identity.name, *from).await),
            _ => Err(IdentityError::Unauthorized),
        }
    }

    /// Ends the family of a token that was shown again, once: whoever shows the others afterwards is only refused. Nothing ends
    /// while it may be its client that asks again.
    async fn replayed(&self, token: &RefreshToken, owner: &str, from: IpAddr) -> IdentityError {
        let ago = token.used_at.map(|used| self.clock.now().saturating_sub(used));
        let again = ago.is_some_and(|ago| ago < AGAIN) && self.lately.was(token.id, from);
        if token.replayed_at.is_some() || again {
            return IdentityError::Unauthorized;
        }
        let deed = Deed::of_system("token.replay", owner)
            .with("a refresh token was used again: those of the same login have ended");
        match self.change(deed, [refresh_token::end_family(token, self.clock.now())]).await {
            Ok(_) => IdentityError::Unauthorized,
            Err(error) => error,
        }
    }
}

/// A token to keep, and how its owner is shown it.
fn next(new: NewRefresh<'_>, family: Option<Uuid>, at: Millis) -> (RefreshToken, String) {
    let (identity, secret) = (new.identity, Secret::new(Uuid::now_v7()));
    let token = RefreshToken {
        id: secret.id,
        subject: identity.subject,
        access_token: identity.token,
        epoch: identity.epoch.unwrap_or(0),
        secret: secret.hash(),
        service: new.service.to_owned(),
        scope: identity.scope.as_ref().map(ToString::to_string).unwrap_or_default(),
        created_at: at,
        expires_at: at.saturating_add(new.life),
        used_at: None,
        family,
        replayed_at: None,
    };
    (token, secret.show(REFRESH))
}
