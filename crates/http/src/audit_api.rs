//! `GET /api/v1/audit`: who did what, of all instances, newest first.
//!
//! Parameters, each of which may be left out: `since` and `until` (milliseconds since the Unix epoch, `2025-06-15` or
//! `2025-06-15T10:30:00Z`), `repository`, `actor`, `action`, `outcome`, `n` (100, at most 1000) and `last`, the `next` of
//! an earlier answer. Another one is refused by name, so that a misspelt filter does not show everything.
//!
//! The answer is `{"events": [...], "next": id or null}`; a page may have fewer events than were asked for, or none, and
//! yet a `next`: so much was looked at. For system admins; of one repository also for its admins, since it was made.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{CONTENT_TYPE, LINK, RETRY_AFTER};
use http::{HeaderValue, StatusCode, Uri};
use roadstead_metadata::Millis;
use roadstead_oci::{Query, RepositoryName};
use roadstead_registry::Caller;
use roadstead_registry::audit::{Filter, to_time};
use roadstead_registry::identities::{Identities, IdentityError};
use roadstead_workers::AuditLog;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::exchange::Exchange;

/// Events of a page, unless asked for otherwise, and at most.
const PAGE: usize = 100;
const MOST: usize = 1000;

/// Parameters of the query, and what each says.
pub(crate) const PARAMETERS: [(&str, &str); 8] = [
    ("since", "noted then or later: milliseconds since the Unix epoch, 2025-06-15 or 2025-06-15T10:30:00Z"),
    ("until", "noted before"),
    ("repository", "in this repository"),
    ("actor", "by whom, as in alice, acme+ci, anonymous, operator, system"),
    ("action", "what was done; grant is all that begins with grant."),
    ("outcome", "ok, denied, failed or unknown"),
    ("n", "events at most: 100 without it, 1000 at most"),
    ("last", "the next of an earlier answer: go on there"),
];

/// Events, newest first. A page may have fewer than were asked for, or none, and yet a `next`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditPage")]
#[allow(dead_code, reason = "only described here")]
pub(crate) struct Page {
    events: Vec<AuditEvent>,
    /// Where to go on, as `last`; `null` when there is nothing more.
    next: Option<Uuid>,
}

/// One thing that somebody did or tried. What does not apply is left out.
#[derive(Serialize, JsonSchema)]
#[allow(dead_code, reason = "only described here")]
struct AuditEvent {
    /// Greater than those of earlier events of the same process.
    id: Uuid,
    /// When it was noted, in milliseconds since the Unix epoch.
    at: Millis,
    /// `pull`, `push`, `login`, `user.add`, ...
    action: String,
    /// `ok`, `denied`, `failed` or `unknown`.
    outcome: String,
    /// `user`, `robot`, `anonymous`, `operator`, `system` or `claimed`.
    actor_kind: String,
    /// Who, by name.
    actor: Option<String>,
    /// The access token it came with.
    token: Option<Uuid>,
    /// The client's address.
    remote: Option<String>,
    repository: Option<String>,
    tag: Option<String>,
    digest: Option<String>,
    /// Whom or what a change is about.
    object: Option<String>,
    /// What becomes of it.
    detail: Option<String>,
    /// What was answered.
    status: Option<u16>,
    request_id: Option<String>,
    /// The process that noted it.
    instance: Uuid,
    /// How many events this one stands for.
    count: Option<u64>,
}

/// The audit, to those who may see it.
#[derive(Debug, Clone)]
pub struct AuditApi {
    log: Arc<AuditLog>,
    identities: Option<Arc<Identities>>,
}

impl AuditApi {
    /// Shows `log` to the operator only.
    pub fn new(log: Arc<AuditLog>) -> Self {
        Self { log, identities: None }
    }

    /// Shows it also to whom `identities` know as a system admin, and of one repository to its admins.
    pub fn with_identities(mut self, identities: Arc<Identities>) -> Self {
        self.identities = Some(identities);
        self
    }

    /// The endpoint. Who asks is the [`Caller`] among the request's extensions; without one it is nobody.
    pub fn router(self) -> Router {
        Router::new().route("/api/v1/audit", get(show)).with_state(self)
    }

    /// The endpoint for a socket that only the operator reaches.
    pub fn for_operator(self) -> Router {
        self.router().layer(Extension(Caller::Operator))
    }
}

/// What changes and logins are noted with: address and id of the request they came with. For routers.
pub(crate) async fn with_origin(request: Request, next: Next) -> Response<Body> {
    match request.extensions().get::<Arc<Exchange>>() {
        Some(exchange) => exchange.origin().scope(next.run(request)).await,
        None => next.run(request).await,
    }
}

async fn show(State(api): State<AuditApi>, caller: Option<Extension<Caller>>, uri: Uri) -> Response<Body> {
    let Some(Extension(caller)) = caller else {
        return refuse(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
    };
    let wish = match Wish::read(&uri) {
        Ok(wish) => wish,
        Err(why) => return refuse(StatusCode::UNPROCESSABLE_ENTITY, "INVALID", &why),
    };
    let since = match api.admit(&caller, wish.repository.as_ref()).await {
        Ok(since) => since,
        Err(refused) => return refused,
    };
    let filter = since.into_iter().fold(wish.filter.clone(), Filter::not_before);
    match api.log.page(&filter, wish.limit).await {
        Ok(page) => {
            let mut response = json(StatusCode::OK, &json!({ "events": page.events, "next": page.next }));
            if let Some(link) = page.next.and_then(|next| wish.link(&uri, next)) {
                response.headers_mut().insert(LINK, link);
            }
            response
        }
        Err(error) => {
            tracing::warn!(%error, "the audit cannot be read");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the store does not answer; try again later")
        }
    }
}

impl AuditApi {
    /// Lets in who may see it, and tells since when.
    async fn admit(
        &self,
        caller: &Caller,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Millis>, Response<Body>> {
        if *caller == Caller::Operator {
            return Ok(None);
        }
        let denied = |why: &str| refuse(StatusCode::FORBIDDEN, "DENIED", why);
        let Some(identities) = &self.identities else { return Err(denied("only the operator may see the audit")) };
        identities.may_audit(caller, repository).await.map_err(|error| match error {
            IdentityError::Unauthorized => refuse(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required"),
            IdentityError::Denied(why) => denied(&why),
            IdentityError::Registry(roadstead_registry::Error::NameUnknown(_)) | IdentityError::Unknown(_) => {
                refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is no such repository")
            }
            error => {
                tracing::warn!(%error, "who may see the audit cannot be known");
                refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the metadata does not answer; try again later")
            }
        })
    }
}

/// What a query asks for.
struct Wish {
    filter: Filter,
    repository: Option<RepositoryName>,
    limit: usize,
}

impl Wish {
    fn read(uri: &Uri) -> Result<Self, String> {
        let known = PARAMETERS.map(|(name, _)| name);
        let text = uri.query().unwrap_or_default();
        let names = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
        if let Some(other) = names.into_iter().find(|name| !known.contains(name)) {
            return Err(format!("unknown parameter {other:?}; there are {}", known.join(", ")));
        }
        let query = Query::parse(text).map_err(|error| error.to_string())?;
        let given = |name: &str| query.get(name).filter(|value| !value.is_empty());
        let wrong = |name: &'static str| move |error: &dyn std::fmt::Display| format!("{name}: {error}");
        let time = |name| given(name).map(to_time).transpose().map_err(|error| wrong(name)(&error));
        let name = given("repository").map(str::parse::<RepositoryName>).transpose();
        let repository = name.map_err(|error| wrong("repository")(&error))?;
        let last = given("last").map(str::parse::<Uuid>).transpose().map_err(|error| wrong("last")(&error))?;
        let limit = given("n").map_or(Ok(PAGE), str::parse).map_err(|error| wrong("n")(&error))?;
        let text = |name| given(name).map(str::to_owned);
        let filter = Filter {
            since: time("since")?,
            until: time("until")?,
            repository: None,
            actor: text("actor"),
            action: text("action"),
            outcome: text("outcome"),
            before: last,
        };
        let filter = repository.iter().fold(filter, Filter::within);
        Ok(Self { filter, repository, limit: limit.clamp(1, MOST) })
    }

    /// The same query, going on there.
    fn link(&self, uri: &Uri, next: Uuid) -> Option<HeaderValue> {
        let pairs = uri.query().unwrap_or_default().split('&');
        let same: Vec<&str> = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("last=")).collect();
        let query = same.into_iter().map(|pair| format!("{pair}&")).collect::<String>();
        HeaderValue::from_str(&format!("</api/v1/audit?{query}last={next}>; rel=\"next\"")).ok()
    }
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let mut response = json(status, &json!({ "errors": [{ "code": code, "message": message }] }));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

fn json(status: StatusCode, body: &Value) -> Response<Body> {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
