//! Lists a page at a time: `?n=` entries at most, those after `?last=`; `Link` with `rel="next"` while there are more.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::LINK;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roadstead_oci::Page;
use serde::Serialize;
use uuid::Uuid;

use super::call::{Call, shown};
use super::refusals::{Answer, Refusal};

/// Entries of a page of which nothing is said, and the most there are.
const USUAL: usize = 100;
const MOST: usize = 1_000;

/// All but the unreserved characters of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Which part of a list is asked for.
pub(super) struct Asked {
    n: usize,
    last: String,
}

impl Asked {
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        let page = Page::from_query(&call.query).map_err(|error| Refusal::invalid_field("n", error.to_string()))?;
        Ok(Self { n: page.n.unwrap_or(USUAL).min(MOST), last: page.last.unwrap_or_default() })
    }

    /// One more than the page has, which tells whether there is another.
    pub(super) fn limit(&self) -> usize {
        self.n + 1
    }

    /// After which name.
    pub(super) fn name(&self) -> &str {
        &self.last
    }

    /// After which id.
    pub(super) fn id(&self) -> Result<Uuid, Refusal> {
        match self.last.as_str() {
            "" => Ok(Uuid::nil()),
            id => Uuid::try_parse(id).map_err(|_| {
                Refusal::invalid_field("last", "last is none that an earlier answer gave: follow its Link")
            }),
        }
    }

    /// The page with what was `found`, at most [`limit`](Self::limit); `key` is what `last` says of one.
    pub(super) fn answer<F, T: Serialize>(
        &self,
        call: &Call,
        mut found: Vec<F>,
        key: impl FnOnce(&F) -> String,
        show: impl FnMut(F) -> T,
    ) -> Answer {
        let more = found.len() > self.n;
        found.truncate(self.n);
        let last = found.last().filter(|_| more).map(key);
        let mut response = shown(&found.into_iter().map(show).collect::<Vec<_>>())?;
        if let Some(last) = last {
            link(&mut response, call, self.n, &last);
        }
        Ok(response)
    }
}

/// Parameters that the next page repeats.
const KEPT: [&str; 1] = ["for"];

fn link(response: &mut Response<Body>, call: &Call, n: usize, last: &str) {
    let mut query = format!("n={n}&last={}", utf8_percent_encode(last, ESCAPED));
    for name in KEPT {
        if let Some(value) = call.query.get(name) {
            query.push_str(&format!("&{name}={}", utf8_percent_encode(value, ESCAPED)));
        }
    }
    // The path came as one of a request, so it is one of a header.
    if let Ok(value) = HeaderValue::from_str(&format!("<{}?{query}>; rel=\"next\"", call.path)) {
        response.headers_mut().insert(LINK, value);
    }
}
