//! By which names a server is asked that asks nobody who it is.
//!
//! What listens on a loopback address is reached by this machine only, and so by its browsers, too. Whoever owns a name can
//! let it point at 127.0.0.1 once its page is open, and the page may then do everything here that its name may do (DNS
//! rebinding). The request says by which name it was sent; so only names that are always those of this machine are served,
//! and the one that the operator has told.
//!
//! A page of another site needs no such trick to *send* something here, only to read the answer. A browser says so, and what
//! would change something is refused.

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::json;
use std::sync::Arc;

use crate::asked_host::{asked_host, is_of_another_site, is_this_machine};
use crate::exchange::{Exchange, Labels};

/// Where to go from here.
const WAY_OUT: &str = "this server asks nobody who it is, so it answers only what was sent to localhost, *.localhost, \
    127.0.0.0/8 or [::1]; where a proxy or another name leads here, set http.host to the URL that clients use \
    (https://registry.example.com), or have clients asked who they are (auth.enabled: true)";

/// What a browser is told.
const ANOTHER_SITE: &str = "a browser sent this for a page of another site";

/// The names that are served.
#[derive(Debug, Clone)]
pub struct OwnHosts {
    told: Option<Authority>,
}

impl OwnHosts {
    /// Those of this machine, and that of `base`, the URL under which clients reach the server.
    pub fn new(base: Option<&str>) -> Self {
        let authority = base.and_then(|base| base.split_once("://")?.1.trim_end_matches('/').parse().ok());
        Self { told: authority }
    }

    /// Whether a request is to be served: sent to one of them, and, where it may change something, by no page of elsewhere.
    pub(crate) fn serve(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        self.have(uri, headers) && !(changes && is_of_another_site(uri, headers))
    }

    /// Whether a request was sent to one of them. One that names no host, as of HTTP/1.0, is of no browser.
    fn have(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        match asked_host(uri, headers) {
            Some(host) => {
                let told = self.told.as_ref().is_some_and(|told| told.host().eq_ignore_ascii_case(host.host()));
                told || is_this_machine(&host)
            }
            None => !headers.contains_key(HOST),
        }
    }
}

/// Refuses everything: to whoever came by another name, or for a page of another site.
pub(crate) fn refusing_others() -> Router {
    Router::new().fallback(async |Extension(exchange): Extension<Arc<Exchange>>, request: Request<Body>| {
        exchange.label(Labels { route: "refused", ..Labels::default() });
        let (status, why) = match is_of_another_site(request.uri(), request.headers()) {
            true => (StatusCode::FORBIDDEN, ANOTHER_SITE),
            false => (StatusCode::MISDIRECTED_REQUEST, WAY_OUT),
        };
        let mut response =
            Response::new(Body::from(json!({ "errors": [{ "code": "DENIED", "message": why }] }).to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_names_of_this_machine_and_the_one_that_was_told_are_served() {
        let hosts = OwnHosts::new(Some("https://Registry.example.com:8443/"));
        let served =
            |host: &str| hosts.have(&Uri::from_static("/v2/"), &HeaderMap::from_iter([(HOST, host.parse().unwrap())]));
        for own in [
            "localhost",
            "localhost:5000",
            "LocalHost:5000",
            "registry.localhost",
            "127.0.0.1:5000",
            "127.1.2.3",
            "[::1]:5000",
            "[::ffff:127.0.0.1]:5000",
            "registry.example.com",
            "registry.example.com:8443",
        ] {
            assert!(served(own), "{own}");
        }
        for other in [
            "evil.example.com",
            "evil.example.com:5000",
            "localhost.evil.example.com",
            "evillocalhost",
            "127.0.0.1.evil.example.com",
            "10.0.0.1:5000",
            "localhost@evil.example.com",
            "a b",
            "",
        ] {
            assert!(!served(other), "{other}");
        }
        assert!(hosts.have(&Uri::from_static("/v2/"), &HeaderMap::new()), "HTTP/1.0 names none");
        assert!(!hosts.have(&Uri::from_static("http://evil.example.com/v2/"), &HeaderMap::new()), "HTTP/2");
        assert!(!OwnHosts::new(None).have(&Uri::from_static("http://registry.example.com/"), &HeaderMap::new()));
    }
}
