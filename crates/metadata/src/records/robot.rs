//! Accounts of programs, shown as `namespace+name`.

use super::access::raise;
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement};
use uuid::Uuid;

sql! {
    INSERT = "INSERT INTO robot (id, namespace_id, name, created_at) VALUES ($1, $2, $3, $4)";
    REMOVE = "DELETE FROM robot WHERE id = $1";
    GUARD = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM robot WHERE id = $1)";
    BY_NAME = "SELECT b.id, b.namespace_id, b.name, b.created_at FROM namespace n \
        JOIN robot b ON b.namespace_id = n.id WHERE n.name = $1 AND b.name = $2";
    BY_ID = "SELECT b.id, b.namespace_id, b.name, b.created_at, n.name FROM robot b \
        JOIN namespace n ON n.id = b.namespace_id WHERE b.id = $1";
    PAGE = "SELECT id, namespace_id, name, created_at FROM robot WHERE namespace_id = $1 AND name > $2 ORDER BY name LIMIT $3";
}

/// A robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Robot {
    /// Its id.
    pub id: Uuid,
    /// The user or organization that it is of.
    pub namespace: Uuid,
    /// Its name, one of its kind in the namespace.
    pub name: String,
    /// Since when it is there.
    pub created_at: Millis,
}

/// A new robot; conflicts when the namespace is gone or has one of this name.
pub fn create(robot: &Robot) -> [Statement; 2] {
    let Robot { id, namespace, name, created_at } = robot;
    let params = vec![(*id).into(), (*namespace).into(), name.as_str().into(), (*created_at).into()];
    [Statement::new(INSERT, params), raise()]
}

/// Removes a robot with its tokens and grants; conflicts when it is gone.
pub fn remove(id: Uuid) -> [Statement; 3] {
    [Statement::new(GUARD, vec![id.into()]), Statement::new(REMOVE, vec![id.into()]), raise()]
}

/// A robot by the names of its namespace and its own.
pub async fn by_name(sql: &dyn Sql, namespace: &str, name: &str) -> Result<Option<Robot>, QueryError> {
    let question = Statement::new(BY_NAME, vec![namespace.into(), name.into()]);
    sql.query(Freshness::Latest, question).await?.first().map(read).transpose()
}

/// A robot and the name of its namespace.
pub async fn by_id(sql: &dyn Sql, freshness: Freshness, id: Uuid) -> Result<Option<(Robot, String)>, QueryError> {
    let rows = sql.query(freshness, Statement::new(BY_ID, vec![id.into()])).await?;
    rows.first().map(|row| Ok((read(row)?, row.text(4)?.to_owned()))).transpose()
}

/// Robots of a namespace in the order of their names after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, namespace: Uuid, after: &str, limit: i64) -> Result<Vec<Robot>, QueryError> {
    let question = Statement::new(PAGE, vec![namespace.into(), after.into(), limit.into()]);
    sql.query(Freshness::Latest, question).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Robot, QueryError> {
    Ok(Robot { id: row.id(0)?, namespace: row.id(1)?, name: row.text(2)?.to_owned(), created_at: row.integer(3)? })
}
