//! List parameters, which no engine takes as they stand in the text. On those that have no arrays `IN ($n)` becomes
//! `IN ($n, $n+1, ...)` ([`expand`]), on those that do `= ANY($n)` ([`arrays`]).
//!
//! SQLite knows no arrays, so a [`Value::List`] is spread over as many parameters as it has values, or a few more, and the
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
                if list_around(sql, place).is_none() {
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

/// The text of a statement on an engine that takes a list as one array: `IN ($n)` becomes `= ANY($n)` and `NOT IN ($n)`
/// becomes `<> ALL($n)`, so that it is the same text however long the list is. Checks what [`expand`] checks.
pub fn arrays(statement: &Statement) -> Result<Cow<'static, str>, ListError> {
    let Statement { sql, params } = statement;
    let places = parameters(sql);
    if places.len() != params.len() {
        return Err(ListError::Count { given: params.len(), wanted: places.len() });
    }
    if !params.iter().any(|p| matches!(p, Value::List(_))) {
        return Ok(Cow::Borrowed(sql));
    }
    let mut text = String::with_capacity(sql.len() + 64);
    let mut copied = 0;
    for (index, (place, param)) in places.iter().zip(params).enumerate() {
        let expected = index + 1;
        if place.number != expected {
            return Err(ListError::Order { expected, found: place.number });
        }
        let Value::List(values) = param else { continue };
        if values.iter().any(|value| matches!(value, Value::List(_))) {
            return Err(ListError::Nested(expected));
        }
        let list = list_around(sql, place).ok_or(ListError::Misplaced(expected))?;
        text.push_str(&sql[copied..list.start]);
        text.push_str(if list.negated { "<> ALL(" } else { "= ANY(" });
        name_parameter(&mut text, expected);
        text.push(')');
        copied = list.end;
    }
    text.push_str(&sql[copied..]);
    Ok(Cow::Owned(text))
}

fn spread(values: Vec<Value>, number: usize, text: &mut String, flat: &mut Vec<Value>) -> Result<(), ListError> {
    let Some(last) = values.last().cloned() else {
        text.push_str("SELECT NULL WHERE 0");
        return Ok(());
    };
    let more = slots(values.len()) - values.len();
    for (index, value) in values.into_iter().chain(std::iter::repeat_n(last, more)).enumerate() {
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

/// To how many parameters a list is spread: 1, 2, 3, 4, 6, 8, 12, 16 and so on, the last value standing for those that it
/// does not have, which changes nothing in `IN`. Each length is a text of its own, that every connection prepares and
/// keeps: with a text for each number there are so many that they take a hundred MB.
fn slots(count: usize) -> usize {
    /// A longer one is rare, and near to what a statement takes.
    const LONG: usize = 4_096;
    let power = count.next_power_of_two();
    match power / 4 * 3 {
        _ if count > LONG => count,
        between if between >= count => between,
        _ => power,
    }
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

/// `IN ($n)` or `NOT IN ($n)` in the text: its bytes.
struct List {
    start: usize,
    end: usize,
    negated: bool,
}

/// The `IN (...)` in which the parameter is all that stands between the parentheses.
fn list_around(sql: &str, place: &Parameter) -> Option<List> {
    let before = sql[..place.start].trim_end().strip_suffix('(')?.trim_end();
    let mut start = word_at_end(before, b"in")?;
    let after = &sql[place.end..];
    let end = sql.len() - after.trim_start().strip_prefix(')')?.len();
    let not = word_at_end(sql[..start].trim_end(), b"not");
    start = not.unwrap_or(start);
    Some(List { start, end, negated: not.is_some() })
}

/// Where the word begins that is the last of the text, if it is this one.
fn word_at_end(text: &str, word: &[u8]) -> Option<usize> {
    let bytes = text.as_bytes();
    let start = bytes.len().checked_sub(word.len())?;
    let whole = start.checked_sub(1).is_none_or(|at| !is_word(bytes[at]));
    (whole && bytes[start..].eq_ignore_ascii_case(word)).then_some(start)
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
