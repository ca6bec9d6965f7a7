//! Pages of a list: `n` and `last` (end-8b).

use crate::excerpt::excerpt;
use crate::{Query, QueryError};

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most this many entries; zero asks for an empty list; a number too large for the machine is its largest. The
    /// registry may answer fewer, with a `Link` to the next page.
    pub n: Option<usize>,
    /// Only entries after this one in ASCII order. Need not exist, need not be valid as an entry.
    pub last: Option<String>,
}

/// Why a page cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The query string cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// `n` is negative or not a number.
    #[error("query parameter n is {0}; expected a number of entries, 0 or more")]
    Number(String),
}

impl Page {
    /// Reads a query string. Other parameters are ignored; the first of several counts; an empty `last` is none.
    pub fn parse(query: &str) -> Result<Self, PageError> {
        Self::from_query(&Query::parse(query)?)
    }

    /// Reads a query already parsed.
    pub fn from_query(query: &Query) -> Result<Self, PageError> {
        let n = query.get("n").map(number).transpose()?;
        let last = query.get("last").filter(|last| !last.is_empty()).map(str::to_owned);
        Ok(Self { n, last })
    }
}

fn number(text: &str) -> Result<usize, PageError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PageError::Number(excerpt(text)));
    }
    Ok(text.parse().unwrap_or(usize::MAX))
}
