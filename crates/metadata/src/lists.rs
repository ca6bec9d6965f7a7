//! List parameters on engines that have none: `IN ($n)` becomes `IN ($n, $n+1, ...)`.
//!
//! SQLite knows no arrays, so a [`Value::List`] is spread over as many parameters as it has values and the
//! parameters after it are renumbered. An empty list becomes an empty subquery: `IN` it is false and `NOT IN` it
//! is true, which `IN (NULL)` would not give. Text in quotes and comments is left alone.

use std::borrow::Cow;
use std::fmt::Write;

use crate::{Statement, Value};

/// The largest number of parameters of one SQLite statement.
pub const SQLITE_PARAMETERS: usize = 32_766;

/// Why a statement with a list cannot be carried out. Each is a fault of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The lists spread to more parameters than the engine takes.
    #[error("{count} parameters after spreading lists, the engine takes {SQLITE_PARAMETERS}: ask in several questions")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
    /// A list stands elsewhere than alone inside `IN ($n)`.
    #[error("parameter ${0} is a list but does not stand alone in `IN (${0})`")]
    Misplaced(usize),
    /// A list holds a list.
    #[error("parameter ${0} is a list that holds a list")]
    Nested(usize),
    /// The parameters do not first appear as `$1, $2, ...`, once each.
    #[error("found ${found} where ${expected} was due: parameters appear once each and in order")]
    Order {
        /// The number due at this place.
        expected: usize,
        /// The number found there.
        found: usize,
    },
    /// The text has another number of parameters than were given.
    #[error("{given} parameters given, the text has {wanted}")]
    Count {
        /// How many parameters came with the statement.
        given: usize,
        /// How many the text has.
        wanted: usize,
    },
}

/// Spreads the lists of a statement, and checks that its parameters are as many as its text names. The text and the
/// parameters of one without lists come back as they are.
pub fn expand(statement: Statement) -> Result<(Cow<'static, str>, Vec<Value>), ListError> {
    let Statement { sql, params } = statement;
    let places = parameters(sql);
    // Also without a list: an engine may take a parameter that was not given for NULL.
    if places.len() != params.len() {
        return Err(ListError::Count { given: params.len(), wanted: places.len() });
    }
    if !params.iter().any(|p| matches!(p, Value::List(_))) {
        return Ok((Cow::Borrowed(sql), params));
    }
    let mut text = String::with_capacity(sql.len() + 64);
    let mut flat = Vec::with_capacity(params.len() + 64);
    let mut copied = 0;
    for (index, (place, param)) in places.iter().zip(params).enumerate() {
        let expected = index + 1;
        if place.number != expected {
            return Err(ListError::Order { expected, found: place.number });
        }
        text.push_str(&sql[copied..place.start]);
        copied = place.end;
        match param {
            Value::List(values) => {
                if !alone_in_list(sql, place) {
                    return Err(ListError::Misplaced(expected));
                }
                spread(values, expected, &mut text, &mut flat)?;
            }
            single => {
                flat.push(single);
                name_parameter(&mut text, flat.len());
            }
        }
    }
    text.push_str(&sql[copied..]);
    match flat.len() {
        count if count > SQLITE_PARAMETERS => Err(ListError::TooMany { count }),
        _ => Ok((Cow::Owned(text), flat)),
    }
}

fn spread(values: Vec<Value>, number: usize, text: &mut String, flat: &mut Vec<Value>) -> Result<(), ListError> {
    if values.is_empty() {
        text.push_str("SELECT NULL WHERE 0");
    }
    for (index, value) in values.into_iter().enumerate() {
        if matches!(value, Value::List(_)) {
            return Err(ListError::Nested(number));
        }
        if index > 0 {
            text.push_str(", ");
        }
        flat.push(value);
        name_parameter(text, flat.len());
    }
    Ok(())
}

fn name_parameter(text: &mut String, number: usize) {
    // Writing to a String does not fail.
    let _ = write!(text, "${number}");
}

/// A `$n` in the text: its bytes and its number.
#[derive(Debug, PartialEq, Eq)]
struct Parameter {
    start: usize,
    end: usize,
    number: usize,
}

/// Whether the parameter is all that stands between the parentheses of an `IN`.
fn alone_in_list(sql: &str, place: &Parameter) -> bool {
    let Some(before) = sql[..place.start].trim_end().strip_suffix('(') else {
        return false;
    };
    let before = before.trim_end().as_bytes();
    let operator = before.len().checked_sub(2).is_some_and(|at| before[at..].eq_ignore_ascii_case(b"in"));
    let word = before.len().checked_sub(3).is_none_or(|at| !is_word(before[at]));
    operator && word && sql[place.end..].trim_start().starts_with(')')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// Every `$n` outside quotes and comments, in order of appearance.
fn parameters(sql: &str) -> Vec<Parameter> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => past(sql, at + 1, &[quote]),
            b'-' if bytes[at..].starts_with(b"--") => past(sql, at + 2, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => past(sql, at + 2, b"*/"),
            b'$' => {
                let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
                let end = at + 1 + digits;
                if let Ok(number) = sql[at + 1..end].parse() {
                    found.push(Parameter { start: at, end, number });
                }
                end
            }
            _ => at + 1,
        };
    }
    found
}

/// Where the text goes on after the next `close`. A doubled quote ends one piece of text and begins the next,
/// which comes to the same.
fn past(sql: &str, from: usize, close: &[u8]) -> usize {
    let rest = &sql.as_bytes()[from..];
    rest.windows(close.len()).position(|window| window == close).map_or(sql.len(), |at| from + at + close.len())
}

#[cfg(test)]
#[path = "lists_tests.rs"]
mod tests;
