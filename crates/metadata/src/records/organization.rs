//! Organizations and who belongs to them.

use super::access::raise;
use super::repository::{NamespaceKind, claim};
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement};
use uuid::Uuid;

sql! {
    PUT_FIRST_OWNER = "INSERT INTO organization_member (organization_id, user_id, role, since) \
        SELECT id, $1, 1, $2 FROM namespace WHERE name = $3";
    BY_NAME = "SELECT id, name, created_at FROM namespace WHERE name = $1 AND kind = 2";
    PAGE = "SELECT id, name, created_at FROM namespace WHERE kind = 2 AND name > $1 ORDER BY name LIMIT $2";
    REMOVE = "DELETE FROM namespace WHERE id = $1 AND kind = 2";
    GUARD = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM namespace WHERE id = $1 AND kind = 2)";
    PUT_MEMBER = "INSERT INTO organization_member (organization_id, user_id, role, since) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (organization_id, user_id) DO UPDATE SET role = excluded.role";
    JOIN = "INSERT INTO organization_member (organization_id, user_id, role, since) VALUES ($1, $2, 0, $3) \
        ON CONFLICT (organization_id, user_id) DO NOTHING";
    LEAVE = "DELETE FROM organization_member WHERE organization_id = $1 AND user_id = $2";
    GUARD_MEMBER = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM organization_member WHERE organization_id = $1 AND user_id = $2)";
    GUARD_OTHER_OWNER = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM organization_member m WHERE m.organization_id = $1 AND m.role = 1 AND m.user_id = $2) AND NOT EXISTS \
        (SELECT 1 FROM organization_member o WHERE o.organization_id = $3 AND o.role = 1 AND o.user_id <> $4)";
    GUARD_OWNERS_BESIDE = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM organization_member m WHERE m.user_id = $1 AND m.role = 1 AND NOT EXISTS \
        (SELECT 1 FROM organization_member o WHERE o.organization_id = m.organization_id AND o.role = 1 \
        AND o.user_id <> m.user_id))";
    OWNED_ALONE = "SELECT n.name FROM organization_member m JOIN namespace n ON n.id = m.organization_id \
        WHERE m.user_id = $1 AND m.role = 1 AND NOT EXISTS \
        (SELECT 1 FROM organization_member o WHERE o.organization_id = m.organization_id AND o.role = 1 \
        AND o.user_id <> m.user_id) ORDER BY m.organization_id LIMIT 1";
    OWNERS = "SELECT user_id FROM organization_member WHERE organization_id = $1 AND role = 1 ORDER BY user_id LIMIT $2";
    MEMBERS = "SELECT m.user_id, n.name, m.role FROM organization_member m JOIN namespace n ON n.id = m.user_id \
        WHERE m.organization_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3";
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its id, that of its namespace.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Since when there is a namespace of this name.
    pub created_at: Millis,
}

/// What a member of an organization may there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing but what teams and grants allow.
    Member = 0,
    /// Everything.
    Owner = 1,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: Uuid,
    /// Its name.
    pub name: String,
    /// What it may.
    pub role: Role,
}

/// A new organization called `name`, with its first owner if there is one; conflicts when a user or an organization has that name.
pub fn create(id: Uuid, name: &str, owner: Option<Uuid>, at: Millis) -> Vec<Statement> {
    let mut statements = Vec::from(claim(id, name, NamespaceKind::Organization, at));
    statements.extend(owner.map(|owner| Statement::new(PUT_FIRST_OWNER, vec![owner.into(), at.into(), name.into()])));
    statements.push(raise());
    statements
}

/// Removes an organization with its teams, robots, memberships and grants; conflicts when it is gone or has repositories.
pub fn remove(id: Uuid) -> [Statement; 3] {
    [guard(id), Statement::new(REMOVE, vec![id.into()]), raise()]
}

/// Makes a user a member, or changes its role. Conflicts when one of them is gone, or when it would leave the organization
/// without its last owner.
pub fn put_member(organization: Uuid, user: Uuid, role: Role, at: Millis) -> Vec<Statement> {
    let mut statements = vec![guard(organization)];
    if role == Role::Member {
        statements.push(guard_other_owner(organization, user));
    }
    let member = vec![organization.into(), user.into(), (role as i64).into(), at.into()];
    statements.extend([Statement::new(PUT_MEMBER, member), raise()]);
    statements
}

/// Makes a user a member, if it is none.
pub(super) fn join(organization: Uuid, user: Uuid, at: Millis) -> Statement {
    Statement::new(JOIN, vec![organization.into(), user.into(), at.into()])
}

/// A member leaves the organization and its teams. Conflicts when it is none, or the last owner.
pub fn remove_member(organization: Uuid, user: Uuid) -> [Statement; 4] {
    let ids = || vec![organization.into(), user.into()];
    [Statement::new(GUARD_MEMBER, ids()), guard_other_owner(organization, user), Statement::new(LEAVE, ids()), raise()]
}

fn guard(id: Uuid) -> Statement {
    Statement::new(GUARD, vec![id.into()])
}

fn guard_other_owner(organization: Uuid, user: Uuid) -> Statement {
    let (o, u) = (organization, user);
    Statement::new(GUARD_OTHER_OWNER, vec![o.into(), u.into(), o.into(), u.into()])
}

/// Conflicts when a user is the only owner of some organization.
pub(super) fn guard_owners_beside(user: Uuid) -> Statement {
    Statement::new(GUARD_OWNERS_BESIDE, vec![user.into()])
}

/// An organization by name.
pub async fn by_name(sql: &dyn Sql, name: &str) -> Result<Option<Organization>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(BY_NAME, vec![name.into()])).await?;
    rows.first().map(read).transpose()
}

/// Organizations in the order of their names after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, after: &str, limit: i64) -> Result<Vec<Organization>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(PAGE, vec![after.into(), limit.into()])).await?;
    rows.iter().map(read).collect()
}

/// An organization of which the user is the only owner, if there is one.
pub async fn owned_alone(sql: &dyn Sql, user: Uuid) -> Result<Option<String>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(OWNED_ALONE, vec![user.into()])).await?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

/// Owners in the order of their ids, at most `limit`.
pub async fn owners(sql: &dyn Sql, organization: Uuid, limit: i64) -> Result<Vec<Uuid>, QueryError> {
    let question = Statement::new(OWNERS, vec![organization.into(), limit.into()]);
    sql.query(Freshness::Latest, question).await?.iter().map(|row| row.id(0)).collect()
}

/// Members in the order of their ids after `after`, at most `limit`.
pub async fn members(sql: &dyn Sql, organization: Uuid, after: Uuid, limit: i64) -> Result<Vec<Member>, QueryError> {
    let question = Statement::new(MEMBERS, vec![organization.into(), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, question).await?;
    let read = |row: &Row| {
        let role = if row.integer(2)? == 1 { Role::Owner } else { Role::Member };
        Ok(Member { user: row.id(0)?, name: row.text(1)?.to_owned(), role })
    };
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Organization, QueryError> {
    Ok(Organization { id: row.id(0)?, name: row.text(1)?.to_owned(), created_at: row.integer(2)? })
}
