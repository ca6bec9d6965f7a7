//! `/auth/token`: a password, an access token or a refresh token becomes a token for some repositories.
//!
//! By GET as Docker's registry specifies it, with Basic or for nobody in particular; by POST as OAuth 2 does (RFC 6749), with
//! `grant_type` `password` or `refresh_token`. The answer is given whatever may be done: what may not is not in it.
//!
//! Refresh tokens are given by POST only, with `access_type=offline`, and each is used once: its answer has the next one.
//! `docker login` asks for one by GET (`offline_token`), would keep it for ever and use it twice, and so gets none.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, Request, State};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use roadstead_oci::Query;
use roadstead_registry::audit::AuditOutcome;
use roadstead_registry::identities::{IdentityError, NewRefresh};
use roadstead_registry::{Caller, Error, Issued, Wishes};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Auth, Visitor};
use crate::error_table::{Failure, render};
use crate::exchange::{Exchange, Labels};
use crate::small_body::{self, NoBody};

/// The longest body of a POST in bytes.
const LONGEST: usize = 16 << 10;
/// How long a refresh token can be used, in milliseconds.
const REFRESH_LIFE: i64 = 30 * 86_400_000;

type Answer = Result<Value, Failure>;

pub(super) fn router(auth: Auth) -> Router {
    Router::new()
        .route("/auth/token", get(by_get).post(by_post))
        .route("/auth/keys", get(keys))
        .layer(axum::middleware::from_fn(crate::audit_api::with_origin))
        .with_state(auth)
}

async fn by_get(
    State(auth): State<Auth>,
    Extension(exchange): Extension<Arc<Exchange>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    exchange.label(Labels { route: "token", ..Labels::default() });
    let answer = auth.exchange_head(&headers, query.as_deref().unwrap_or_default(), exchange.remote.ip()).await;
    respond(answer, &exchange)
}

async fn by_post(
    State(auth): State<Auth>,
    Extension(exchange): Extension<Arc<Exchange>>,
    request: Request,
) -> Response<Body> {
    exchange.label(Labels { route: "token", ..Labels::default() });
    let answer = match small_body::read(request.into_body(), LONGEST).await {
        Ok(body) => auth.exchange_form(&body, exchange.remote.ip()).await,
        Err(NoBody::TooLarge) => {
            Err(Failure::cut_off(StatusCode::PAYLOAD_TOO_LARGE, format!("the form has more than {LONGEST} bytes")))
        }
        Err(NoBody::NotWhole) => Err(Failure::cut_off(StatusCode::REQUEST_TIMEOUT, "the form did not come to its end")),
    };
    respond(answer, &exchange)
}

/// `GET /auth/keys`: the public keys, as a JWK set (RFC 7517).
async fn keys(State(auth): State<Auth>, Extension(exchange): Extension<Arc<Exchange>>) -> Response<Body> {
    exchange.label(Labels { route: "keys", ..Labels::default() });
    let mut response = Response::new(Body::from(json!({ "keys": auth.0.issuer.keys().published() }).to_string()));
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    // No longer than a new key is known before it is used.
    head.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=15"));
    response
}

impl Auth {
    async fn exchange_head(&self, headers: &HeaderMap, query: &str, remote: IpAddr) -> Answer {
        let query = form(query)?;
        let wishes = self.wishes(&query)?;
        let caller = match self.visitor(headers, remote).await? {
            Visitor::Nobody => Caller::Anonymous,
            Visitor::Owner(caller) => caller,
            // A token is not exchanged for another: it would outlive its time.
            Visitor::Bearer(_) => return Err(Error::Unauthorized.into()),
        };
        let issued = self.0.issuer.issue(&self.0.registry, &caller, &wishes).await?;
        let mut answer = shown(&issued);
        // What it was called before OAuth 2.
        answer["token"] = issued.token.into();
        Ok(answer)
    }

    async fn exchange_form(&self, body: &[u8], remote: IpAddr) -> Answer {
        let text = std::str::from_utf8(body).map_err(|_| Failure::form(StatusCode::BAD_REQUEST, "not UTF-8"))?;
        let form = form(text)?;
        let wishes = self.wishes(&form)?;
        let field = |name: &'static str| {
            let missing = || Failure::form(StatusCode::BAD_REQUEST, format!("{name} is missing"));
            form.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
        };
        let (caller, offline) = match field("grant_type")? {
            "password" => {
                let caller = self.log_in(field("username")?, field("password")?, remote).await?;
                (caller, form.get("access_type") == Some("offline"))
            }
            "refresh_token" => return self.refreshed(field("refresh_token")?, &wishes, remote).await,
            other => {
                let text = format!("grant_type {other:?} is neither password nor refresh_token");
                return Err(Failure::form(StatusCode::BAD_REQUEST, text));
            }
        };
        let issued = self.0.issuer.issue(&self.0.registry, &caller, &wishes).await?;
        let mut answer = shown(&issued);
        if let (true, Caller::Known(identity)) = (offline, &caller) {
            let new = NewRefresh { identity, service: self.0.issuer.service(), life: REFRESH_LIFE };
            if let Some(refresh) = self.0.identities.create_refresh(new).await.map_err(of_identity)? {
                answer["refresh_token"] = refresh.into();
            }
        }
        Ok(answer)
    }

    /// What a refresh token is exchanged for. Not remembered: it is used up.
    async fn refreshed(&self, token: &str, wishes: &Wishes, remote: IpAddr) -> Answer {
        let attempt = self.begin(None, remote)?;
        let renewed = self.renewed(token, wishes, remote).await;
        if !matches!(renewed, Err(IdentityError::Unauthorized)) {
            attempt.succeeded();
        }
        match &renewed {
            Ok((caller, _)) => self.tell(None, remote, Ok(caller)),
            Err(IdentityError::Unauthorized) => self.tell(None, remote, Err(AuditOutcome::Denied)),
            Err(_) => self.tell(None, remote, Err(AuditOutcome::Failed)),
        }
        renewed.map(|(_, answer)| answer).map_err(of_identity)
    }

    /// All that can fail comes before the token is used up.
    async fn renewed(&self, token: &str, wishes: &Wishes, remote: IpAddr) -> Result<(Caller, Value), IdentityError> {
        let shown_now = self.0.identities.show_refresh(token, self.0.issuer.service(), remote).await?;
        let caller = Caller::from(shown_now.identity.clone());
        let issued = self.0.issuer.issue(&self.0.registry, &caller, wishes).await.map_err(|error| match error {
            Error::Unauthorized => IdentityError::Unauthorized,
            other => other.into(),
        })?;
        let mut answer = shown(&issued);
        answer["refresh_token"] = self.0.identities.renew_refresh(&shown_now, REFRESH_LIFE).await?.into();
        Ok((caller, answer))
    }

    /// What the token is to be good for, if it is to be one of this service.
    fn wishes(&self, form: &Query) -> Result<Wishes, Failure> {
        let service = self.0.issuer.service();
        match form.get("service") {
            Some(other) if other != service && !other.is_empty() => {
                let text = format!("tokens are issued for service {service:?} here, not for {other:?}");
                return Err(Failure::form(StatusCode::BAD_REQUEST, text));
            }
            _ => {}
        }
        Wishes::parse(form.get_all("scope")).map_err(|error| Failure::form(StatusCode::BAD_REQUEST, error.to_string()))
    }
}

/// `application/x-www-form-urlencoded`, in which a space is a plus.
fn form(text: &str) -> Result<Query, Failure> {
    Query::parse(&text.replace('+', "%20")).map_err(|error| Failure::form(StatusCode::BAD_REQUEST, error.to_string()))
}

fn shown(issued: &Issued) -> Value {
    let at = OffsetDateTime::from_unix_timestamp(issued.at / 1000).ok().and_then(|at| at.format(&Rfc3339).ok());
    json!({
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.life.as_secs(),
        "issued_at": at,
        "scope": issued.scope,
    })
}

fn of_identity(error: IdentityError) -> Failure {
    match error {
        IdentityError::Registry(error) => error.into(),
        _ => Error::Unauthorized.into(),
    }
}

fn respond(answer: Answer, exchange: &Exchange) -> Response<Body> {
    let mut response = match answer {
        Ok(answer) => {
            let mut response = Response::new(Body::from(answer.to_string()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(failure) => render(failure, "", None, exchange.id.as_str()),
    };
    let head = response.headers_mut();
    if head.contains_key(WWW_AUTHENTICATE) {
        head.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"roadstead\""));
    }
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
