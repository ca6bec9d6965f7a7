//! The keys that sign short-lived tokens, shared by all instances. They do not expire: without metadata to write, the last
//! one goes on signing.

use super::{at_hand, sql};
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement, Value};
use uuid::Uuid;

sql! {
    INSERT = "INSERT INTO signing_key (id, algorithm, private_key, public_key, created_at, not_before, retired_at) \
        VALUES ($1, $2, $3, $4, $5, $6, NULL)";
    GUARD_NONE = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM signing_key WHERE retired_at IS NULL)";
    RETIRE = "UPDATE signing_key SET retired_at = $1 WHERE id <> $2 AND retired_at IS NULL";
    GUARD_NO_MORE = "INSERT INTO guard (ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM signing_key WHERE NOT (id IN ($1)))";
    END_OTHERS = "DELETE FROM signing_key WHERE id <> $1";
    FORGET = "DELETE FROM signing_key WHERE retired_at < $1";
    RETIRED = "SELECT id FROM signing_key WHERE retired_at < $1 ORDER BY id";
    ALL = "SELECT id, algorithm, private_key, public_key, created_at, not_before, retired_at FROM signing_key ORDER BY id";
}

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id, which tokens name.
    pub id: Uuid,
    /// What it signs with: `ES256`.
    pub algorithm: String,
    /// The private key, PKCS#8.
    pub private_key: Vec<u8>,
    /// The public key, as its algorithm encodes it.
    pub public_key: Vec<u8>,
    /// When it was made.
    pub created_at: Millis,
    /// From when on it signs: by then every instance knows it.
    pub not_before: Millis,
    /// When another took over; it still verifies what it signed.
    pub retired_at: Option<Millis>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).field("retired_at", &self.retired_at).finish_non_exhaustive()
    }
}

/// The first key; conflicts when there is one that is not retired: of two instances that start at once one makes it.
pub fn create_first(key: &SigningKey) -> [Statement; 2] {
    [Statement::new(GUARD_NONE, vec![]), insert(key)]
}

/// A new key; those before it retire at `retired_at`, when it is in use everywhere.
pub fn rotate(key: &SigningKey, retired_at: Millis) -> [Statement; 2] {
    [insert(key), Statement::new(RETIRE, vec![retired_at.into(), key.id.into()])]
}

/// A new key in place of all `others`, which verify nothing any more; conflicts when there are more than these, so that who
/// asked can be told how many they were.
pub fn replace(key: &SigningKey, others: impl IntoIterator<Item = Uuid>) -> [Statement; 3] {
    let others = Value::List(others.into_iter().map(Value::from).collect());
    let guard = Statement::new(GUARD_NO_MORE, vec![others]);
    [guard, insert(key), Statement::new(END_OTHERS, vec![key.id.into()])]
}

/// Forgets keys that retired before `before`.
pub fn forget(before: Millis) -> Statement {
    Statement::new(FORGET, vec![before.into()])
}

/// How many keys [`forget`] would forget.
pub async fn retired(sql: &dyn Sql, before: Millis) -> Result<usize, QueryError> {
    Ok(sql.query(Freshness::Latest, Statement::new(RETIRED, vec![before.into()])).await?.len())
}

fn insert(key: &SigningKey) -> Statement {
    let SigningKey { id, algorithm, private_key, public_key, created_at, not_before, .. } = key;
    let keys = vec![(*id).into(), algorithm.as_str().into(), private_key.clone().into(), public_key.clone().into()];
    Statement::new(INSERT, [keys, vec![(*created_at).into(), (*not_before).into()]].concat())
}

/// All keys, oldest first. Known without a leader or a primary, too.
pub async fn all(sql: &dyn Sql) -> Result<Vec<SigningKey>, QueryError> {
    at_hand(sql, Statement::new(ALL, vec![])).await?.iter().map(read).collect()
}

/// The same where metadata is newest.
pub async fn newest(sql: &dyn Sql) -> Result<Vec<SigningKey>, QueryError> {
    sql.query(Freshness::Latest, Statement::new(ALL, vec![])).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<SigningKey, QueryError> {
    Ok(SigningKey {
        id: row.id(0)?,
        algorithm: row.text(1)?.to_owned(),
        private_key: row.blob(2)?.to_vec(),
        public_key: row.blob(3)?.to_vec(),
        created_at: row.integer(4)?,
        not_before: row.integer(5)?,
        retired_at: row.given(6, Row::integer)?,
    })
}
