//! The host that a request was sent to, as its client says.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};

/// From the URI, where HTTP/2 and proxies say it, else from `Host`; `None` when that is none.
pub(crate) fn asked_host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    said_host(uri, headers.get(HOST))
}

/// Whether a host is a name that is always that of this machine: who else gives names away, gives away no such one.
pub(crate) fn is_this_machine(host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address = name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    address || name == "localhost" || name.ends_with(".localhost")
}

/// Whether this machine was asked by such a name, without a proxy between that says so.
pub(crate) fn is_asked_here(uri: &Uri, headers: &HeaderMap) -> bool {
    let forwarded = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];
    asked_host(uri, headers).is_some_and(|host| is_this_machine(&host))
        && !forwarded.into_iter().any(|name| headers.contains_key(name))
}

/// Whether a browser sent this for a page of another site, as it says itself: by Fetch Metadata over TLS, by `Origin`
/// without. Other clients say nothing.
pub(crate) fn is_of_another_site(uri: &Uri, headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let host = asked_host(uri, headers);
    // `null` is a page that has no place.
    let elsewhere = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        authority.is_none_or(|(_, authority)| host.as_ref().is_none_or(|host| host.as_str() != authority))
    };
    site.is_some_and(|site| site != b"same-origin" && site != b"none") || headers.get(ORIGIN).is_some_and(elsewhere)
}

/// The host of a request that came with this `Host`.
pub(crate) fn said_host(uri: &Uri, host: Option<&HeaderValue>) -> Option<Authority> {
    let said = || host?.to_str().ok()?.parse().ok();
    uri.authority().cloned().or_else(said)
}
