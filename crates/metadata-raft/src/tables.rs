//! The tables that must stand before the first commit: the contract's own and the commit counter.

use hiqlite::rusqlite::Connection;
use hiqlite::{Client, Params};
use roadstead_metadata::base;

/// Counts the commits of the directory's life; one row. See [`crate::high_water`].
const COUNTER: &str =
    "CREATE TABLE IF NOT EXISTS raft_commits (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), count INTEGER NOT NULL)";
const COUNTER_ROW: &str = "INSERT INTO raft_commits(id, count) VALUES (1, 0) ON CONFLICT DO NOTHING";

/// The last statement of every commit.
pub(crate) const COUNT_COMMIT: &str = "UPDATE raft_commits SET count = count + 1";

/// Changes nothing, and reads no more than one page.
pub(crate) const NOTHING: &str = "UPDATE raft_commits SET count = count WHERE id = 0";

const COUNT: &str = "SELECT count FROM raft_commits";
const PRESENT: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";

/// How many commits the state machine has applied.
pub(crate) fn count(connection: &Connection) -> hiqlite::rusqlite::Result<u64> {
    let count: i64 = connection.prepare_cached(COUNT)?.query_row([], |row| row.get(0))?;
    // It only ever grows from 0.
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Makes the tables that are missing; `false` when all were there and nothing was written.
pub(crate) async fn make(client: &Client) -> Result<bool, hiqlite::Error> {
    let present: Vec<Name> = client.query_map(PRESENT, Params::new()).await?;
    let wanted = base::TABLES.iter().copied().chain(["raft_commits"]);
    if wanted.into_iter().all(|name| present.iter().any(|p| p.0 == name)) {
        return Ok(false);
    }
    let statements = base::SQLITE.iter().copied().chain([COUNTER, COUNTER_ROW]);
    client.txn(statements.map(|sql| (sql, Params::new()))).await?;
    Ok(true)
}

struct Name(String);

impl From<&mut hiqlite::Row<'_>> for Name {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Name(row.try_get("name").unwrap_or_default())
    }
}

/// How many commits were recovered, asked through the node itself.
pub(crate) async fn applied(client: &Client) -> Result<u64, hiqlite::Error> {
    let mut rows = client.query_raw(COUNT, Params::new()).await?;
    let row = rows.first_mut().ok_or_else(|| hiqlite::Error::new("no commit counter"))?;
    let count: i64 = row.try_get("count")?;
    Ok(u64::try_from(count).unwrap_or(0))
}
