//! The OCI distribution API (spec 1.1) and what Docker adds to it.
//!
//! One fallback: the path is routed by [`roadstead_oci::route`], then one handler per endpoint extracts, calls one use
//! case with the caller it acts for, and renders. What fails becomes an answer in [`crate::error_table`], once, here.
//!
//! Decisions of this floor, beyond the spec:
//! - A manifest is answered with the media type it was pushed with, whatever `Accept` says: to answer 404 would hide
//!   content that is there, and to convert would change its digest.
//! - `Location` is relative unless `host` is set, so that it is right behind any proxy.
//! - Content under a digest may be cached for ever, content under a tag only with revalidation by `ETag`, which is the
//!   quoted digest.

mod admission;
mod audited;
mod base;
mod blobs;
mod call;
mod catalog;
mod conditional;
mod manifests;
mod paging;
mod referrers;
mod tags;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::Body as _;
use roadstead_oci::{Reference, Route, RouteError, route};
use roadstead_registry::Registry;
use roadstead_registry::audit::Audit;

use crate::auth::Auth;
use crate::bounds::Bounds;
use crate::error_table::{Failure, render};
use crate::exchange::{Exchange, Labels};
use crate::redirects::Redirects;
use admission::Door;
use audited::Audited;
use call::{Call, Payload};
pub(crate) use uploads::{UPLOAD_UUID, received_range};

/// Docker's sign of a registry; its clients look for it on `/v2/`.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What a handler answers.
pub(crate) type Answer = Result<Response<Body>, Failure>;

/// The OCI API over a registry.
#[derive(Debug, Clone)]
pub struct OciApi {
    registry: Arc<Registry>,
    /// Put before paths in `Location` and `Link`: scheme and authority, without a slash at the end.
    base: Arc<str>,
    body_timeout: Duration,
    bounds: Bounds,
    redirects: Option<Redirects>,
    auth: Option<Auth>,
    audit: Option<Arc<Audit>>,
}

impl OciApi {
    /// The API with relative locations and a body timeout of 60 s.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            base: "".into(),
            body_timeout: Duration::from_secs(60),
            bounds: Bounds::default(),
            redirects: None,
            auth: None,
            audit: None,
        }
    }

    /// Answers absolute locations that begin with `host`, such as `https://registry.example.com`.
    pub fn with_host(mut self, host: &str) -> Self {
        self.base = host.trim_end_matches('/').into();
        self
    }

    /// Gives up a request whose client sends nothing of a body for so long (408).
    pub fn with_body_timeout(mut self, limit: Duration) -> Self {
        self.body_timeout = limit;
        self
    }

    /// Shares `bounds` among all requests, those of other APIs with the same bounds included. Who waits longer than
    /// the body timeout for room is answered 503.
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Asks who requests come from. Without, everybody is nobody in particular.
    pub fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Sends clients to the store for blobs where `redirects` allow it. Without, all bytes go through this process.
    pub fn with_redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = Some(redirects);
        self
    }

    /// Tells `audit` who did what.
    pub fn with_audit(mut self, audit: Arc<Audit>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// The API as a router for [`crate::App::new`]; it answers every path.
    pub fn router(self) -> Router {
        Router::new().fallback(handle).with_state(self)
    }
}

async fn handle(
    State(api): State<OciApi>,
    Extension(exchange): Extension<Arc<Exchange>>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let routed = route(head.method.as_str(), head.uri.path());
    exchange.label(labels(&routed, exchange.is_logged()));
    let mut audited = Audited::of(api.audit.as_ref(), &routed, &head, &exchange);
    let is_head = head.method == Method::HEAD;
    let (base, timeout, bounds) = (Arc::clone(&api.base), api.body_timeout, api.bounds.clone());
    let name = routed.as_ref().ok().and_then(Route::repository).cloned();
    let mut door = Door::new(api.auth.as_ref(), &routed, &head, &exchange);
    let answer = match routed {
        Ok(route) => {
            let caller = door.admit(&head.headers).await;
            match caller.and_then(|caller| Call::new(api.clone(), caller, head, exchange.remote.ip())) {
                Ok(call) => {
                    audited.iter_mut().for_each(|audited| audited.by(&call.caller));
                    serve(route, &call, Payload::new(body, timeout, exchange.body_ends.clone(), bounds)).await
                }
                Err(failure) => Err(failure),
            }
        }
        Err(error) => Err(error.into()),
    };
    let mut response = match answer {
        Ok(response) => response,
        Err(failure) => {
            let mut response = render(failure, &base, name.as_ref(), exchange.id.as_str());
            door.challenge(&mut response);
            if is_head {
                // The head says what GET would answer, its length included.
                let body = std::mem::replace(response.body_mut(), Body::empty());
                let length = HeaderValue::from(body.size_hint().lower());
                response.headers_mut().insert(CONTENT_LENGTH, length);
            }
            response
        }
    };
    if let Some(audited) = audited {
        audited.answered(&response);
    }
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // What is stored says itself what it is; nobody shall guess it to be a page or a script.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    tame(response.headers_mut());
    response
}

/// Somebody may have pushed a page under a type that browsers show. They are to keep it, and to run nothing of it: here it
/// would run with the credentials of whoever looks.
fn tame(headers: &mut HeaderMap) {
    let Some(kind) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else { return };
    let harmless = [&b"application/vnd."[..], b"application/octet-stream", b"application/json"];
    if !harmless.into_iter().any(|known| kind.starts_with(known)) || kind.ends_with(b"xml") {
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    }
}

/// Every endpoint, by its handler.
async fn serve(route: Route, call: &Call, body: Payload) -> Answer {
    match route {
        Route::Base => Ok(base::answer()),
        Route::GetBlob { name, digest } => blobs::get(call, &name, &digest).await,
        Route::HeadBlob { name, digest } => blobs::head(call, &name, &digest).await,
        Route::DeleteBlob { name, digest } => blobs::delete(call, &name, &digest).await,
        Route::StartUpload { name } => uploads::start(call, body, &name).await,
        Route::UploadStatus { name, session } => uploads::status(call, &name, &session).await,
        Route::AppendUpload { name, session } => uploads::append(call, body, &name, &session).await,
        Route::FinishUpload { name, session } => uploads::finish(call, body, &name, &session).await,
        Route::CancelUpload { name, session } => uploads::cancel(call, &name, &session).await,
        Route::GetManifest { name, reference } => manifests::get(call, &name, &reference).await,
        Route::HeadManifest { name, reference } => manifests::head(call, &name, &reference).await,
        Route::PutManifest { name, reference } => manifests::put(call, body, &name, reference).await,
        Route::DeleteManifest { name, reference } => manifests::delete(call, &name, &reference).await,
        Route::ListTags { name } => tags::list(call, &name).await,
        Route::Referrers { name, digest } => referrers::list(call, &name, &digest).await,
        Route::Catalog => catalog::list(call).await,
    }
}

/// What log and metrics are told; what only the log is told, only if it is `logged`.
fn labels(routed: &Result<Route, RouteError>, logged: bool) -> Labels {
    let Ok(route) = routed else { return Labels { route: "unrouted", ..Labels::default() } };
    if !logged {
        return Labels { route: route.name(), ..Labels::default() };
    }
    let digest = match route {
        Route::GetBlob { digest, .. }
        | Route::HeadBlob { digest, .. }
        | Route::DeleteBlob { digest, .. }
        | Route::Referrers { digest, .. } => Some(digest.to_string()),
        Route::GetManifest { reference: Reference::Digest(digest), .. }
        | Route::HeadManifest { reference: Reference::Digest(digest), .. }
        | Route::PutManifest { reference: Reference::Digest(digest), .. }
        | Route::DeleteManifest { reference: Reference::Digest(digest), .. } => Some(digest.to_string()),
        _ => None,
    };
    Labels { route: route.name(), repository: route.repository().map(ToString::to_string), digest }
}
