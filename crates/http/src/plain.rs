//! What is answered without TLS beside a listener that speaks it: health, the certificate authority that was made here,
//! and for everything else where it is to be had.

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use std::sync::Arc;

use crate::asked_host::asked_host;
use crate::exchange::{Exchange, Labels};
use crate::tls::Tls;

/// The port that nobody has to name.
const HTTPS: u16 = 443;

/// Sends every request to TLS at the host it was asked of, and this port.
pub(crate) fn sending_to_tls(port: u16) -> Router {
    Router::new().fallback(async move |Extension(exchange): Extension<Arc<Exchange>>, request: Request<Body>| {
        exchange.label(Labels { route: "redirect", ..Labels::default() });
        match target(request.uri(), request.headers(), port) {
            Some(location) => {
                let mut response = text(StatusCode::PERMANENT_REDIRECT, "this registry speaks TLS\n");
                response.headers_mut().insert(LOCATION, location);
                response
            }
            None => text(StatusCode::BAD_REQUEST, "this registry speaks TLS, and the request names no host to go to\n"),
        }
    })
}

/// Answers everything with a refusal: to a proxy that does not say for whom it asks.
pub(crate) fn refusing_unnamed() -> Router {
    Router::new().fallback(async |Extension(exchange): Extension<Arc<Exchange>>| {
        exchange.label(Labels { route: "refused", ..Labels::default() });
        text(
            StatusCode::FORBIDDEN,
            "connections from this address must begin with a PROXY header (http.proxy_protocol.trusted); without one \
             only health is answered\n",
        )
    })
}

/// The authority that made the certificate, for who is to trust it; nothing when nobody made one here.
pub(crate) fn authority(tls: &Tls) -> Option<Router> {
    let certificate = tls.authority()?.certificate().to_owned();
    let answer = async move |Extension(exchange): Extension<Arc<Exchange>>| {
        exchange.label(Labels { route: "ca", ..Labels::default() });
        let mut response = text(StatusCode::OK, certificate);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file"));
        response
    };
    Some(Router::new().route("/ca", get(answer)))
}

fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same resource over TLS; `None` when the request names no host that could be asked.
fn target(uri: &Uri, headers: &HeaderMap, port: u16) -> Option<HeaderValue> {
    let authority = asked_host(uri, headers)?;
    let host = authority.host();
    // A name with credentials before it is one that somebody wants to be misread.
    if host.is_empty() || authority.as_str().contains('@') {
        return None;
    }
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    // `*`, of OPTIONS, would become part of the name.
    let path = uri.path_and_query().map(|path| path.as_str()).filter(|path| path.starts_with('/')).unwrap_or("/");
    HeaderValue::from_str(&format!("https://{host}{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    #[test]
    fn the_host_stays_and_the_port_is_that_of_tls() {
        for (host, uri, port, expected) in [
            ("registry.example.com", "/v2/?a=b", 443, Some("https://registry.example.com/v2/?a=b")),
            ("registry.example.com:80", "/", 8443, Some("https://registry.example.com:8443/")),
            ("[::1]:80", "/v2/a%20b", 443, Some("https://[::1]/v2/a%20b")),
            ("10.0.0.1", "//evil.example.com/", 443, Some("https://10.0.0.1//evil.example.com/")),
            ("other", "http://asked.example.com/x", 443, Some("https://asked.example.com/x")),
            ("registry.example.com", "*", 443, Some("https://registry.example.com/")),
            ("registry.example.com", "*", 8443, Some("https://registry.example.com:8443/")),
            ("", "/", 443, None),
            ("a b", "/", 443, None),
            ("user@host", "/", 443, None),
        ] {
            let headers = HeaderValue::from_str(host).map(|value| HeaderMap::from_iter([(HOST, value)]));
            let (headers, uri) = (headers.unwrap_or_default(), uri.parse().unwrap_or_default());
            let found = target(&uri, &headers, port);
            assert_eq!(found.as_ref().and_then(|value| value.to_str().ok()), expected, "{host}");
        }
        assert_eq!(target(&Uri::from_static("/"), &HeaderMap::new(), 443), None);
    }
}
