//! The schema and the shared SQL text, held against the rules that every engine relies on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod schema;
mod statements;

use roadstead_metadata::{base, schema::MIGRATIONS};
use rusqlite::Connection;

/// A database with the whole schema.
fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    for ddl in base::SQLITE.iter().chain(MIGRATIONS.iter().flat_map(|migration| migration.sqlite)) {
        connection.execute_batch(ddl).unwrap_or_else(|e| panic!("{e}: {ddl}"));
    }
    connection
}

/// The rows of a question without parameters, each column as text.
fn ask(connection: &Connection, sql: &str) -> Vec<Vec<String>> {
    let mut prepared = connection.prepare(sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
    let columns = prepared.column_count();
    let mut rows = prepared.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let text = |index| match row.get::<_, rusqlite::types::Value>(index).unwrap() {
            rusqlite::types::Value::Integer(v) => v.to_string(),
            rusqlite::types::Value::Text(v) => v,
            other => format!("{other:?}"),
        };
        found.push((0..columns).map(text).collect());
    }
    found
}
