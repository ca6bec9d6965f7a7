//! `Range` of a blob download (RFC 9110, section 14.2).
//!
//! A server may ignore `Range`, so what is not understood (another unit, bad syntax, several ranges) is answered
//! whole with 200; what is understood and cannot be had is answered 416.

use std::ops::Range;

/// The parser of `Range` headers.
#[derive(Debug, Clone, Copy)]
pub struct ByteRange;

/// What to answer to a `Range` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// Everything, with 200: the header says nothing that has to be honoured.
    Whole,
    /// These bytes, with 206. Never empty, never beyond the size.
    Part(Range<u64>),
    /// Nothing, with 416 and `Content-Range: bytes */size`.
    Unsatisfiable,
}

/// One range as asked for, positions not yet compared with the size.
enum Asked {
    From(u64, Option<u64>),
    Last(u64),
}

impl ByteRange {
    /// Judges a `Range` header for an object of `size` bytes.
    pub fn parse(header: &str, size: u64) -> RangeRequest {
        match asked(header) {
            None => RangeRequest::Whole,
            Some(Asked::From(first, last)) => {
                let last = last.unwrap_or(u64::MAX).min(size.saturating_sub(1));
                // Also `500-0`: RFC 9110 lets it be ignored, clients and the conformance suite expect 416.
                if first >= size || first > last {
                    RangeRequest::Unsatisfiable
                } else {
                    RangeRequest::Part(first..last + 1)
                }
            }
            Some(Asked::Last(length)) if length == 0 || size == 0 => RangeRequest::Unsatisfiable,
            Some(Asked::Last(length)) => RangeRequest::Part(size.saturating_sub(length)..size),
        }
    }
}

fn asked(header: &str) -> Option<Asked> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim_matches(BLANK).eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = set.split(',').map(|range| range.trim_matches(BLANK)).filter(|range| !range.is_empty());
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return None;
    };
    match range.split_once('-')? {
        ("", last) => Some(Asked::Last(position(last)?)),
        (first, "") => Some(Asked::From(position(first)?, None)),
        (first, last) => Some(Asked::From(position(first)?, Some(position(last)?))),
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// Digits only; a number too large for 64 bits is the largest.
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
