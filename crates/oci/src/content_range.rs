//! `Content-Range` of an upload chunk (end-5, end-6).
//!
//! The spec's form is `0-99`; the form of RFC 9110, `bytes 0-99/200`, is accepted too. Unlike `Range`, this header
//! says where bytes go, so nothing in it is ever ignored: what cannot be read is an error.

use std::fmt;
use std::str::FromStr;

use crate::excerpt::excerpt;

/// Where a chunk goes: its first and its last byte, both inclusive, so it holds at least one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentRange {
    /// The offset of the first byte.
    pub start: u64,
    /// The offset of the last byte; never less than `start`, never more than `i64::MAX`.
    pub end: u64,
}

/// Why a `Content-Range` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Content-Range {header} cannot be used: {reason}; expected FIRST-LAST in bytes, both inclusive, such as 0-1023"
)]
pub struct ContentRangeError {
    header: String,
    reason: &'static str,
}

impl ContentRange {
    /// Reads the value of a `Content-Range` header.
    pub fn parse(header: &str) -> Result<Self, ContentRangeError> {
        let error = |reason| ContentRangeError { header: excerpt(header), reason };
        let trimmed = header.trim_matches([' ', '\t']);
        let (range, total) = match trimmed.strip_prefix("bytes ") {
            Some(rest) => rest.split_once('/').map_or((rest, None), |(range, total)| (range, Some(total))),
            None => (trimmed, None),
        };
        let (start, end) = range.split_once('-').ok_or_else(|| error("there is no dash"))?;
        let number = |text| offset(text).ok_or_else(|| error("an offset is not a number below 2^63"));
        let (start, end) = (number(start)?, number(end)?);
        if start > end {
            return Err(error("its end lies before its start"));
        }
        if let Some(total) = total.filter(|total| *total != "*")
            && number(total)? <= end
        {
            return Err(error("its end lies beyond the total"));
        }
        Ok(Self { start, end })
    }

    /// How many bytes the chunk has: at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a chunk with a Content-Range is never empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start + 1
    }
}

fn offset(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse::<i64>().ok()).flatten().and_then(|n| u64::try_from(n).ok())
}

impl FromStr for ContentRange {
    type Err = ContentRangeError;

    fn from_str(header: &str) -> Result<Self, ContentRangeError> {
        Self::parse(header)
    }
}

/// The spec's form, `0-99`; also that of the `Range` header in answers about an upload.
impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}
