//! Before a request is served: who it acts for, and whether what it shows is good for its route.
//!
//! Somebody who shows a password or an access token acts with all that it may do. Who shows a token acts with what that is
//! good for; for anything else it is told to get another one, unless it has asked for that already and was not given it: then
//! it is told why.

use axum::body::Body;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use roadstead_oci::{Query, RepositoryName, Route, RouteError};
use roadstead_registry::{Action, Bearer, Caller, Error};

use crate::auth::{Auth, CameTo, Complaint, Visitor};
use crate::error_table::Failure;
use crate::exchange::Exchange;

/// What a route takes.
enum Need {
    /// To be somebody.
    Known,
    /// To see the catalog.
    Catalog,
    /// To do this there.
    To(Action, RepositoryName),
}

/// The door of one request. Without access control it stands open.
pub(super) struct Door<'a>(Option<Guarded<'a>>);

struct Guarded<'a> {
    auth: &'a Auth,
    need: Need,
    exchange: &'a Exchange,
    /// Of which the challenge is made, for those who get one.
    came_to: CameTo,
    complaint: Option<Complaint>,
}

impl<'a> Door<'a> {
    pub(super) fn new(
        auth: Option<&'a Auth>,
        routed: &Result<Route, RouteError>,
        head: &Parts,
        exchange: &'a Exchange,
    ) -> Self {
        let (Some(auth), Ok(route)) = (auth, routed) else { return Self(None) };
        let came_to = CameTo::of(&head.uri, &head.headers, exchange.secure);
        Self(Some(Guarded { auth, need: need(route), exchange, came_to, complaint: None }))
    }

    /// Who the request with these headers acts for.
    pub(super) async fn admit(&mut self, headers: &HeaderMap) -> Result<Caller, Failure> {
        match &mut self.0 {
            Some(guarded) => guarded.admit(headers).await,
            None => Ok(Caller::Anonymous),
        }
    }

    /// Tells a client that is answered 401 what to do.
    pub(super) fn challenge(self, response: &mut Response<Body>) {
        let Some(guarded) = self.0.filter(|_| response.status() == StatusCode::UNAUTHORIZED) else { return };
        let scope = scope(&guarded.need, guarded.came_to.query());
        let header = guarded.auth.challenge(&guarded.came_to, scope).about(guarded.complaint).header();
        match HeaderValue::from_str(&header) {
            Ok(header) => drop(response.headers_mut().insert(WWW_AUTHENTICATE, header)),
            Err(error) => tracing::error!(%error, header, "a challenge cannot be sent"),
        }
    }
}

impl Guarded<'_> {
    async fn admit(&mut self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let visitor = self.auth.visitor(headers, self.exchange.remote.ip());
        match self.exchange.origin().scope(visitor).await {
            Ok(Visitor::Nobody) => match self.need {
                // Clients ask here whether they need to be somebody: they do, for all that is not public.
                Need::Known | Need::Catalog => Err(Error::Unauthorized.into()),
                Need::To(Action::Pull, _) => Ok(Caller::Anonymous),
                // Nobody in particular changes nothing: not a byte of a body is waited for.
                Need::To(..) => Err(Error::Unauthorized.into()),
            },
            Ok(Visitor::Owner(caller)) => self.known(caller).await,
            Ok(Visitor::Bearer(bearer)) => {
                // What follows is about a token that does not hold any more, if it is about the token.
                self.complaint = Some(Complaint::Invalid);
                self.bearer(&bearer).await
            }
            Err(failure) => {
                self.complaint = Some(Complaint::Invalid);
                Err(failure)
            }
        }
    }

    async fn known(&self, caller: Caller) -> Result<Caller, Failure> {
        match &self.need {
            Need::Known => self.auth.registry().recognize(&caller).await?,
            // Asked again when the body has arrived; who may not push shall not be given room for one.
            Need::To(Action::Push, name) => self.auth.registry().permit(&caller, Action::Push, name).await?,
            Need::Catalog | Need::To(..) => {}
        }
        Ok(caller)
    }

    async fn bearer(&mut self, bearer: &Bearer) -> Result<Caller, Failure> {
        let good = match &self.need {
            // One that nobody in particular was given says no more than none.
            Need::Known if *bearer.owner() == Caller::Anonymous => Some(bearer.owner()),
            Need::Known => return self.known(bearer.owner().clone()).await,
            Need::Catalog => bearer.caller_for_catalog(),
            Need::To(action, name) => match bearer.caller_for(name, *action) {
                None if *bearer.owner() == Caller::Anonymous && *action == Action::Pull => Some(bearer.owner()),
                None if *bearer.owner() == Caller::Anonymous => None,
                None if bearer.was_asked(name, *action) => {
                    // It may have been given it since; then it shall get a token for it.
                    self.auth.registry().permit(bearer.owner(), *action, name).await?;
                    None
                }
                good => good,
            },
        };
        let Some(good) = good.cloned() else {
            self.complaint = Some(Complaint::Insufficient);
            return Err(Error::Unauthorized.into());
        };
        self.known(good).await
    }
}

fn need(route: &Route) -> Need {
    let action = match route {
        Route::Base => return Need::Known,
        Route::Catalog => return Need::Catalog,
        Route::GetBlob { .. }
        | Route::HeadBlob { .. }
        | Route::GetManifest { .. }
        | Route::HeadManifest { .. }
        | Route::ListTags { .. }
        | Route::Referrers { .. } => Action::Pull,
        Route::StartUpload { .. }
        | Route::UploadStatus { .. }
        | Route::AppendUpload { .. }
        | Route::FinishUpload { .. }
        | Route::CancelUpload { .. }
        | Route::PutManifest { .. } => Action::Push,
        Route::DeleteBlob { .. } | Route::DeleteManifest { .. } => Action::Delete,
    };
    match route.repository() {
        Some(name) => Need::To(action, name.clone()),
        None => Need::Known,
    }
}

/// What a client is told to ask for.
fn scope(need: &Need, query: Option<&str>) -> Option<String> {
    let Need::To(action, name) = need else {
        return matches!(need, Need::Catalog).then(|| "registry:catalog:*".to_owned());
    };
    let actions = match action {
        Action::Pull => "pull",
        // Who pushes looks first what is there.
        Action::Push => "pull,push",
        Action::Delete | Action::Admin => "delete",
    };
    let mut scope = format!("repository:{name}:{actions}");
    let query = query.and_then(|query| Query::parse(query).ok());
    let from = query.as_ref().filter(|query| query.get("mount").is_some()).and_then(|query| query.get("from"));
    if let Some(from) = from.and_then(|from| from.parse::<RepositoryName>().ok()) {
        scope.push_str(&format!(" repository:{from}:pull"));
    }
    Some(scope)
}
