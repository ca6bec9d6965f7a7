//! By which names a server is asked that asks nobody who it is.
//!
//! What listens on a loopback address is reached by this machine only, and so by its browsers, too. Whoever owns a name can
//! let it point at 127.0.0.1 once its page is open, and the page may then do everything here that its name may do (DNS
//! rebinding). The request says by which name it was sent; so only names that are always those of this machine are served,
//! and those that the operator has told.
//!
//! A page of another site needs no such trick to *send* something here, only to read the answer. A browser says so, and what
//! would change something is refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::json;

use crate::asked_host::{asked_host, is_of_another_site, is_this_machine};
use crate::exchange::{Exchange, Labels};

/// Where to go from here.
const WAY_OUT: &str = "this server asks nobody who it is, so it answers only what was sent to localhost, *.localhost, \
    127.0.0.0/8 or [::1]; where a proxy or another name leads here, set http.host to the URL that clients use \
    (https://registry.example.com), or http.names to all their names, or have clients asked who they are (auth.enabled: true)";

/// What a browser is told.
const ANOTHER_SITE: &str = "a browser sent this for a page of another site";

/// The names that are served.
#[derive(Debug, Clone)]
pub struct OwnHosts {
    told: Vec<String>,
}

impl OwnHosts {
    /// Those of this machine, that of `base`, the URL under which clients reach the server, and `names`.
    pub fn new(base: Option<&str>, names: &[String]) -> Self {
        let of = |base: &str| base.split_once("://")?.1.trim_end_matches('/').parse::<Authority>().ok();
        let based = base.and_then(of).map(|base| plain(base.host()));
        Self { told: based.into_iter().chain(names.iter().map(|name| plain(name))).collect() }
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
                let asked = plain(host.host());
                self.told.contains(&asked) || is_this_machine(&host)
            }
            None => !headers.contains_key(HOST),
        }
    }
}

/// A host as all write it who mean the same.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_canonical().to_string())
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
    fn only_names_of_this_machine_and_those_that_were_told_are_served() {
        let names = ["Mirror.example.com", "10.0.0.9", "2001:DB8::9"].map(str::to_owned);
        let hosts = OwnHosts::new(Some("https://Registry.example.com:8443/"), &names);
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
            "mirror.example.COM:5000",
            "10.0.0.9",
            "[2001:db8:0::9]:5000",
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
            "a.mirror.example.com",
            "example.com",
            "[2001:db8::a]",
            "localhost@evil.example.com",
            "a b",
            "",
        ] {
            assert!(!served(other), "{other}");
        }
        assert!(hosts.have(&Uri::from_static("/v2/"), &HeaderMap::new()), "HTTP/1.0 names none");
        assert!(!hosts.have(&Uri::from_static("http://evil.example.com/v2/"), &HeaderMap::new()), "HTTP/2");
        assert!(!OwnHosts::new(None, &[]).have(&Uri::from_static("http://registry.example.com/"), &HeaderMap::new()));
    }
}
