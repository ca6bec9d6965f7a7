//! Who a request comes from: what its head shows, the challenge to one that shows nothing, and the endpoint where a
//! password becomes a token (token authentication of Docker's registry; RFC 6749, 6750, 7617).
//!
//! Here it is only settled who somebody is. What it may do is decided by every use case anew.

mod asked;
mod challenge;
mod endpoint;
mod remembered;
mod scraping;
mod shown;
#[cfg(test)]
mod testing;
mod throttle;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use roadstead_registry::audit::{Actor, Audit, AuditAction, AuditOutcome, Event};
use roadstead_registry::identities::{Identities, IdentityError, Outcome};
use roadstead_registry::{Bearer, Caller, Clock, Error, Identity, Issuer, NotGood, Registry};

use crate::error_table::{Failure, render};
use crate::exchange::Exchange;
pub(crate) use challenge::{CameTo, Challenge, Complaint};
use remembered::Remembered;
use shown::Shown;
use throttle::Throttle;

/// Access control of the HTTP floor. Clones share it.
#[derive(Debug, Clone)]
pub struct Auth(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    registry: Arc<Registry>,
    identities: Arc<Identities>,
    issuer: Arc<Issuer>,
    /// Scheme and authority that clients come to; without it those of each request.
    host: Option<String>,
    throttle: Throttle,
    remembered: Remembered,
    audit: OnceLock<Arc<Audit>>,
}

/// What a login is counted and told by.
struct Tried<'a> {
    /// Whose password it guesses, if it guesses one.
    account: Option<&'a str>,
    /// Who it says it is.
    name: Option<&'a str>,
    /// What it shows states itself who it is.
    stated: bool,
}

/// Who comes with a request.
#[derive(Debug)]
pub(crate) enum Visitor {
    /// Nobody in particular.
    Nobody,
    /// Somebody, with all that it may do.
    Owner(Caller),
    /// Somebody, with what a token is good for.
    Bearer(Arc<Bearer>),
}

impl Auth {
    /// Over a registry that decides by what `identities` change; tokens are those of `issuer`.
    pub fn new(
        registry: Arc<Registry>,
        identities: Arc<Identities>,
        issuer: Arc<Issuer>,
        clock: Arc<dyn Clock>,
        host: Option<&str>,
    ) -> Self {
        let host = host.map(|host| host.trim_end_matches('/').to_owned());
        let (throttle, remembered) = (Throttle::new(clock.clone()), Remembered::new(clock));
        let audit = OnceLock::new();
        Self(Arc::new(Parts { registry, identities, issuer, host, throttle, remembered, audit }))
    }

    /// Tells `audit` who logs in, and who is refused.
    pub fn with_audit(self, audit: Arc<Audit>) -> Self {
        let _ = self.0.audit.set(audit);
        self
    }

    /// Tells of a login by `name`, or by a token alone. What does not say who it was is told when it is refused.
    fn tell(&self, name: Option<&str>, remote: IpAddr, known: Result<&Caller, AuditOutcome>) {
        let Some(audit) = self.0.audit.get() else { return };
        // A secret that was typed in its place shall not be kept: no name looks like a token, or is longer.
        let name = name.map(|name| if Identities::could_be_called(name) { name } else { "(not a name)" });
        let claimed = || Actor::Claimed(name.unwrap_or_default().into());
        let (actor, outcome) = match known {
            Ok(caller) => (Actor::Caller(caller.clone()), AuditOutcome::Ok),
            Err(outcome) => (claimed(), outcome),
        };
        let mut event = Event::new(AuditAction::Login, outcome, actor);
        event.remote = Some(remote);
        if let Ok(Caller::Known(identity)) = known {
            event.detail = identity.vouched.as_ref().map(|vouched| format!("by {}", vouched.source).into());
        }
        audit.note(event);
    }

    /// `/auth/token`, and `/auth/keys`, by which others verify tokens.
    pub fn router(&self) -> Router {
        endpoint::router(self.clone())
    }

    /// Requests to `router` carry their [`Caller`] as an extension; who shows nothing, or what is not good, is answered 401.
    pub fn guard(&self, router: Router) -> Router {
        let router = router.layer(middleware::from_fn_with_state(self.clone(), admit));
        // Around it: a login may change something, too.
        router.layer(middleware::from_fn(crate::audit_api::with_origin))
    }

    /// Who comes with this head. A failure is for who shows what is not good, and for who tries too often.
    pub(crate) async fn visitor(&self, headers: &HeaderMap, remote: IpAddr) -> Result<Visitor, Failure> {
        match Shown::read(headers) {
            Shown::Nothing => Ok(Visitor::Nobody),
            Shown::Basic(name, secret) => self.log_in(&name, &secret, remote).await.map(Visitor::Owner),
            Shown::Bearer(token) if Identities::is_token(&token) => {
                self.log_in_with_token(&token, remote).await.map(Visitor::Owner)
            }
            Shown::Bearer(token) => match self.0.issuer.verify(&token).await {
                Ok(bearer) if self.0.identities.still_vouched(bearer.owner()) => Ok(Visitor::Bearer(bearer)),
                // Who vouched for its owner does not any more.
                Ok(_) => Err(Error::Unauthorized.into()),
                // Clients come with those that are over all day long.
                Err(NotGood::Expired) => Err(Error::Unauthorized.into()),
                Err(NotGood::Foreign) => Err(self.unreadable(remote)),
            },
            Shown::Odd => Err(self.unreadable(remote)),
        }
    }

    /// Of what was shown nothing can be believed, not even whose it is.
    fn unreadable(&self, remote: IpAddr) -> Failure {
        self.tell(None, remote, Err(AuditOutcome::Denied));
        Error::Unauthorized.into()
    }

    /// Tells of a call of the admin API that was refused. What was done is told where it is done; what was shown in vain
    /// when it was looked at.
    fn tell_refused(&self, caller: &Caller, asked: String, exchange: &Exchange, status: StatusCode) {
        let outcome = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => AuditOutcome::Denied,
            StatusCode::NOT_FOUND => AuditOutcome::Failed,
            _ => return,
        };
        let Some(audit) = self.0.audit.get() else { return };
        let mut event = Event::new(AuditAction::Administer, outcome, Actor::Caller(caller.clone()));
        (event.remote, event.request) = (Some(exchange.remote.ip()), Some(exchange.id.as_str().into()));
        (event.object, event.status) = (Some(asked.into()), Some(status.as_u16()));
        audit.note(event);
    }

    /// Who has this name and this password, or access token.
    pub(crate) async fn log_in(&self, name: &str, secret: &str, remote: IpAddr) -> Result<Caller, Failure> {
        let stated = self.0.identities.is_statement(secret);
        // What cannot be guessed is not bounded by its account: that would let anybody lock out its programs.
        let account = (!stated && !Identities::is_token(secret)).then_some(name);
        let shown = self.0.remembered.shown(Some(name), secret);
        let tried = Tried { account, name: Some(name), stated };
        self.known_or(shown, tried, remote, self.0.identities.log_in(name, secret)).await
    }

    async fn log_in_with_token(&self, token: &str, remote: IpAddr) -> Result<Caller, Failure> {
        let shown = self.0.remembered.shown(None, token);
        let tried = Tried { account: None, name: None, stated: false };
        self.known_or(shown, tried, remote, self.0.identities.log_in_with_token(token)).await
    }

    /// Who showed this a moment ago, or is found now.
    async fn known_or(
        &self,
        shown: remembered::Shown,
        Tried { account, name, stated }: Tried<'_>,
        remote: IpAddr,
        find: impl Future<Output = Outcome<Identity>> + Send,
    ) -> Result<Caller, Failure> {
        if let Some(caller) = self.known(&shown).await {
            return Ok(caller);
        }
        let _turn = self.0.remembered.turn(&shown).await;
        if let Some(caller) = self.known(&shown).await {
            return Ok(caller);
        }
        let attempt = self.begin(account, remote)?;
        match find.await {
            Ok(identity) => {
                attempt.succeeded();
                let caller = Caller::from(identity);
                self.0.remembered.keep(shown, &caller);
                self.tell(name, remote, Ok(&caller));
                Ok(caller)
            }
            Err(IdentityError::Registry(error)) => {
                // Anybody can write a statement that makes a source say that it does not know.
                if !stated {
                    attempt.succeeded();
                }
                self.tell(name, remote, Err(AuditOutcome::Failed));
                Err(error.into())
            }
            Err(_) => {
                self.tell(name, remote, Err(AuditOutcome::Denied));
                Err(Error::Unauthorized.into())
            }
        }
    }

    /// Who showed this a moment ago, and still is who it was.
    async fn known(&self, shown: &remembered::Shown) -> Option<Caller> {
        let caller = self.0.remembered.find(shown)?;
        let recognized = self.0.registry.recognize(&caller).await;
        // It may be right again: a password that was set anew, a user who was made anew.
        if matches!(recognized, Err(Error::Unauthorized)) || !self.0.identities.still_vouched(&caller) {
            self.0.remembered.forget(shown);
            return None;
        }
        Some(caller)
    }

    /// A try at this account, or at none, unless there were too many of late.
    fn begin(&self, account: Option<&str>, remote: IpAddr) -> Result<throttle::Attempt, Failure> {
        self.0.throttle.begin(account, remote).map_err(|wait| {
            // Without the name: who tries thousands of them fills nothing.
            self.tell(None, remote, Err(AuditOutcome::Denied));
            Failure::too_many_tries(wait)
        })
    }

    /// The registry.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// What a request that is answered 401 is told to do.
    pub(crate) fn challenge(&self, came_to: &CameTo, scope: Option<String>) -> Challenge {
        let realm = came_to.realm(self.0.host.as_deref());
        Challenge { realm, service: self.0.issuer.service().to_owned(), scope, complaint: None }
    }
}

/// Lets a request through with its caller.
async fn admit(
    State(auth): State<Auth>,
    Extension(exchange): Extension<Arc<Exchange>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let remote = exchange.remote.ip();
    let asked = asked::asked(request.method(), request.uri());
    // A program or a person who has a password: Basic says all there is to say.
    let refuse = |failure: Failure| render(failure, "", None, exchange.id.as_str());
    let (caller, response) = match auth.visitor(request.headers(), remote).await {
        Ok(Visitor::Owner(caller)) => {
            request.extensions_mut().insert(caller.clone());
            (caller, next.run(request).await)
        }
        Ok(Visitor::Nobody) => (Caller::Anonymous, refuse(Error::Unauthorized.into())),
        // A token is for repositories.
        Ok(Visitor::Bearer(bearer)) => (bearer.owner().clone(), refuse(Error::Unauthorized.into())),
        Err(failure) => return refuse(failure),
    };
    auth.tell_refused(&caller, asked, &exchange, response.status());
    response
}
