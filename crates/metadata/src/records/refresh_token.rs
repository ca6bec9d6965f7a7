//! Refresh tokens: each is exchanged once, for the next of its family. A used one stays until it expires, so that a second
//! use is seen as such, which ends the family.

use super::access::Subject;
use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement};
use uuid::Uuid;

sql! {
    INSERT = "INSERT INTO refresh_token \
        (id, user_id, robot_id, access_token_id, epoch, secret, service, scope, created_at, expires_at, family_id, used_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL)";
    GUARD_FAMILY = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS \
        (SELECT 1 FROM refresh_token WHERE (id = $1 OR family_id = $2) AND replayed_at IS NOT NULL)";
    END_FAMILY = "UPDATE refresh_token SET used_at = coalesce(used_at, $1), replayed_at = $2 \
        WHERE (id = $3 OR family_id = $4) AND replayed_at IS NULL";
    BY_ID = "SELECT id, user_id, robot_id, access_token_id, epoch, secret, service, scope, created_at, expires_at, used_at, \
        family_id, replayed_at FROM refresh_token WHERE id = $1";
    GUARD_UNUSED = "INSERT INTO guard (ok) SELECT 0 WHERE NOT EXISTS \
        (SELECT 1 FROM refresh_token WHERE id = $1 AND used_at IS NULL AND expires_at > $2)";
    USE = "UPDATE refresh_token SET used_at = $1 WHERE id = $2";
    EXPIRED = "SELECT id FROM refresh_token WHERE expires_at < $1 ORDER BY expires_at, id LIMIT $2";
    PURGE_REFRESH_TOKENS = "DELETE FROM refresh_token WHERE id IN \
        (SELECT id FROM refresh_token WHERE expires_at < $1 ORDER BY expires_at, id LIMIT $2)";
}

/// A refresh token.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Its id, which is part of what its owner holds.
    pub id: Uuid,
    /// Whose it is.
    pub subject: Subject,
    /// The access token with which its owner had logged in, if with one.
    pub access_token: Option<Uuid>,
    /// The owner's epoch then.
    pub epoch: Millis,
    /// SHA-256 of its secret.
    pub secret: Vec<u8>,
    /// For which service it was made.
    pub service: String,
    /// What it is good for.
    pub scope: String,
    /// Since when it is there.
    pub created_at: Millis,
    /// Until when it can be used.
    pub expires_at: Millis,
    /// When it was.
    pub used_at: Option<Millis>,
    /// The first token of the same login; `None`: this one.
    pub family: Option<Uuid>,
    /// When one of its login was shown again after it had been used, by which all of them ended.
    pub replayed_at: Option<Millis>,
}

impl RefreshToken {
    /// The first token of its login.
    pub fn first(&self) -> Uuid {
        self.family.unwrap_or(self.id)
    }
}

/// Without what is nobody's business.
impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshToken")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .field("expires_at", &self.expires_at)
            .field("used_at", &self.used_at)
            .finish_non_exhaustive()
    }
}

/// A new token; conflicts when its owner is gone, or its family has ended.
pub fn create(token: &RefreshToken) -> Vec<Statement> {
    let (user, robot) = token.subject.columns();
    let RefreshToken { id, access_token, epoch, secret, service, scope, created_at, expires_at, family, .. } = token;
    let whose = vec![(*id).into(), user.into(), robot.into(), (*access_token).into(), (*epoch).into()];
    let what = vec![secret.clone().into(), service.as_str().into(), scope.as_str().into()];
    let when = vec![(*created_at).into(), (*expires_at).into(), (*family).into()];
    let guard = family.map(|first| Statement::new(GUARD_FAMILY, vec![first.into(), first.into()]));
    guard.into_iter().chain([Statement::new(INSERT, [whose, what, when].concat())]).collect()
}

/// A used token was shown again: whoever has its successors may be a thief, so all of the family are used up (RFC 9700,
/// section 4.14.2), and the one that is being made now will not be.
pub fn end_family(token: &RefreshToken, at: Millis) -> Statement {
    let first = token.first();
    Statement::new(END_FAMILY, vec![at.into(), at.into(), first.into(), first.into()])
}

/// Uses a token up. Conflicts when it was used, has expired or is gone: of two uses at once one does.
pub fn use_up(id: Uuid, at: Millis) -> [Statement; 2] {
    [Statement::new(GUARD_UNUSED, vec![id.into(), at.into()]), Statement::new(USE, vec![at.into(), id.into()])]
}

/// Forgets at most `limit` tokens that expired before `before`.
pub fn purge(before: Millis, limit: i64) -> Statement {
    Statement::new(PURGE_REFRESH_TOKENS, vec![before.into(), limit.into()])
}

/// How many tokens [`purge`] with the same arguments would forget.
pub async fn expired(sql: &dyn Sql, before: Millis, limit: i64) -> Result<usize, QueryError> {
    Ok(sql.query(Freshness::Latest, Statement::new(EXPIRED, vec![before.into(), limit.into()])).await?.len())
}

/// A token by id.
pub async fn by_id(sql: &dyn Sql, id: Uuid) -> Result<Option<RefreshToken>, QueryError> {
    let rows = sql.query(Freshness::Latest, Statement::new(BY_ID, vec![id.into()])).await?;
    rows.first().map(read).transpose()
}

fn read(row: &Row) -> Result<RefreshToken, QueryError> {
    Ok(RefreshToken {
        id: row.id(0)?,
        subject: Subject::read(row, 1)?,
        access_token: row.given(3, Row::id)?,
        epoch: row.integer(4)?,
        secret: row.blob(5)?.to_vec(),
        service: row.text(6)?.to_owned(),
        scope: row.text(7)?.to_owned(),
        created_at: row.integer(8)?,
        expires_at: row.integer(9)?,
        used_at: row.given(10, Row::integer)?,
        family: row.given(11, Row::id)?,
        replayed_at: row.given(12, Row::integer)?,
    })
}
