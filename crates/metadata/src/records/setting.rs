//! Settings that the whole installation shares.

use super::{at_hand, sql};
use crate::{Millis, QueryError, Sql, Statement};

sql! {
    GET = "SELECT value FROM setting WHERE name = $1";
    ADD = "INSERT INTO setting (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    PUT = "INSERT INTO setting (name, value, updated_at) VALUES ($1, $2, $3) \
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
}

/// A setting's value, which is never set again. Known without a leader or a primary, too.
pub async fn get(sql: &dyn Sql, name: &str) -> Result<Option<String>, QueryError> {
    let rows = at_hand(sql, Statement::new(GET, vec![name.into()])).await?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// Sets a value unless there is one: of two instances that start at once, one wins and both read its value.
pub fn add(name: &str, value: &str, at: Millis) -> Statement {
    Statement::new(ADD, vec![name.into(), value.into(), at.into()])
}

/// Sets a value in place of the one there may be.
pub fn put(name: &str, value: &str, at: Millis) -> Statement {
    Statement::new(PUT, vec![name.into(), value.into(), at.into()])
}
