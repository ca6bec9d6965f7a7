//! Settings that the whole installation shares.

use super::sql;
use crate::{Freshness, Millis, QueryError, Sql, Statement};

sql! {
    GET = "SELECT value FROM setting WHERE name = $1";
    ADD = "INSERT INTO setting (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
}

/// A setting's value.
pub async fn get(sql: &dyn Sql, name: &str) -> Result<Option<String>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(GET, vec![name.into()])).await?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// Sets a value unless there is one: of two instances that start at once, one wins and both read its value.
pub fn add(name: &str, value: &str, at: Millis) -> Statement {
    Statement::new(ADD, vec![name.into(), value.into(), at.into()])
}
