//! Values that go into statements and come back in rows.

use crate::QueryError;

/// A parameter or a column. Booleans are integers 0 and 1, times are milliseconds, JSON is text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// UTF-8 text.
    Text(String),
    /// Bytes: digests, ids, manifest content.
    Blob(Vec<u8>),
    /// Only as the parameter of `IN ($n)`; an empty list matches nothing. Never comes back in a row.
    List(Vec<Value>),
}

impl Value {
    /// Rough size in bytes, for the batch limit.
    pub fn size(&self) -> usize {
        match self {
            Value::Null => 1,
            Value::Integer(_) => 9,
            Value::Text(t) => t.len() + 5,
            Value::Blob(b) => b.len() + 5,
            Value::List(l) => l.iter().map(Value::size).sum::<usize>() + 5,
        }
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Value::Integer(v)
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Value::Integer(i64::from(v))
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Value::Text(v.to_owned())
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Value::Text(v)
    }
}
impl From<Vec<u8>> for Value {
    fn from(v: Vec<u8>) -> Self {
        Value::Blob(v)
    }
}
impl From<uuid::Uuid> for Value {
    fn from(v: uuid::Uuid) -> Self {
        Value::Blob(v.as_bytes().to_vec())
    }
}
impl From<&roadstead_oci::Digest> for Value {
    fn from(v: &roadstead_oci::Digest) -> Self {
        Value::Blob(v.to_vec())
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Value::Null, Into::into)
    }
}

/// The answer to one question.
pub type Rows = Vec<Row>;

/// One row, by column position.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    fn wrong(&self, index: usize, wanted: &str) -> QueryError {
        QueryError::Failed(format!("column {index} is not {wanted}: {:?}", self.0.get(index)))
    }

    /// Whether the column is NULL (or absent).
    pub fn is_null(&self, index: usize) -> bool {
        matches!(self.0.get(index), None | Some(Value::Null))
    }

    /// What `read` finds in the column; `None` when that is NULL.
    pub fn given<'a, T>(
        &'a self,
        index: usize,
        read: impl FnOnce(&'a Self, usize) -> Result<T, QueryError>,
    ) -> Result<Option<T>, QueryError> {
        if self.is_null(index) { Ok(None) } else { read(self, index).map(Some) }
    }

    /// An integer column.
    pub fn integer(&self, index: usize) -> Result<i64, QueryError> {
        match self.0.get(index) {
            Some(Value::Integer(v)) => Ok(*v),
            _ => Err(self.wrong(index, "an integer")),
        }
    }

    /// A text column.
    pub fn text(&self, index: usize) -> Result<&str, QueryError> {
        match self.0.get(index) {
            Some(Value::Text(v)) => Ok(v),
            _ => Err(self.wrong(index, "text")),
        }
    }

    /// A column of bytes.
    pub fn blob(&self, index: usize) -> Result<&[u8], QueryError> {
        match self.0.get(index) {
            Some(Value::Blob(v)) => Ok(v),
            _ => Err(self.wrong(index, "bytes")),
        }
    }

    /// A digest column.
    pub fn digest(&self, index: usize) -> Result<roadstead_oci::Digest, QueryError> {
        roadstead_oci::Digest::from_slice(self.blob(index)?).map_err(|_| self.wrong(index, "a digest"))
    }

    /// An id column.
    pub fn id(&self, index: usize) -> Result<uuid::Uuid, QueryError> {
        uuid::Uuid::from_slice(self.blob(index)?).map_err(|_| self.wrong(index, "an id"))
    }
}
