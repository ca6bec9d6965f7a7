//! Locations: configured, named instances of storage engines. Their ids are permanent.

use super::{at_hand, sql};
use crate::{Millis, QueryError, Sql, Statement};
use uuid::Uuid;

sql! {
    ADD = "INSERT INTO location (id, name, replica, created_at) VALUES ($1, $2, $3, $4)";
    ALL = "SELECT id, name, replica FROM location ORDER BY name";
}

/// A location as metadata knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationRecord {
    /// Its permanent id, also in its `roadstead.json`.
    pub id: Uuid,
    /// Its name in the configuration.
    pub name: String,
    /// 0 when every instance reaches it, else the id of the replica whose own it is.
    pub replica: u64,
}

/// Makes a location known; conflicts when its id or name is.
pub fn add(location: &LocationRecord, at: Millis) -> Statement {
    let LocationRecord { id, name, replica } = location;
    Statement::new(ADD, vec![(*id).into(), name.as_str().into(), (*replica as i64).into(), at.into()])
}

/// All locations, by name. Known without a leader or a primary, too.
pub async fn all(sql: &dyn Sql) -> Result<Vec<LocationRecord>, QueryError> {
    let rows = at_hand(sql, Statement::new(ALL, vec![])).await?;
    rows.iter()
        .map(|row| {
            Ok(LocationRecord { id: row.id(0)?, name: row.text(1)?.to_owned(), replica: row.integer(2)? as u64 })
        })
        .collect()
}
