//! Questions: local reads, and rows as values.

use hiqlite::rusqlite::types::ValueRef;
use hiqlite::{Client, Param, Params};
use roadstead_metadata::{QueryError, Row, Rows, Statement, Value, lists};

/// Asks the state machine of this node, whatever it knows now.
pub(crate) async fn ask(client: &Client, statement: Statement) -> Result<Rows, QueryError> {
    let text = statement.sql;
    let failed = |reason: &dyn std::fmt::Display| QueryError::Failed(format!("{reason} ({text})"));
    let (sql, values) = lists::expand(statement).map_err(|e| failed(&e))?;
    let params = params(values).map_err(|e| failed(&e))?;
    let rows: Vec<Mapped> = client.query_map(sql, params).await.map_err(|e| failed(&e))?;
    rows.into_iter().map(|row| row.0.map_err(|e| failed(&e))).collect()
}

/// Values as parameters. Lists have been spread before.
pub(crate) fn params(values: Vec<Value>) -> Result<Params, &'static str> {
    values
        .into_iter()
        .map(|value| match value {
            Value::Null => Ok(Param::Null),
            Value::Integer(v) => Ok(Param::Integer(v)),
            Value::Text(v) => Ok(Param::Text(v)),
            Value::Blob(v) => Ok(Param::Blob(v)),
            Value::List(_) => Err("a list outside of IN"),
        })
        .collect()
}

/// One row by storage class, whatever the columns were declared as.
struct Mapped(Result<Row, String>);

impl From<&mut hiqlite::Row<'_>> for Mapped {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        // Local reads lend SQLite's own row; an owned one would come from another node.
        let hiqlite::Row::Borrowed(row) = row else { return Mapped(Err("a row from another node".to_owned())) };
        let columns = row.as_ref().column_count();
        Mapped((0..columns).map(|index| column(row, index)).collect::<Result<_, _>>().map(Row))
    }
}

fn column(row: &hiqlite::rusqlite::Row<'_>, index: usize) -> Result<Value, String> {
    match row.get_ref(index).map_err(|e| e.to_string())? {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(v) => Ok(Value::Integer(v)),
        ValueRef::Text(v) => match std::str::from_utf8(v) {
            Ok(text) => Ok(Value::Text(text.to_owned())),
            Err(e) => Err(format!("column {index} is not UTF-8: {e}")),
        },
        ValueRef::Blob(v) => Ok(Value::Blob(v.to_vec())),
        ValueRef::Real(v) => Err(format!("column {index} is a floating-point number ({v}), which no column may be")),
    }
}
