//! Namespaces and repositories.

use super::sql;
use crate::{Freshness, Millis, QueryError, Sql, Statement};
use uuid::Uuid;

/// The namespace of one-component repository names.
pub const LIBRARY: &str = "library";

sql! {
    BY_NAME = "SELECT id FROM repository WHERE name = $1";
    INSERT_NAMESPACE = "INSERT INTO namespace (id, name, kind, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
    INSERT = "INSERT INTO repository (id, namespace_id, name, created_at) SELECT $1, id, $2, $3 FROM namespace WHERE name = $4";
    PAGE = "SELECT name FROM repository WHERE name > $1 ORDER BY name LIMIT $2";
}

/// What kind of owner a namespace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceKind {
    /// Made by the registry itself: `library`, and namespaces pushed to before anybody claimed them.
    System = 0,
    /// A user's.
    User = 1,
    /// An organization's.
    Organization = 2,
}

/// The id of a repository, if there is one of this name.
pub async fn find(sql: &dyn Sql, freshness: Freshness, name: &str) -> Result<Option<Uuid>, QueryError> {
    let rows = sql.query(freshness, Statement::new(BY_NAME, vec![name.into()])).await?;
    rows.first().map(|row| row.id(0)).transpose()
}

/// Makes the namespace, unless there is one, and the repository; conflicts when the repository exists.
pub fn create(id: Uuid, namespace_id: Uuid, name: &str, at: Millis) -> [Statement; 2] {
    let namespace = name.split_once('/').map_or(LIBRARY, |(first, _)| first);
    [
        Statement::new(
            INSERT_NAMESPACE,
            vec![namespace_id.into(), namespace.into(), (NamespaceKind::System as i64).into(), at.into()],
        ),
        Statement::new(INSERT, vec![id.into(), name.into(), at.into(), namespace.into()]),
    ]
}

/// Repository names in ASCII order after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, after: &str, limit: i64) -> Result<Vec<String>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(PAGE, vec![after.into(), limit.into()])).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}
