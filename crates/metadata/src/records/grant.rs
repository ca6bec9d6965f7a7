//! Who may do what in a repository, or in all repositories of a namespace.

use super::access::{Access, raise};
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use uuid::Uuid;

sql! {
    PUT_REPOSITORY = "INSERT INTO repository_grant (repository_id, subject_id, team_id, user_id, robot_id, repository, access, granted_at) \
        SELECT id, $1, $2, $3, $4, name, $5, $6 FROM repository WHERE id = $7 \
        ON CONFLICT (repository_id, subject_id) DO UPDATE SET access = excluded.access, granted_at = excluded.granted_at";
    PUT_NAMESPACE = "INSERT INTO namespace_grant (namespace_id, subject_id, team_id, user_id, robot_id, access, granted_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) \
        ON CONFLICT (namespace_id, subject_id) DO UPDATE SET access = excluded.access, granted_at = excluded.granted_at";
    GUARD_REPOSITORY = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM repository WHERE id = $1 AND name < '~')";
    GUARD_TEAM_OF_REPOSITORY = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM repository r \
        JOIN team t ON t.organization_id = r.namespace_id WHERE r.id = $1 AND t.id = $2)";
    GUARD_TEAM_OF_NAMESPACE = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM team WHERE organization_id = $1 AND id = $2)";
    REMOVE_REPOSITORY = "DELETE FROM repository_grant WHERE repository_id = $1 AND subject_id = $2";
    REMOVE_NAMESPACE = "DELETE FROM namespace_grant WHERE namespace_id = $1 AND subject_id = $2";
    OF_REPOSITORY = "SELECT g.subject_id, g.team_id, g.user_id, g.access, t.name, u.name, b.name, n.name FROM repository_grant g \
        LEFT JOIN team t ON t.id = g.team_id LEFT JOIN namespace u ON u.id = g.user_id LEFT JOIN robot b ON b.id = g.robot_id \
        LEFT JOIN namespace n ON n.id = coalesce(t.organization_id, b.namespace_id) \
        WHERE g.repository_id = $1 AND g.subject_id > $2 ORDER BY g.subject_id LIMIT $3";
    OF_NAMESPACE = "SELECT g.subject_id, g.team_id, g.user_id, g.access, t.name, u.name, b.name, n.name FROM namespace_grant g \
        LEFT JOIN team t ON t.id = g.team_id LEFT JOIN namespace u ON u.id = g.user_id LEFT JOIN robot b ON b.id = g.robot_id \
        LEFT JOIN namespace n ON n.id = coalesce(t.organization_id, b.namespace_id) \
        WHERE g.namespace_id = $1 AND g.subject_id > $2 ORDER BY g.subject_id LIMIT $3";
}

/// To whom access is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grantee {
    /// All members of a team.
    Team(Uuid),
    /// A user.
    User(Uuid),
    /// A robot.
    Robot(Uuid),
}

impl Grantee {
    /// Its id.
    pub fn id(self) -> Uuid {
        match self {
            Grantee::Team(id) | Grantee::User(id) | Grantee::Robot(id) => id,
        }
    }

    /// `subject_id, team_id, user_id, robot_id`.
    fn columns(self) -> Vec<Value> {
        let only = |is: bool| is.then(|| self.id()).into();
        let (team, user) = (matches!(self, Grantee::Team(_)), matches!(self, Grantee::User(_)));
        vec![self.id().into(), only(team), only(user), only(!team && !user)]
    }
}

/// To what access is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// One repository.
    Repository(Uuid),
    /// All repositories of a namespace, those to come included.
    Namespace(Uuid),
}

/// What is granted to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub grantee: Grantee,
    /// What it is called: `acme/dev` a team, `bob` a user, `acme+ci` a robot.
    pub name: String,
    /// What it may.
    pub access: Access,
}

/// Grants access in place of what was granted to the same before. Conflicts when one of both is gone, and for a team of
/// another organization.
pub fn put(object: Object, to: Grantee, access: Access, at: Millis) -> Vec<Statement> {
    let team = matches!(to, Grantee::Team(_));
    let rest = vec![(access as i64).into(), at.into()];
    match object {
        Object::Repository(id) => {
            let guard = match team {
                true => Statement::new(GUARD_TEAM_OF_REPOSITORY, vec![id.into(), to.id().into()]),
                false => Statement::new(GUARD_REPOSITORY, vec![id.into()]),
            };
            let put = [to.columns(), rest, vec![id.into()]].concat();
            vec![guard, Statement::new(PUT_REPOSITORY, put), raise()]
        }
        Object::Namespace(id) => {
            let guard = team.then(|| Statement::new(GUARD_TEAM_OF_NAMESPACE, vec![id.into(), to.id().into()]));
            let put = [vec![id.into()], to.columns(), rest].concat();
            guard.into_iter().chain([Statement::new(PUT_NAMESPACE, put), raise()]).collect()
        }
    }
}

/// Takes back what was granted to somebody; nothing when nothing was.
pub fn remove(object: Object, from: Uuid) -> [Statement; 2] {
    let statement = match object {
        Object::Repository(id) => Statement::new(REMOVE_REPOSITORY, vec![id.into(), from.into()]),
        Object::Namespace(id) => Statement::new(REMOVE_NAMESPACE, vec![id.into(), from.into()]),
    };
    [statement, raise()]
}

/// What is granted, in the order of the ids of whom, after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, object: Object, after: Uuid, limit: i64) -> Result<Vec<Grant>, QueryError> {
    let (text, id) = match object {
        Object::Repository(id) => (OF_REPOSITORY, id),
        Object::Namespace(id) => (OF_NAMESPACE, id),
    };
    let rows = sql.query(Freshness::Latest, Statement::new(text, vec![id.into(), after.into(), limit.into()])).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Grant, QueryError> {
    let id = row.id(0)?;
    let (grantee, name) = match (row.is_null(1), row.is_null(2)) {
        (false, _) => (Grantee::Team(id), format!("{}/{}", row.text(7)?, row.text(4)?)),
        (true, false) => (Grantee::User(id), row.text(5)?.to_owned()),
        (true, true) => (Grantee::Robot(id), format!("{}+{}", row.text(7)?, row.text(6)?)),
    };
    let access = row.integer(3)?;
    let access = Access::from_number(access)
        .ok_or_else(|| QueryError::Failed(format!("a grant to {name} is of the unknown access {access}")))?;
    Ok(Grant { grantee, name, access })
}
