//! Access tokens of users and robots. Of the secret only its hash is known. When one was used last is not kept here: a pull
//! never needs a write.

use std::collections::BTreeSet;

use super::access::{Subject, raise};
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use uuid::Uuid;

/// When the token `t` ended, or else the first of its owner's that it was made with, however far up; NULL while all are good.
/// Whoever reads a token judges it by this, so ending one is one row, whatever was made with it.
macro_rules! ended_at {
    () => {
        "coalesce(t.revoked_at, \
        (WITH RECURSIVE up (parent_id, owner, revoked_at) AS (SELECT p.parent_id, coalesce(p.user_id, p.robot_id), p.revoked_at \
        FROM access_token p WHERE p.id = t.parent_id AND coalesce(p.user_id, p.robot_id) = coalesce(t.user_id, t.robot_id) \
        UNION ALL SELECT p.parent_id, up.owner, p.revoked_at FROM up JOIN access_token p ON p.id = up.parent_id \
        AND coalesce(p.user_id, p.robot_id) = up.owner) SELECT min(revoked_at) FROM up))"
    };
}
pub(super) use ended_at;

/// Those tokens, as `read` takes them.
macro_rules! tokens {
    ($which:literal) => {
        concat!(
            "SELECT t.id, t.user_id, t.robot_id, t.name, t.secret, t.scope, t.created_at, t.expires_at, ",
            ended_at!(),
            ", t.parent_id FROM access_token t WHERE ",
            $which
        )
    };
}

sql! {
    INSERT = "INSERT INTO access_token (id, user_id, robot_id, name, secret, scope, created_at, expires_at, revoked_at, parent_id) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, $9)";
    GUARD_PARENT = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM access_token WHERE id = $1 AND revoked_at IS NULL)";
    BY_ID = tokens!("t.id = $1");
    OF_USER = tokens!("t.user_id = $1 AND t.id > $2 ORDER BY t.id LIMIT $3");
    OF_ROBOT = tokens!("t.robot_id = $1 AND t.id > $2 ORDER BY t.id LIMIT $3");
    LIVING_OF_USER = "SELECT count(*) FROM (SELECT 1 FROM access_token WHERE user_id = $1 AND revoked_at IS NULL \
        AND (expires_at IS NULL OR expires_at > $2) ORDER BY id LIMIT $3) living";
    LIVING_OF_ROBOT = "SELECT count(*) FROM (SELECT 1 FROM access_token WHERE robot_id = $1 AND revoked_at IS NULL \
        AND (expires_at IS NULL OR expires_at > $2) ORDER BY id LIMIT $3) living";
    REVOKE = "UPDATE access_token SET revoked_at = $1 WHERE revoked_at IS NULL AND id IN ($2)";
    MADE_WITH = "SELECT t.id, t.parent_id, t.user_id, t.robot_id, t.revoked_at FROM access_token t \
        WHERE t.parent_id IN ($1) AND t.id > $2 ORDER BY t.id LIMIT $3";
    LINGERING = "SELECT t.id FROM access_token p JOIN access_token t ON t.parent_id = p.id \
        WHERE p.revoked_at > 0 AND t.revoked_at IS NULL \
        AND coalesce(t.user_id, t.robot_id) = coalesce(p.user_id, p.robot_id) ORDER BY p.revoked_at, p.id LIMIT $1";
    EXPIRED = "SELECT id FROM access_token WHERE expires_at IS NOT NULL AND expires_at < $1 ORDER BY expires_at, id LIMIT $2";
    REVOKED = "SELECT id FROM access_token WHERE revoked_at IS NOT NULL AND revoked_at < $1 ORDER BY revoked_at, id LIMIT $2";
    HAND_OVER = "UPDATE access_token SET parent_id = (WITH RECURSIVE up (id) AS (SELECT p.parent_id FROM access_token p \
        WHERE p.id = access_token.parent_id UNION ALL SELECT p.parent_id FROM up JOIN access_token p ON p.id = up.id \
        WHERE up.id IN ($1)) SELECT id FROM up WHERE NOT (id IN ($2))) WHERE parent_id IN ($3)";
    FORGET = "DELETE FROM access_token WHERE id IN ($1)";
    GUARD = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM access_token WHERE id = $1)";
}

/// An access token.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Its id, which is part of what its owner holds.
    pub id: Uuid,
    /// Whose it is.
    pub subject: Subject,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret: Vec<u8>,
    /// What it is good for; `None`: all that its owner may.
    pub scope: Option<String>,
    /// Since when it is there.
    pub created_at: Millis,
    /// When it ends by itself.
    pub expires_at: Option<Millis>,
    /// When somebody ended it, or one of its owner's that it was made with.
    pub revoked_at: Option<Millis>,
    /// The access token with which it was made, if with one; of those it goes back to the nearest that is not forgotten.
    pub parent: Option<Uuid>,
}

/// A token that was made with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: Uuid,
    /// With which it was made.
    pub parent: Uuid,
    /// Whose it is.
    pub subject: Subject,
    /// Whether it was ended itself.
    pub revoked: bool,
}

/// Without what is nobody's business.
impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .field("name", &self.name)
            .field("scope", &self.scope)
            .field("expires_at", &self.expires_at)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

/// A new token; conflicts when its owner is gone, or when the one that it is made with was revoked. The revision of access
/// stays: nobody asked for this token before.
pub fn create(token: &AccessToken) -> Vec<Statement> {
    let (user, robot) = token.subject.columns();
    let AccessToken { id, name, secret, scope, created_at, expires_at, parent, .. } = token;
    let whose = vec![(*id).into(), user.into(), robot.into(), name.as_str().into(), secret.clone().into()];
    let what = vec![scope.as_deref().into(), (*created_at).into(), (*expires_at).into(), (*parent).into()];
    let guard = parent.map(|parent| Statement::new(GUARD_PARENT, vec![parent.into()]));
    guard.into_iter().chain([Statement::new(INSERT, [whose, what].concat())]).collect()
}

/// Ends a token, and with it what its owner made with it, however far down: those are judged by it ([`by_id`], the facts of a
/// decision), whether or not they are marked. So this is one row, however many they are. Once is enough; conflicts when
/// there is none.
pub fn revoke(id: Uuid, at: Millis) -> [Statement; 3] {
    let [revoked, raised] = end([id], at);
    [Statement::new(GUARD, vec![id.into()]), revoked, raised]
}

/// Marks some tokens as ended, which stay in lists.
pub fn end(ids: impl IntoIterator<Item = Uuid>, at: Millis) -> [Statement; 2] {
    [Statement::new(REVOKE, vec![at.into(), list(ids)]), raise()]
}

/// What was made with one of `parents`, in the order of their ids after `after`, at most `limit`.
pub async fn made_with(sql: &dyn Sql, parents: &[Uuid], after: Uuid, limit: i64) -> Result<Vec<Made>, QueryError> {
    let question = Statement::new(MADE_WITH, vec![list(parents.iter().copied()), after.into(), limit.into()]);
    let rows = sql.query(Freshness::Latest, question).await?;
    let made = rows.iter().map(|row| {
        let (id, parent, subject) = (row.id(0)?, row.id(1)?, Subject::read(row, 2)?);
        Ok(Made { id, parent, subject, revoked: !row.is_null(4) })
    });
    made.collect()
}

/// Tokens, at most `limit`, whose owner made them with one that has ended, and that are not marked yet.
pub async fn lingering(sql: &dyn Sql, limit: i64) -> Result<Vec<Uuid>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(LINGERING, vec![limit.into()])).await?;
    rows.iter().map(|row| row.id(0)).collect()
}

/// How many tokens of a subject are good at `at`, counted up to `most`.
pub async fn living(sql: &dyn Sql, of: Subject, at: Millis, most: i64) -> Result<i64, QueryError> {
    let text = match of {
        Subject::User(_) => LIVING_OF_USER,
        Subject::Robot(_) => LIVING_OF_ROBOT,
    };
    let rows = sql.query(Freshness::Latest, Statement::new(text, vec![of.id().into(), at.into(), most.into()])).await?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

/// Tokens that expired or were revoked before `before`, at most `limit` of each.
pub async fn ended(sql: &dyn Sql, before: Millis, limit: i64) -> Result<BTreeSet<Uuid>, QueryError> {
    let questions = [EXPIRED, REVOKED].map(|text| Statement::new(text, vec![before.into(), limit.into()]));
    let answers = sql.query_many(Freshness::Latest, questions.into()).await?;
    answers.iter().flatten().map(|row| row.id(0)).collect()
}

/// Forgets tokens that have ended, and refresh tokens given for them. Whoever comes with one is refused as before. What was
/// made with one of them is from now on what was made with the nearest that stays of those that this one was made with: so
/// ending that one still finds it.
pub fn forget(ended: &BTreeSet<Uuid>) -> [Statement; 3] {
    let all = || list(ended.iter().copied());
    [Statement::new(HAND_OVER, vec![all(), all(), all()]), Statement::new(FORGET, vec![all()]), raise()]
}

fn list(ids: impl IntoIterator<Item = Uuid>) -> Value {
    Value::List(ids.into_iter().map(Value::from).collect())
}

/// A token by id.
pub async fn by_id(sql: &dyn Sql, freshness: Freshness, id: Uuid) -> Result<Option<AccessToken>, QueryError> {
    let rows = sql.query(freshness, Statement::new(BY_ID, vec![id.into()])).await?;
    rows.first().map(read).transpose()
}

/// Tokens of a subject, oldest first, after `after`, at most `limit`.
pub async fn page(sql: &dyn Sql, of: Subject, after: Uuid, limit: i64) -> Result<Vec<AccessToken>, QueryError> {
    let text = match of {
        Subject::User(_) => OF_USER,
        Subject::Robot(_) => OF_ROBOT,
    };
    let question = Statement::new(text, vec![of.id().into(), after.into(), limit.into()]);
    sql.query(Freshness::Latest, question).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<AccessToken, QueryError> {
    Ok(AccessToken {
        id: row.id(0)?,
        subject: Subject::read(row, 1)?,
        name: row.text(3)?.to_owned(),
        secret: row.blob(4)?.to_vec(),
        scope: row.given(5, Row::text)?.map(str::to_owned),
        created_at: row.integer(6)?,
        expires_at: row.given(7, Row::integer)?,
        revoked_at: row.given(8, Row::integer)?,
        parent: row.given(9, Row::id)?,
    })
}
