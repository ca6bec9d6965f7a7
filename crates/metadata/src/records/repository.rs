//! Namespaces and repositories.

use super::access::{namespace_of, raise};
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use uuid::Uuid;

/// The namespace of one-component repository names.
pub const LIBRARY: &str = "library";

sql! {
    BY_NAME = "SELECT id FROM repository WHERE name = $1";
    INSERT_NAMESPACE = "INSERT INTO namespace (id, name, kind, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
    INSERT = "INSERT INTO repository (id, namespace_id, name, created_at) SELECT $1, id, $2, $3 FROM namespace WHERE name = $4";
    GUARD_UNCLAIMED = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM namespace WHERE name = $1 AND (kind <> 0 OR name = 'library'))";
    CLAIM = "INSERT INTO namespace (id, name, kind, created_at) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (name) DO UPDATE SET kind = excluded.kind";
    GUARD_NAMESPACE = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM namespace WHERE id = $1)";
    INSERT_IN = "INSERT INTO repository (id, namespace_id, name, created_at, visibility, immutable_tags) VALUES ($1, $2, $3, $4, $5, $6)";
    SETTINGS = "SELECT id, name, visibility, immutable_tags, created_at FROM repository WHERE name = $1";
    ALL_SETTINGS = "SELECT id, name, visibility, immutable_tags, created_at FROM repository WHERE name IN ($1)";
    GUARD_THERE = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM repository WHERE id = $1 AND name < '~')";
    GUARD_NAMED = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM repository WHERE id = $1 AND name = $2)";
    SET = "UPDATE repository SET visibility = coalesce($1, visibility), immutable_tags = coalesce($2, immutable_tags) WHERE id = $3";
    SOME_OF = "SELECT name FROM repository WHERE namespace_id = $1 ORDER BY name LIMIT $2";
    NAMESPACE = "SELECT id, kind FROM namespace WHERE name = $1";
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

impl NamespaceKind {
    /// From its number in metadata.
    pub fn from_number(number: i64) -> Self {
        match number {
            1 => NamespaceKind::User,
            2 => NamespaceKind::Organization,
            _ => NamespaceKind::System,
        }
    }
}

/// A repository and how it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its id.
    pub id: Uuid,
    /// Its name, as it is shown.
    pub name: String,
    /// Everybody may pull from it.
    pub public: bool,
    /// Tags that are there neither move nor go.
    pub immutable_tags: bool,
    /// Since when it is there.
    pub created_at: Millis,
}

/// The id of a repository, if there is one of this name.
pub async fn find(sql: &dyn Sql, freshness: Freshness, name: &str) -> Result<Option<Uuid>, QueryError> {
    id(&sql.query(freshness, named(name)).await?)
}

/// Asks for the id of the repository called `name`.
pub(super) fn named(name: &str) -> Statement {
    Statement::new(BY_NAME, vec![name.into()])
}

pub(super) fn id(rows: &[Row]) -> Result<Option<Uuid>, QueryError> {
    rows.first().map(|row| row.id(0)).transpose()
}

/// Makes the namespace, unless there is one, and the repository; conflicts when the repository exists. That it is there
/// changes no decision that is remembered: what is absent is asked anew each time.
pub fn create(id: Uuid, namespace_id: Uuid, name: &str, at: Millis) -> [Statement; 2] {
    let namespace = namespace_of(name);
    [
        Statement::new(
            INSERT_NAMESPACE,
            vec![namespace_id.into(), namespace.into(), (NamespaceKind::System as i64).into(), at.into()],
        ),
        Statement::new(INSERT, vec![id.into(), name.into(), at.into(), namespace.into()]),
    ]
}

/// Makes a repository in a namespace that must be there; conflicts when it is gone or the repository exists.
pub fn create_in(namespace: Uuid, repository: &Repository) -> [Statement; 2] {
    let Repository { id, name, public, immutable_tags, created_at } = repository;
    let named = vec![(*id).into(), namespace.into(), name.as_str().into(), (*created_at).into()];
    let set = vec![(*public).into(), (*immutable_tags).into()];
    [Statement::new(GUARD_NAMESPACE, vec![namespace.into()]), Statement::new(INSERT_IN, [named, set].concat())]
}

/// Conflicts unless the repository of this id is there and has this name. Belongs to every batch that puts something into a
/// repository that was found by its name: one that is being removed has no name any more ([`super::removal`]).
pub fn guard_named(id: Uuid, name: &str) -> Statement {
    Statement::new(GUARD_NAMED, vec![id.into(), name.into()])
}

/// Makes a namespace somebody's. One that was only pushed to becomes that, with its repositories and its id; conflicts
/// when it is `library` or somebody's already.
pub(super) fn claim(id: Uuid, name: &str, kind: NamespaceKind, at: Millis) -> [Statement; 2] {
    [
        Statement::new(GUARD_UNCLAIMED, vec![name.into()]),
        Statement::new(CLAIM, vec![id.into(), name.into(), (kind as i64).into(), at.into()]),
    ]
}

/// Changes how a repository is set, as far as something is given; conflicts when it is gone.
pub fn set(id: Uuid, public: Option<bool>, immutable_tags: Option<bool>) -> [Statement; 3] {
    [
        Statement::new(GUARD_THERE, vec![id.into()]),
        Statement::new(SET, vec![public.into(), immutable_tags.into(), id.into()]),
        raise(),
    ]
}

/// A repository and how it is set.
pub async fn settings(sql: &dyn Sql, name: &str) -> Result<Option<Repository>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(SETTINGS, vec![name.into()])).await?;
    rows.first().map(read_settings).transpose()
}

/// Those of these repositories that are there, and how they are set, in the order of their names.
pub async fn all_settings(sql: &dyn Sql, names: &[String]) -> Result<Vec<Repository>, QueryError> {
    let names = Value::List(names.iter().map(|name| name.as_str().into()).collect());
    let rows = sql.query(Freshness::Latest, Statement::new(ALL_SETTINGS, vec![names])).await?;
    let mut found = rows.iter().map(read_settings).collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn read_settings(row: &Row) -> Result<Repository, QueryError> {
    Ok(Repository {
        id: row.id(0)?,
        name: row.text(1)?.to_owned(),
        public: row.integer(2)? != 0,
        immutable_tags: row.integer(3)? != 0,
        created_at: row.integer(4)?,
    })
}

/// The first repositories of a namespace, at most `limit`.
pub async fn some_of(sql: &dyn Sql, namespace: Uuid, limit: i64) -> Result<Vec<String>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(SOME_OF, vec![namespace.into(), limit.into()])).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// A namespace by name.
pub async fn namespace(sql: &dyn Sql, name: &str) -> Result<Option<(Uuid, NamespaceKind)>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(NAMESPACE, vec![name.into()])).await?;
    rows.first().map(|row| Ok((row.id(0)?, NamespaceKind::from_number(row.integer(1)?)))).transpose()
}
