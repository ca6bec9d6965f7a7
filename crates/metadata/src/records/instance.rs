//! Running processes: who they are, and that they are alive.

use super::sql;
use crate::{Freshness, Millis, QueryError, Row, Sql, Statement};
use uuid::Uuid;

sql! {
    BEAT = "INSERT INTO instance (id, address, version, region, started_at, beat, beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
        ON CONFLICT (id) DO UPDATE SET address = excluded.address, beat = excluded.beat, beat_at = excluded.beat_at";
    ALL = "SELECT id, address, version, region, started_at, beat, beat_at FROM instance ORDER BY id";
    FORGET = "DELETE FROM instance WHERE beat_at < $1 \
        AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.owner = instance.id)";
    LEAVE = "DELETE FROM instance WHERE id = $1";
}

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// A new one for each run of a process.
    pub id: Uuid,
    /// Where it listens, as other machines would say it: `host:port`.
    pub address: String,
    /// The program's version.
    pub version: String,
    /// The region it is configured with; empty without one.
    pub region: String,
    /// When it started, by its own clock.
    pub started_at: Millis,
    /// Changes with every sign of life.
    pub beat: i64,
    /// When it gave the last one, by its own clock.
    pub beat_at: Millis,
}

/// A sign of life, the first of which enters the process.
pub fn beat(instance: &Instance) -> Statement {
    let Instance { id, address, version, region, started_at, beat, beat_at } = instance;
    let about = vec![(*id).into(), address.as_str().into(), version.as_str().into(), region.as_str().into()];
    Statement::new(BEAT, [about, vec![(*started_at).into(), (*beat).into(), (*beat_at).into()]].concat())
}

/// Forgets processes without a sign of life since `before`, unless they own a lease.
pub fn forget(before: Millis) -> Statement {
    Statement::new(FORGET, vec![before.into()])
}

/// A process ends. Before, it gives up what leases it has.
pub fn leave(id: Uuid) -> Statement {
    Statement::new(LEAVE, vec![id.into()])
}

/// The question for all of them, by age.
pub fn all() -> Statement {
    Statement::new(ALL, vec![])
}

/// What [`all`] answers.
pub fn read(row: &Row) -> Result<Instance, QueryError> {
    Ok(Instance {
        id: row.id(0)?,
        address: row.text(1)?.to_owned(),
        version: row.text(2)?.to_owned(),
        region: row.text(3)?.to_owned(),
        started_at: row.integer(4)?,
        beat: row.integer(5)?,
        beat_at: row.integer(6)?,
    })
}

/// All processes and the leases they own, in one round trip.
pub async fn with_leases(sql: &dyn Sql) -> Result<(Vec<Instance>, Vec<super::lease::Lease>), QueryError> {
    let mut answers = sql.query_many(Freshness::Latest, vec![all(), super::lease::all()]).await?.into_iter();
    let (instances, leases) = (answers.next().unwrap_or_default(), answers.next().unwrap_or_default());
    let instances = instances.iter().map(read).collect::<Result<_, _>>()?;
    Ok((instances, leases.iter().map(super::lease::read).collect::<Result<_, _>>()?))
}
