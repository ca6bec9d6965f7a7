//! `Link` to the next page (RFC 8288), which keeps what the client asked for.

use axum::body::Body;
use http::Response;
use http::header::LINK;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::call::{Call, set};
use crate::error_table::Failure;

/// All but the unreserved characters of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Links the page that follows `last`; the parameters `kept` of this request are repeated in it.
pub(super) fn link_next(
    response: &mut Response<Body>,
    call: &Call,
    path: &str,
    kept: &[&str],
    last: &str,
) -> Result<(), Failure> {
    let given = kept.iter().filter_map(|name| call.query.get(name).map(|value| (*name, value)));
    let pairs: Vec<String> = given
        .chain([("last", last)])
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, ESCAPED)))
        .collect();
    set(response, LINK, &format!("<{}?{}>; rel=\"next\"", call.url(path), pairs.join("&")))
}
