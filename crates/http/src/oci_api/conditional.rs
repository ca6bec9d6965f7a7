//! Conditional requests (RFC 9110, section 13) by the one validator content has: its digest, quoted, as a strong `ETag`.

use axum::body::Body;
use http::header::{CACHE_CONTROL, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use roadstead_oci::Digest;
use roadstead_registry::{Error, Precondition, Wanted};

use super::call::{empty, set};
use crate::error_table::Failure;

/// What the conditions of a request come to for content of this digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: the client wants something else.
    Failed,
}

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// For ever: it was asked for by digest.
    Forever,
    /// Only when its validator still holds: it was asked for by tag.
    Revalidate,
}

/// Judges `If-Match`, then `If-None-Match`.
pub(super) fn judge(headers: &HeaderMap, digest: &Digest) -> Condition {
    if headers.contains_key(IF_MATCH) && !any(headers, &IF_MATCH, digest) {
        Condition::Failed
    } else if any(headers, &IF_NONE_MATCH, digest) {
        Condition::NotModified
    } else {
        Condition::Proceed
    }
}

/// What a change asks of the content it replaces or removes. `If-Match` needs the strong form of a tag; tags that are no
/// digest of ours match nothing.
pub(super) fn precondition(headers: &HeaderMap) -> Precondition {
    let wanted = |name: HeaderName, weak: bool| {
        headers.contains_key(&name).then(|| {
            let tags: Vec<&str> = tags(headers, &name).collect();
            if tags.contains(&"*") {
                return Wanted::Anything;
            }
            let strong = |tag: &&str| weak || !tag.starts_with("W/");
            let digest = |tag: &str| tag.trim_start_matches("W/").strip_prefix('"')?.strip_suffix('"')?.parse().ok();
            Wanted::These(tags.into_iter().filter(strong).filter_map(digest).collect())
        })
    };
    Precondition { matches: wanted(IF_MATCH, false), matches_none: wanted(IF_NONE_MATCH, true) }
}

/// An upload session has no validator: whoever asks for one wants something else (412). `If-None-Match` may be passed
/// over, because a blob that is there already is made again with the same bytes.
pub(super) fn of_a_session(headers: &HeaderMap) -> Result<(), Failure> {
    match precondition(headers).matches {
        Some(Wanted::These(_)) => Err(Error::PreconditionFailed(None).into()),
        Some(Wanted::Anything) | None => Ok(()),
    }
}

fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim)
}

/// Whether a `Range` counts: without `If-Range`, or when that names this content. A date names none.
pub(super) fn range_counts(headers: &HeaderMap, digest: &Digest) -> bool {
    match headers.get(IF_RANGE) {
        None => true,
        Some(value) => value.to_str().is_ok_and(|tag| tag.trim() == format!("\"{digest}\"")),
    }
}

/// Whether a list of entity tags holds that of `digest`, or is `*`. The weak form of a digest names the same bytes.
fn any(headers: &HeaderMap, name: &HeaderName, digest: &Digest) -> bool {
    let tag = format!("\"{digest}\"");
    tags(headers, name).any(|t| t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag)
}

/// 304 or 412, if that is what a condition comes to.
pub(super) fn settle(headers: &HeaderMap, digest: &Digest, keep: Keep) -> Result<Option<Response<Body>>, Failure> {
    let status = match judge(headers, digest) {
        Condition::Proceed => return Ok(None),
        Condition::NotModified => StatusCode::NOT_MODIFIED,
        Condition::Failed => return Err(Failure::precondition(digest)),
    };
    let mut response = empty(status);
    validators(&mut response, digest, keep)?;
    Ok(Some(response))
}

/// Sets what caches need.
pub(super) fn validators(response: &mut Response<Body>, digest: &Digest, keep: Keep) -> Result<(), Failure> {
    set(response, ETAG, &format!("\"{digest}\""))?;
    let control = match keep {
        Keep::Forever => "max-age=31536000, immutable",
        Keep::Revalidate => "no-cache",
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(control));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use roadstead_oci::Algorithm;

    use super::*;

    fn judged(name: HeaderName, value: &str) -> Condition {
        let digest = Digest::of(Algorithm::Sha256, b"content");
        let value = value.replace("THIS", &digest.to_string());
        judge(&HeaderMap::from_iter([(name, HeaderValue::from_str(&value).unwrap())]), &digest)
    }

    #[test]
    fn if_none_match_names_what_the_client_has() {
        for has in ["\"THIS\"", "W/\"THIS\"", "\"other\", \"THIS\"", "*"] {
            assert_eq!(judged(IF_NONE_MATCH, has), Condition::NotModified, "{has}");
        }
        for has_not in ["\"other\"", "THIS", "\"THIS", ""] {
            assert_eq!(judged(IF_NONE_MATCH, has_not), Condition::Proceed, "{has_not}");
        }
    }

    #[test]
    fn if_match_names_what_the_client_wants() {
        assert_eq!(judged(IF_MATCH, "\"THIS\""), Condition::Proceed);
        assert_eq!(judged(IF_MATCH, "*"), Condition::Proceed);
        assert_eq!(judged(IF_MATCH, "\"other\""), Condition::Failed);
    }

    #[test]
    fn if_range_makes_a_range_count_only_for_this_content() {
        let digest = Digest::of(Algorithm::Sha256, b"content");
        let counts = |value: &str| {
            let headers = HeaderMap::from_iter([(IF_RANGE, HeaderValue::from_str(value).unwrap())]);
            range_counts(&headers, &digest)
        };
        assert!(counts(&format!("\"{digest}\"")) && range_counts(&HeaderMap::new(), &digest));
        assert!(!counts("\"other\"") && !counts("Wed, 21 Oct 2015 07:28:00 GMT"));
        assert!(!counts(&format!("W/\"{digest}\"")), "a range needs the strong form");
    }
}
