//! Repository names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;

/// The name of a repository, such as `library/ubuntu`.
///
/// The grammar of the spec: components of lower-case letters and digits, inside a component separated by one `.`, one
/// or two `_`, or any number of `-`; components joined by `/`; at most 255 bytes in all. So a name is always a safe
/// relative path and needs no escaping in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// Why a text is not a repository name (`code-8`, NAME_INVALID).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not a repository name: {reason}")]
pub struct NameError {
    name: String,
    reason: &'static str,
}

impl NameError {
    pub(crate) fn new(name: &str, reason: &'static str) -> Self {
        Self { name: excerpt(name), reason }
    }
}

impl RepositoryName {
    /// The most bytes a name may have.
    pub const MAX_LEN: usize = 255;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first component, when there are two or more.
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }
}

/// What is wrong with a name, if anything.
fn problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > RepositoryName::MAX_LEN {
        return Some("it is longer than 255 bytes");
    }
    name.split('/').find_map(component_problem)
}

fn component_problem(component: &str) -> Option<&'static str> {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if component.is_empty() {
        return Some("it has an empty component (a slash at an end, or two slashes in a row)");
    }
    if !component.bytes().all(|b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-')) {
        return Some("only lower-case letters, digits, and . _ - / are allowed");
    }
    let ends = [component.as_bytes().first(), component.as_bytes().last()];
    if !ends.into_iter().flatten().all(|b| alphanumeric(*b)) {
        return Some("each component must begin and end with a letter or a digit");
    }
    let separators = component.split(|c: char| c.is_ascii_alphanumeric()).filter(|run| !run.is_empty());
    for run in separators {
        if !matches!(run, "." | "_" | "__") && !run.bytes().all(|b| b == b'-') {
            return Some("letters and digits may be separated by one dot, one or two underscores, or dashes only");
        }
    }
    None
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        match problem(name) {
            Some(reason) => Err(NameError::new(name, reason)),
            None => Ok(Self(name.to_owned())),
        }
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        match problem(&name) {
            Some(reason) => Err(NameError::new(&name, reason)),
            None => Ok(Self(name)),
        }
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> String {
        name.0
    }
}

impl AsRef<str> for RepositoryName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
