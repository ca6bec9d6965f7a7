//! Users. The id of a user is that of its namespace.

use super::access::raise;
use super::repository::{NamespaceKind, claim};
use super::{organization, sql};
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement};
use uuid::Uuid;

sql! {
    INSERT = "INSERT INTO account (namespace_id, password_hash, admin, active, created_at, password_changed_at) \
        SELECT id, $1, $2, 1, $3, $4 FROM namespace WHERE name = $5";
    INSERT_OF = "INSERT INTO account (namespace_id, password_hash, admin, active, created_at, password_changed_at, source) \
        SELECT id, NULL, $1, 1, $2, $3, $4 FROM namespace WHERE name = $5";
    GUARD_UNUSED = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM namespace WHERE name = $1)";
    BY_NAME = "SELECT a.namespace_id, n.name, a.admin, a.active, a.created_at, a.password_changed_at, a.password_hash, a.source, a.subject \
        FROM namespace n JOIN account a ON a.namespace_id = n.id WHERE n.name = $1";
    BY_ID = "SELECT a.namespace_id, n.name, a.admin, a.active, a.created_at, a.password_changed_at, a.password_hash, a.source, a.subject \
        FROM account a JOIN namespace n ON n.id = a.namespace_id WHERE a.namespace_id = $1";
    PAGE = "SELECT a.namespace_id, n.name, a.admin, a.active, a.created_at, a.password_changed_at, a.password_hash, a.source, a.subject \
        FROM namespace n JOIN account a ON a.namespace_id = n.id WHERE n.kind = 1 AND n.name > $1 ORDER BY n.name LIMIT $2";
    SET_PASSWORD = "UPDATE account SET password_hash = $1, password_changed_at = CASE \
        WHEN password_changed_at >= $2 THEN password_changed_at + 1 ELSE $3 END WHERE namespace_id = $4";
    SET_POWER = "UPDATE account SET admin = coalesce($1, admin), active = coalesce($2, active) WHERE namespace_id = $3";
    BIND = "UPDATE account SET subject = $1 WHERE namespace_id = $2";
    UNBIND = "UPDATE account SET subject = NULL WHERE namespace_id = $1";
    GUARD_FREE = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM account WHERE namespace_id = $1 AND subject IS NULL)";
    GUARD_SPARED = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM account WHERE namespace_id = $1) \
        OR EXISTS (SELECT 1 FROM account WHERE namespace_id = $2 AND admin = 1 AND active = 1 AND password_hash IS NOT NULL) \
        AND NOT EXISTS (SELECT 1 FROM account WHERE admin = 1 AND active = 1 AND password_hash IS NOT NULL \
            AND namespace_id <> $3)";
    GUARD_NO_ADMIN = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM account WHERE admin = 1 AND active = 1 \
        AND password_hash IS NOT NULL)";
    GUARD = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM account WHERE namespace_id = $1)";
    END_MADE_FOR_OTHERS = "UPDATE access_token SET revoked_at = $1 WHERE revoked_at IS NULL AND id IN \
        (WITH RECURSIVE made (id) AS (SELECT t.id FROM access_token p JOIN access_token t ON t.parent_id = p.id WHERE p.user_id = $2 \
        UNION SELECT t.id FROM access_token t JOIN made ON t.parent_id = made.id) SELECT id FROM made)";
    REMOVE = "DELETE FROM namespace WHERE id = $1 AND kind = 1";
    ADMINS = "SELECT count(*) FROM account WHERE admin = 1 AND active = 1 AND password_hash IS NOT NULL";
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id, which is that of its namespace.
    pub id: Uuid,
    /// Its name, which is that of its namespace.
    pub name: String,
    /// A system admin.
    pub admin: bool,
    /// Whether it may do anything.
    pub active: bool,
    /// Since when it is there.
    pub created_at: Millis,
    /// When its password changed last; the epoch of tokens made for it.
    pub password_changed_at: Millis,
    /// Its password's hash; `None` for one that has no password.
    pub password_hash: Option<String>,
    /// Who vouches for it in place of a password that is kept here: `htpasswd`, the URL of an issuer. Never changes.
    pub source: Option<String>,
    /// What the source calls it for good, whatever name it gives it; `None` when it did not say so yet.
    pub subject: Option<String>,
}

/// Without what is nobody's business.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("admin", &self.admin)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// A new user called `name`; conflicts when a user or an organization has that name.
pub fn create(id: Uuid, name: &str, password_hash: Option<&str>, admin: bool, at: Millis) -> Vec<Statement> {
    let mut statements = Vec::from(claim(id, name, NamespaceKind::User, at));
    let account = vec![password_hash.into(), admin.into(), at.into(), at.into(), name.into()];
    statements.extend([Statement::new(INSERT, account), raise()]);
    statements
}

/// A new user called `name`, for whom `source` vouches; conflicts when a user or an organization has that name.
pub fn create_of(id: Uuid, name: &str, source: &str, admin: bool, at: Millis) -> Vec<Statement> {
    let mut statements = Vec::from(claim(id, name, NamespaceKind::User, at));
    let account = vec![admin.into(), at.into(), at.into(), source.into(), name.into()];
    statements.extend([Statement::new(INSERT_OF, account), raise()]);
    statements
}

/// Conflicts when there is a namespace of this name, be it nobody's: who comes first from elsewhere shall not become the
/// owner of what others pushed.
pub fn guard_unused(name: &str) -> Statement {
    Statement::new(GUARD_UNUSED, vec![name.into()])
}

/// Conflicts when there is a system admin as [`admins`] counts them: of several instances that make the first one, one does.
pub fn guard_no_admin() -> Statement {
    Statement::new(GUARD_NO_ADMIN, vec![])
}

/// A new password, and a later epoch than before. Conflicts when the user is gone.
pub fn set_password(id: Uuid, hash: &str, at: Millis) -> [Statement; 3] {
    [guard(id), Statement::new(SET_PASSWORD, vec![hash.into(), at.into(), at.into(), id.into()]), raise()]
}

/// Whether a user is a system admin, and whether it may do anything, as far as it is given. Conflicts when the user is
/// gone, or when it is the last system admin, as [`admins`] counts them, and would be that no more.
pub fn set_power(id: Uuid, admin: Option<bool>, active: Option<bool>) -> [Statement; 3] {
    let weakens = admin == Some(false) || active == Some(false);
    let guard = if weakens { guard_spared(id) } else { guard(id) };
    [guard, Statement::new(SET_POWER, vec![admin.into(), active.into(), id.into()]), raise()]
}

/// Removes a user with its tokens, robots, memberships and grants, and ends what was made with its tokens for others, whose
/// lists would not tell any more what it was made with. Conflicts when it is gone, owns repositories, is the
/// last owner of an organization or the last system admin, as [`admins`] counts them.
pub fn remove(id: Uuid, at: Millis) -> [Statement; 5] {
    let made = Statement::new(END_MADE_FOR_OTHERS, vec![at.into(), id.into()]);
    let removed = Statement::new(REMOVE, vec![id.into()]);
    [guard_spared(id), organization::guard_owners_beside(id), made, removed, raise()]
}

/// Keeps what its source calls a user. Conflicts when that is known already, or the user is gone: of two who come first at
/// once one is it.
pub fn bind(id: Uuid, subject: &str) -> [Statement; 2] {
    [Statement::new(GUARD_FREE, vec![id.into()]), Statement::new(BIND, vec![subject.into(), id.into()])]
}

/// Forgets what its source calls a user, so that the next one that comes by its name is it. Conflicts when it is gone.
pub fn unbind(id: Uuid) -> [Statement; 3] {
    [guard(id), Statement::new(UNBIND, vec![id.into()]), raise()]
}

fn guard(id: Uuid) -> Statement {
    Statement::new(GUARD, vec![id.into()])
}

/// Conflicts when a user is gone, or the last system admin, as [`admins`] counts them. Where there is none, because an operator
/// administers by the socket alone, others need not wait for one.
fn guard_spared(id: Uuid) -> Statement {
    Statement::new(GUARD_SPARED, vec![id.into(), id.into(), id.into()])
}

/// A user by name.
pub async fn by_name(sql: &dyn Sql, freshness: Freshness, name: &str) -> Result<Option<Account>, QueryError> {
    let rows = sql.query(freshness, Statement::new(BY_NAME, vec![name.into()])).await?;
    rows.first().map(read).transpose()
}

/// A user by id.
pub async fn by_id(sql: &dyn Sql, freshness: Freshness, id: Uuid) -> Result<Option<Account>, QueryError> {
    let rows = sql.query(freshness, Statement::new(BY_ID, vec![id.into()])).await?;
    rows.first().map(read).transpose()
}

/// Users in the order of their names after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, after: &str, limit: i64) -> Result<Vec<Account>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(PAGE, vec![after.into(), limit.into()])).await?;
    rows.iter().map(read).collect()
}

/// How many active system admins there are that have a password here: those of a source may not come in any more tomorrow,
/// and nobody here is told.
pub async fn admins(sql: &dyn Sql) -> Result<i64, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(ADMINS, vec![])).await?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

fn read(row: &Row) -> Result<Account, QueryError> {
    Ok(Account {
        id: row.id(0)?,
        name: row.text(1)?.to_owned(),
        admin: row.integer(2)? != 0,
        active: row.integer(3)? != 0,
        created_at: row.integer(4)?,
        password_changed_at: row.integer(5)?,
        password_hash: row.given(6, Row::text)?.map(str::to_owned),
        source: row.given(7, Row::text)?.map(str::to_owned),
        subject: row.given(8, Row::text)?.map(str::to_owned),
    })
}
