//! What a handler gets of a request, and the pieces that answers are made of.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use roadstead_oci::{Digest, Query, RepositoryName};
use roadstead_registry::{ByteStream, Caller, OpenBlob, Registry};
use tokio_util::sync::CancellationToken;

use super::OciApi;
use crate::bounds::{Bounds, Place, Whole};
use crate::error_table::Failure;
use crate::inbound::Inbound;

/// The digest of what is answered, or was made.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The client behind a proxy, as the proxy tells it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The head of one request of a known route.
pub(crate) struct Call {
    api: OciApi,
    pub(super) caller: Caller,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    remote: IpAddr,
}

impl Call {
    pub(super) fn new(api: OciApi, caller: Caller, head: Parts, remote: IpAddr) -> Result<Self, Failure> {
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        Ok(Self { api, caller, headers: head.headers, query, remote })
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.api.registry
    }

    /// Where the client reads a blob by itself, if it should.
    pub(super) async fn elsewhere(&self, blob: &OpenBlob) -> Option<String> {
        let redirects = self.api.redirects.as_ref()?;
        redirects.url(blob, self.remote, self.headers.get(&FORWARDED_FOR)).await
    }

    /// Room for the body of a blob on its way out.
    pub(super) async fn place(&self) -> Result<Place, Failure> {
        self.api.bounds.place(self.api.body_timeout).await
    }

    /// A header's value, if it is text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of `Location` or `Link` for a path of this API.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api.base)
    }

    /// 201 for a blob that is now in a repository.
    pub(super) fn blob_created(&self, name: &RepositoryName, digest: &Digest) -> Result<Response<Body>, Failure> {
        let mut response = empty(StatusCode::CREATED);
        set(&mut response, LOCATION, &self.url(&format!("/v2/{name}/blobs/{digest}")))?;
        set(&mut response, CONTENT_DIGEST, &digest.to_string())?;
        Ok(response)
    }
}

/// The body of one request.
pub(crate) struct Payload {
    body: Body,
    timeout: Duration,
    ends: CancellationToken,
    bounds: Bounds,
}

impl Payload {
    pub(super) fn new(body: Body, timeout: Duration, ends: CancellationToken, bounds: Bounds) -> Self {
        Self { body, timeout, ends, bounds }
    }

    /// Its length, if the head says so: from `Content-Length`, or zero when there is no body.
    pub(super) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The body of a blob or a part of one, once the process has room for one more.
    pub(super) async fn into_blob(self) -> Result<ByteStream, Failure> {
        let place = match self.length() {
            Some(0) => None,
            _ => Some(self.bounds.place(self.timeout).await?),
        };
        Ok(Inbound::new(self.body, self.timeout, self.ends, place).boxed())
    }

    /// All of the body, refused before it is read when its head says it is too large, and never held beyond the limit.
    pub(super) async fn into_whole(self, limit: u64) -> Result<Whole, Failure> {
        if self.length().is_some_and(|announced| announced > limit) {
            return Err(roadstead_registry::Error::TooLarge { limit }.into());
        }
        let body = Inbound::new(self.body, self.timeout, self.ends, None).boxed();
        self.bounds.whole(body, limit, self.timeout).await
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer with a JSON body that is complete.
pub(super) fn json(media_type: &'static str, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Sets a header whose value may come from stored data; what is no header value is our fault, not the client's.
pub(super) fn set(response: &mut Response<Body>, name: HeaderName, value: &str) -> Result<(), Failure> {
    let value = HeaderValue::from_str(value)
        .map_err(|_| roadstead_registry::Error::Internal(format!("{name}: not a header value: {value:?}")))?;
    response.headers_mut().insert(name, value);
    Ok(())
}
