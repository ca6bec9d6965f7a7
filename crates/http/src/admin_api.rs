//! The admin API: what operators and users ask of a running instance and tell it to do. JSON under `/api/v1`.
//!
//! It is served in three ways. On a Unix socket ([`AdminSocket`](crate::AdminSocket)) to the operator, who may do everything
//! ([`AdminApi::router`]): who may open its directory is the administrator. Over the network to callers that somebody else
//! has recognized ([`AdminApi::for_callers`]): what each may is for the use case to say; what concerns the process is for
//! system admins. On a listener that only this machine reaches, what changes nothing is shown to everybody
//! ([`AdminApi::shown`]).
//!
//! A handler extracts from its [`call::Call`], asks one use case of `registry::identities` with the caller, and
//! renders; none looks at credentials. [`endpoints`] is the one table that makes both the router and the document.
//!
//! Long work is answered as it goes: one JSON object a line (`application/x-ndjson`), each with a field `event`, the
//! last of them `end` or `failed`. A caller that goes away breaks the work off where that does no harm.

mod audit;
mod call;
mod document;
mod endpoint;
mod endpoints;
mod gc;
mod grants;
mod instances;
mod keys;
mod lines;
mod organizations;
mod pages;
mod paths;
mod refusals;
mod repositories;
mod robots;
mod scrub;
mod settings;
mod teams;
mod tokens;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::any;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method};
use roadstead_oci::Query;
use roadstead_registry::identities::Identities;
use roadstead_registry::{Caller, Keyring};
use roadstead_workers::{Collection, Instances, Scrub, Supervisor};

use crate::asked_host::{is_asked_here, is_of_another_site};
use crate::exchange::{Exchange, Labels};
use call::Call;
use endpoint::{Endpoint, Who};
use endpoints::ENDPOINTS;
use paths::{BASE, Parameters};
use refusals::{Answer, Refusal};
pub use settings::Setting;

/// What changes nothing and tells no secret: the endpoints that everybody on this machine may ask.
const SHOWN: [&str; 2] = ["/workers", "/instances"];

/// The admin API over the background work of an instance and the identities that it knows.
#[derive(Debug, Clone)]
pub struct AdminApi {
    workers: Arc<Supervisor>,
    collection: Arc<Collection>,
    scrub: Arc<Scrub>,
    instances: Arc<Instances>,
    identities: Arc<Identities>,
    keys: Option<Arc<Keyring>>,
    settings: Arc<Vec<Setting>>,
}

impl AdminApi {
    /// Shows `workers`, of which one is `scrub`, and `instances`; runs `collection` and `scrub` when asked to; administers
    /// `identities`.
    pub fn new(
        workers: Arc<Supervisor>,
        collection: Arc<Collection>,
        scrub: Arc<Scrub>,
        instances: Arc<Instances>,
        identities: Arc<Identities>,
    ) -> Self {
        Self { workers, collection, scrub, instances, identities, keys: None, settings: Arc::default() }
    }

    /// Rotates these signing keys when asked to.
    pub fn with_keys(self, keys: Option<Arc<Keyring>>) -> Self {
        Self { keys, ..self }
    }

    /// Shows these settings.
    pub fn with_settings(self, settings: Vec<Setting>) -> Self {
        Self { settings: settings.into(), ..self }
    }

    /// What of it changes nothing and may be asked over the network of a machine that nobody else reaches.
    pub fn shown(self) -> Router {
        let shown = |router: Router<Self>, path: &str| router.route(&format!("{BASE}{path}"), any(serve));
        SHOWN.into_iter().fold(Router::new(), shown).layer(middleware::from_fn(for_this_machine)).with_state(self)
    }

    /// All of it, for whom an outer layer has recognized: it puts a [`Caller`] among the extensions of the request. Without
    /// one the answer is 401.
    pub fn for_callers(self) -> Router {
        self.served().layer(middleware::from_fn(from_this_site))
    }

    /// All of it, for the operator.
    pub fn router(self) -> Router {
        self.served().layer(Extension(Caller::Operator))
    }

    fn served(self) -> Router {
        let paths = [BASE.to_owned(), format!("{BASE}/"), format!("{BASE}/{{*endpoint}}")];
        paths.iter().fold(Router::new(), |router, path| router.route(path, any(serve))).with_state(self)
    }
}

/// One request, to its answer.
async fn serve(State(api): State<AdminApi>, request: Request) -> Response<Body> {
    let exchange = request.extensions().get::<Arc<Exchange>>().cloned();
    if let Some(exchange) = &exchange {
        exchange.label(Labels { route: "admin", ..Labels::default() });
    }
    let answer = answer(api, request).await;
    let id = exchange.as_ref().map_or("", |exchange| exchange.id.as_str());
    let mut response = answer.unwrap_or_else(|refusal| refusal.render(id));
    let head = response.headers_mut();
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn answer(api: AdminApi, request: Request) -> Answer {
    let path = request.uri().path().to_owned();
    let (endpoint, parameters) = endpoint(request.method(), path.strip_prefix(BASE).unwrap_or_default())?;
    let caller = match (request.extensions().get::<Caller>(), endpoint.who) {
        (Some(caller), _) => caller.clone(),
        (None, Who::Anybody) => Caller::Anonymous,
        (None, _) => return Err(Refusal::unauthorized()),
    };
    if endpoint.who == Who::Admins {
        api.identities.require_admin(&caller).await?;
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let query = query.map_err(|error| Refusal::malformed(error.to_string()))?;
    let body = match endpoint.takes {
        // Forms of web pages can be made to look like JSON.
        Some(_) if !says_json(request.headers()) => return Err(Refusal::no_json()),
        Some(_) => call::read(request.into_body()).await?,
        None => Bytes::new(),
    };
    (endpoint.handler)(Call { api, caller, path, parameters, query, body }).await
}

/// Whether a body is said to be JSON, or nothing is said of it. Pages can have a browser say nothing, too: what is of
/// another site is refused before, [`from_this_site`].
fn says_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Finds the endpoint of a path below [`BASE`]. HEAD is answered as GET, whose body is not sent.
fn endpoint(method: &Method, path: &str) -> Result<(&'static Endpoint, Parameters), Refusal> {
    let fitting = ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint, paths::fit(endpoint.path, path)?)));
    let mut fitting = fitting.peekable();
    let pattern = fitting.peek().map(|(endpoint, _)| endpoint.path).ok_or_else(Refusal::no_endpoint)?;
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for (endpoint, parameters) in fitting.filter(|(endpoint, _)| endpoint.path == pattern) {
        if endpoint.method == *method {
            return Ok((endpoint, parameters));
        }
        allowed.push(endpoint.method.as_str());
    }
    Err(Refusal::no_method(allowed.join(", ")))
}

/// Lets those through who asked this machine by its own name, without a proxy between, as if they were the operator: what
/// listens on loopback may be published by one, and a browser may be told that another name is that of this machine.
async fn for_this_machine(mut request: Request, next: Next) -> Response<Body> {
    if is_asked_here(request.uri(), request.headers()) {
        request.extensions_mut().insert(Caller::Operator);
        next.run(request).await
    } else {
        Refusal::no_endpoint().render("")
    }
}

/// Refuses what a page of another site has a browser send, which would add the credentials that it knows.
async fn from_this_site(request: Request, next: Next) -> Response<Body> {
    match is_of_another_site(request.uri(), request.headers()) {
        true => Refusal::denied("a browser sent this for a page of another site").render(""),
        false => next.run(request).await,
    }
}
