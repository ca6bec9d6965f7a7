//! The query string of a request.
//!
//! Percent-decoded strictly: a broken escape or bytes that are not UTF-8 are an error, never guessed. `+` is a plus, not
//! a blank: no value of this protocol has blanks, and media types (`artifactType=application/vnd.a+json`) have pluses.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::excerpt::excerpt;

/// The decoded pairs of a query string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// Why a query string cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("query parameter {parameter} is not percent-encoded UTF-8; write a percent sign as %25")]
pub struct QueryError {
    parameter: String,
}

impl Query {
    /// Reads what follows the `?` of a URL; empty is an empty query. A name without `=` has an empty value.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            // Not what it is given: forms have passwords.
            let error = || QueryError { parameter: excerpt(name) };
            Ok((decode(name).ok_or_else(error)?.into_owned(), decode(value).ok_or_else(error)?.into_owned()))
        };
        let pairs = text.split('&').filter(|part| !part.is_empty()).map(pair).collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes once. `None` when a `%` is not followed by two hex digits or the result is not UTF-8. Nor when it has a NUL: no
/// name or type has one, and not every metadata engine takes such a text.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    let escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(escape) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().filter(|decoded| !decoded.contains('\0'))
}
