//! Values on their way to the server and back.

use std::error::Error;

use bytes::BytesMut;
use roadstead_metadata::{QueryError, Row, Value};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

type Encoded = Result<IsNull, Box<dyn Error + Sync + Send>>;

/// A parameter. Takes the type that the server inferred, and refuses one that it does not fit.
#[derive(Debug)]
pub(crate) struct Bound(pub(crate) Value);

impl Bound {
    /// The type it is announced with where nothing was prepared. `UNKNOWN` lets the server infer it.
    pub(crate) fn announced(&self) -> Type {
        match &self.0 {
            Value::Null => Type::UNKNOWN,
            Value::Integer(_) => Type::INT8,
            Value::Text(_) => Type::TEXT,
            Value::Blob(_) => Type::BYTEA,
            Value::List(values) => match values.first() {
                Some(Value::Integer(_)) => Type::INT8_ARRAY,
                Some(Value::Text(_)) => Type::TEXT_ARRAY,
                Some(Value::Blob(_)) => Type::BYTEA_ARRAY,
                _ => Type::UNKNOWN,
            },
        }
    }

    fn is_empty_list(&self) -> bool {
        matches!(&self.0, Value::List(values) if values.is_empty())
    }
}

impl ToSql for Bound {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Encoded {
        match &self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(v) if *ty == Type::INT8 => v.to_sql(ty, out),
            Value::Integer(v) if *ty == Type::INT4 => i32::try_from(*v)?.to_sql(ty, out),
            Value::Text(v) if *ty == Type::TEXT || *ty == Type::VARCHAR => v.to_sql(ty, out),
            Value::Blob(v) if *ty == Type::BYTEA => v.to_sql(ty, out),
            Value::List(_) if self.is_empty_list() => {
                out.extend_from_slice(b"{}");
                Ok(IsNull::No)
            }
            Value::List(values) => list(values, ty, out),
            other => Err(misfit(other, ty)),
        }
    }

    /// Only an empty list goes as text: whatever it is a list of, it is `{}`.
    fn encode_format(&self, _: &Type) -> Format {
        if self.is_empty_list() { Format::Text } else { Format::Binary }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Encoded {
        self.to_sql(ty, out)
    }
}

fn list(values: &[Value], ty: &Type, out: &mut BytesMut) -> Encoded {
    // Each kind of value with its kind of array, and nothing else.
    if *ty == Type::INT8_ARRAY {
        all(values, |v| if let Value::Integer(v) = v { Some(*v) } else { None }, ty)?.to_sql(ty, out)
    } else if *ty == Type::TEXT_ARRAY {
        all(values, |v| if let Value::Text(v) = v { Some(v.as_str()) } else { None }, ty)?.to_sql(ty, out)
    } else if *ty == Type::BYTEA_ARRAY {
        all(values, |v| if let Value::Blob(v) = v { Some(v.as_slice()) } else { None }, ty)?.to_sql(ty, out)
    } else {
        Err(format!("a list does not fit {ty}").into())
    }
}

fn all<'v, T>(
    values: &'v [Value],
    of: impl Fn(&'v Value) -> Option<T>,
    ty: &Type,
) -> Result<Vec<T>, Box<dyn Error + Sync + Send>> {
    values.iter().map(|value| of(value).ok_or_else(|| misfit(value, ty))).collect()
}

fn misfit(value: &Value, ty: &Type) -> Box<dyn Error + Sync + Send> {
    let kind = match value {
        Value::Null => "NULL",
        Value::Integer(_) => "an integer",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytes",
        Value::List(_) => "a list",
    };
    format!("{kind} does not fit {ty}").into()
}

/// A row as it came.
pub(crate) fn row(row: &tokio_postgres::Row) -> Result<Row, QueryError> {
    let columns = row.columns().iter().enumerate();
    columns.map(|(index, column)| value(row, index, column.type_())).collect::<Result<_, _>>().map(Row)
}

fn value(row: &tokio_postgres::Row, index: usize, ty: &Type) -> Result<Value, QueryError> {
    let value = if *ty == Type::INT8 {
        row.try_get::<_, Option<i64>>(index).map(Value::from)
    } else if *ty == Type::INT4 {
        row.try_get::<_, Option<i32>>(index).map(|v| v.map(i64::from).into())
    } else if *ty == Type::BOOL {
        row.try_get::<_, Option<bool>>(index).map(Value::from)
    } else if *ty == Type::BYTEA {
        row.try_get::<_, Option<Vec<u8>>>(index).map(Value::from)
    } else if [Type::TEXT, Type::VARCHAR, Type::NAME].contains(ty) {
        row.try_get::<_, Option<String>>(index).map(Value::from)
    } else {
        let wanted = "the shared text must CAST it AS BIGINT, TEXT or BLOB";
        return Err(QueryError::Failed(format!("column {index} is of type {ty}: {wanted}")));
    };
    value.map_err(|e| QueryError::Failed(format!("column {index}: {}", crate::faults::told(&e))))
}
