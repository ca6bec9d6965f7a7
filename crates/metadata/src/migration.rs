//! Versioned migrations: each happens once, in order, however many processes start at the same moment.
//!
//! A migration is an ordinary batch: its row in `schema_version`, whose key admits each version once, and its DDL. So
//! it travels the path of every other commit (through Raft too), and of two processes one commits it and the other
//! sees a conflict and goes on. Deliberately absent: migrations downward. The way
//! back is the backup taken before.

use std::time::Duration;

use crate::{Batch, CommitError, Freshness, Millis, QueryError, Sql, Statement, commit_once};

/// One step of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// The schema's version once it happened: 1 for the first, one more for each next.
    pub version: u32,
    /// What it does in a few words, for operators.
    pub name: &'static str,
    /// The statements on SQLite engines, in order. Together they keep to the limits of a batch.
    pub sqlite: &'static [&'static str],
}

/// Why the schema is not at the version this program needs.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer program has been at this metadata; an older one could only damage it.
    #[error(
        "the metadata is at schema version {found}, this program knows versions up to {known}: it was last opened by \
         a newer roadstead. Run that version or a newer one, or restore a backup taken before the upgrade"
    )]
    Newer {
        /// The version found.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The list of migrations is not numbered 1, 2, 3, ...: a fault of the program.
    #[error("migration {name:?} has version {version} and stands at place {place}: a fault in this program")]
    Numbering {
        /// The migration's name.
        name: &'static str,
        /// The version it claims.
        version: u32,
        /// The version due at its place.
        place: u32,
    },
    /// The version could not be read.
    #[error("cannot read the metadata's schema version: {0}")]
    Read(#[from] QueryError),
    /// A migration could not be committed. The ones before it stand.
    #[error("cannot bring the metadata to schema version {version} ({name}): {source}")]
    Commit {
        /// The version that was to be reached.
        version: u32,
        /// The migration's name.
        name: &'static str,
        /// Why not.
        source: CommitError,
    },
}

/// How long one migration is retried while its outcome is unknown.
const WITHIN: Duration = Duration::from_secs(60);

const CURRENT: &str = "SELECT coalesce(max(version), 0) FROM schema_version";
const RECORD: &str = "INSERT INTO schema_version(version, name, applied_at) VALUES ($1, $2, $3)";

/// The migrations that a schema at version `current` still needs, in order. 0 is the empty schema.
pub fn pending(migrations: &[Migration], current: u32) -> Result<&[Migration], MigrateError> {
    for (place, migration) in (1..).zip(migrations) {
        if migration.version != place {
            return Err(MigrateError::Numbering { name: migration.name, version: migration.version, place });
        }
    }
    let known = migrations.last().map_or(0, |m| m.version);
    migrations
        .get(usize::try_from(current).unwrap_or(usize::MAX)..)
        .ok_or(MigrateError::Newer { found: current, known })
}

/// Brings the schema to the newest of `migrations`. `at` is the wall clock, for the record.
///
/// Nothing is written when it is there already, so that an instance also starts while metadata is read-only.
pub async fn migrate(sql: &dyn Sql, migrations: &[Migration], at: Millis) -> Result<(), MigrateError> {
    if pending(migrations, version(sql, Freshness::Local).await?)?.is_empty() {
        return Ok(());
    }
    loop {
        let current = version(sql, Freshness::Latest).await?;
        let Some(next) = pending(migrations, current)?.first() else {
            return Ok(());
        };
        match commit_once(sql, batch(next, at), WITHIN).await {
            Ok(_) => tracing::info!(version = next.version, name = next.name, "metadata schema migrated"),
            Err(source) => {
                // Another process may have been first; if the version did not move, the refusal is the migration's own.
                if version(sql, Freshness::Latest).await? == current {
                    return Err(MigrateError::Commit { version: next.version, name: next.name, source });
                }
            }
        }
    }
}

/// The schema's version; 0 is the empty schema.
async fn version(sql: &dyn Sql, freshness: Freshness) -> Result<u32, QueryError> {
    let rows = sql.query(freshness, Statement::new(CURRENT, vec![])).await?;
    let version = rows.first().ok_or_else(|| QueryError::Failed("no row for the schema version".into()))?.integer(0)?;
    u32::try_from(version).map_err(|_| QueryError::Failed(format!("schema version {version} is out of range")))
}

fn batch(migration: &Migration, at: Millis) -> Batch {
    let mut batch = Batch::new(uuid::Uuid::now_v7(), at);
    // First, so that the second of two processes is refused here whatever the statements would do when repeated.
    batch.push(Statement::new(RECORD, vec![i64::from(migration.version).into(), migration.name.into(), at.into()]));
    batch.extend(migration.sqlite.iter().map(|ddl| Statement::new(ddl, vec![])));
    batch
}

#[cfg(test)]
#[path = "migration_tests.rs"]
mod tests;
