//! Whether an answer brings the bytes that were asked for.
//!
//! A server may ignore `Range` and answer with the whole object (RFC 9110 14.2), and OpenDAL takes either answer for that
//! of the range. What follows an earlier window would then be the beginning of the object once more.

use http::{HeaderMap, Response, StatusCode, header};
use opendal::{Error, ErrorKind};

/// `Unsupported` when `answer` does not begin with the first byte that a request with `asked` wants, brings more than it
/// wants, or does not tell how long the whole object is.
pub(super) fn check<B>(asked: &HeaderMap, answer: &Response<B>) -> opendal::Result<()> {
    let Some(range) = asked.get(header::RANGE) else { return Ok(()) };
    let (first, last) = range.to_str().ok().and_then(wanted).ok_or_else(|| refused("cannot be asked for", range))?;
    let length = |name| answer.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
    let brings = match answer.status() {
        // All of it, where nothing less was asked for.
        StatusCode::OK => {
            first == 0 && length(header::CONTENT_LENGTH).is_some_and(|length| length <= last.saturating_add(1))
        }
        StatusCode::PARTIAL_CONTENT => {
            let brought = answer.headers().get(header::CONTENT_RANGE).and_then(|range| brought(range.to_str().ok()?));
            brought.is_some_and(|(begins, ends)| begins == first && ends <= last)
        }
        // An error, which says so.
        _ => true,
    };
    match brings {
        true => Ok(()),
        false => {
            Err(refused("is answered with other bytes: the server, or something in front of it, ignores Range:", range))
        }
    }
}

fn refused(what: &str, range: &http::HeaderValue) -> Error {
    Error::new(ErrorKind::Unsupported, format!("a part of an object {what} {range:?}"))
}

/// First and last byte of `bytes=0-99`; open ends at the last there can be.
fn wanted(range: &str) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
    Some((first.parse().ok()?, last))
}

/// First and last byte of `bytes 0-99/1234`, whose whole has a known length.
fn brought(range: &str) -> Option<(u64, u64)> {
    let (range, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, whole) = (first.parse().ok()?, last.parse().ok()?, whole.parse::<u64>().ok()?);
    (first <= last && last < whole).then_some((first, last))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let taken = |range: &str, status: u16, headers: &[(&str, &str)]| {
            let mut asked = HeaderMap::new();
            asked.insert(header::RANGE, range.parse().unwrap());
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            check(&asked, &answer.body(()).unwrap()).is_ok()
        };
        let part = |range| [("content-range", range)];
        assert!(taken("bytes=8-15", 206, &part("bytes 8-15/100")));
        assert!(taken("bytes=8-15", 206, &part("bytes 8-11/12")), "what there is of it");
        assert!(taken("bytes=8-", 206, &part("bytes 8-99/100")));
        for other in ["bytes 0-7/100", "bytes 8-16/100", "bytes 8-15/*", "bytes 9-15/100", "bytes */100", "8-15"] {
            assert!(!taken("bytes=8-15", 206, &part(other)), "{other}");
        }
        assert!(!taken("bytes=8-15", 206, &[]));
        let whole = |length| [("content-length", length)];
        assert!(taken("bytes=0-15", 200, &whole("16")), "all of it is no more than was asked for");
        assert!(!taken("bytes=0-15", 200, &whole("17")));
        assert!(!taken("bytes=0-15", 200, &[]));
        assert!(!taken("bytes=8-15", 200, &whole("16")));
        assert!(taken("bytes=8-15", 503, &[]), "an error is told as it is");
        check(&HeaderMap::new(), &Response::builder().status(200).body(()).unwrap()).unwrap();
    }
}
