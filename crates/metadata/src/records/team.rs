//! Teams of organizations.

use super::access::raise;
use super::{organization, sql};
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement};
use uuid::Uuid;

sql! {
    INSERT = "INSERT INTO team (id, organization_id, name, created_at) VALUES ($1, $2, $3, $4)";
    REMOVE = "DELETE FROM team WHERE id = $1";
    GUARD = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM team WHERE id = $1 AND organization_id = $2)";
    BY_NAME = "SELECT t.id, t.organization_id, t.name, t.created_at FROM namespace n \
        JOIN team t ON t.organization_id = n.id WHERE n.name = $1 AND t.name = $2";
    PAGE = "SELECT id, organization_id, name, created_at FROM team WHERE organization_id = $1 AND name > $2 ORDER BY name LIMIT $3";
    PUT_MEMBER = "INSERT INTO team_member (team_id, user_id, organization_id, since) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (team_id, user_id) DO NOTHING";
    REMOVE_MEMBER = "DELETE FROM team_member WHERE team_id = $1 AND user_id = $2";
    GUARD_MEMBER = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM team_member WHERE team_id = $1 AND user_id = $2)";
    MEMBERS = "SELECT m.user_id, n.name FROM team_member m JOIN namespace n ON n.id = m.user_id \
        WHERE m.team_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3";
    OF_USER = "SELECT team_id FROM team_member WHERE user_id = $1";
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Its id.
    pub id: Uuid,
    /// The organization it is of.
    pub organization: Uuid,
    /// Its name, one of its kind in the organization.
    pub name: String,
    /// Since when it is there.
    pub created_at: Millis,
}

/// A new team; conflicts when the organization is gone or has one of this name.
pub fn create(team: &Team) -> [Statement; 2] {
    let Team { id, organization, name, created_at } = team;
    let params = vec![(*id).into(), (*organization).into(), name.as_str().into(), (*created_at).into()];
    [Statement::new(INSERT, params), raise()]
}

/// Removes a team with its memberships and grants; conflicts when it is gone.
pub fn remove(team: &Team) -> [Statement; 3] {
    [guard(team), Statement::new(REMOVE, vec![team.id.into()]), raise()]
}

/// Makes a user a member of the team, and of its organization if it is none. Conflicts when one of them is gone.
pub fn put_member(team: &Team, user: Uuid, at: Millis) -> [Statement; 4] {
    let member = vec![team.id.into(), user.into(), team.organization.into(), at.into()];
    [guard(team), organization::join(team.organization, user, at), Statement::new(PUT_MEMBER, member), raise()]
}

/// A member leaves the team, not the organization; conflicts when it is none.
pub fn remove_member(team: Uuid, user: Uuid) -> [Statement; 3] {
    let ids = || vec![team.into(), user.into()];
    [Statement::new(GUARD_MEMBER, ids()), Statement::new(REMOVE_MEMBER, ids()), raise()]
}

fn guard(team: &Team) -> Statement {
    Statement::new(GUARD, vec![team.id.into(), team.organization.into()])
}

/// A team by the names of its organization and its own.
pub async fn by_name(sql: &dyn Sql, organization: &str, name: &str) -> Result<Option<Team>, QueryError> {
    let question = Statement::new(BY_NAME, vec![organization.into(), name.into()]);
    sql.query(Freshness::Latest, question).await?.first().map(read).transpose()
}

/// Teams of an organization in the order of their names after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, organization: Uuid, after: &str, limit: i64) -> Result<Vec<Team>, QueryError> {
    let question = Statement::new(PAGE, vec![organization.into(), after.into(), limit.into()]);
    sql.query(Freshness::Latest, question).await?.iter().map(read).collect()
}

/// Ids and names of members in the order of their ids after `after`, at most `limit`.
pub async fn members(sql: &dyn Sql, team: Uuid, after: Uuid, limit: i64) -> Result<Vec<(Uuid, String)>, QueryError> {
    let question = Statement::new(MEMBERS, vec![team.into(), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, question).await?;
    rows.iter().map(|row| Ok((row.id(0)?, row.text(1)?.to_owned()))).collect()
}

/// The question for the teams that a user is in.
pub(super) fn of_user(user: Uuid) -> Statement {
    Statement::new(OF_USER, vec![user.into()])
}

fn read(row: &Row) -> Result<Team, QueryError> {
    Ok(Team { id: row.id(0)?, organization: row.id(1)?, name: row.text(2)?.to_owned(), created_at: row.integer(3)? })
}
