//! Versioned migrations: each happens once, in order, however many processes start at the same moment.
//!
//! A migration is an ordinary batch: its row in `schema_version`, whose key admits each version once, and its DDL. So
//! it travels the path of every other commit (through Raft too), and of two processes one commits it and the other
//! sees a conflict and goes on. Deliberately absent: migrations downward. The way
//! back is the backup taken before.

use std::time::Duration;

use crate::{Batch, CommitError, Dialect, Freshness, Millis, QueryError, RETRIED_FOR, Sql, Statement, commit_once};

/// One step of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// The schema's version once it happened: 1 for the first, one more for each next.
    pub version: u32,
    /// What it does in a few words, for operators.
    pub name: &'static str,
    /// The statements in SQLite's dialect, in order. Together they keep to the limits of a batch.
    pub sqlite: &'static [&'static str],
    /// The statements on PostgreSQL, where translating those of SQLite is not enough.
    pub postgres: Option<&'static [&'static str]>,
    /// The version of the schema that a program has to know at least to run beside this one.
    pub oldest: u32,
}

impl Migration {
    /// A migration that no older program may run beside.
    pub const fn new(version: u32, name: &'static str, sqlite: &'static [&'static str]) -> Self {
        Self { version, name, sqlite, postgres: None, oldest: version }
    }

    /// It only adds: programs that know the schema up to version `oldest` may run beside it.
    pub const fn beside(mut self, oldest: u32) -> Self {
        self.oldest = oldest;
        self
    }

    /// It has a text of its own on PostgreSQL.
    pub const fn on_postgres(mut self, statements: &'static [&'static str]) -> Self {
        self.postgres = Some(statements);
        self
    }

    /// Its statements in a dialect.
    pub fn statements(&self, dialect: Dialect) -> &'static [&'static str] {
        match (dialect, self.postgres) {
            (Dialect::Postgres, Some(own)) => own,
            _ => self.sqlite,
        }
    }
}

/// Why the schema is not at the version this program needs.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer program has been at this metadata; an older one could only damage it.
    #[error(
        "the metadata is at schema version {found}, this program knows versions up to {known} and may not run beside it: it \
         was last opened by a newer roadstead. Run that version or a newer one, or restore a backup taken before the upgrade"
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

/// How long one migration may take: it may have to read all that there is.
const WITHIN: Duration = RETRIED_FOR;

const CURRENT: &str = "SELECT coalesce(max(version), 0) FROM schema_version";
const OLDEST: &str = "SELECT count(*), coalesce(max(oldest), 0) FROM schema_oldest WHERE version > $1";
const RECORD_OLDEST: &str = "INSERT INTO schema_oldest(version, oldest) VALUES ($1, $2) \
    ON CONFLICT (version) DO UPDATE SET oldest = excluded.oldest";
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
/// Nothing is written when it is there already, so that an instance also starts while metadata is read-only; nor when a
/// newer program brought it further, whose migrations all say that this one may run beside them.
pub async fn migrate(sql: &dyn Sql, migrations: &[Migration], at: Millis) -> Result<(), MigrateError> {
    let mut current = version(sql, Freshness::Local).await?;
    if wanted(sql, Freshness::Local, migrations, current).await?.is_none() {
        return Ok(());
    }
    loop {
        current = version(sql, Freshness::Latest).await?;
        let Some(next) = wanted(sql, Freshness::Latest, migrations, current).await? else {
            return Ok(());
        };
        match commit_once(sql, batch(next, sql.dialect(), at), WITHIN).await {
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

/// The migration that a schema at version `current` needs next, if any.
async fn wanted<'m>(
    sql: &dyn Sql,
    freshness: Freshness,
    migrations: &'m [Migration],
    current: u32,
) -> Result<Option<&'m Migration>, MigrateError> {
    match pending(migrations, current) {
        Ok(pending) => Ok(pending.first()),
        Err(MigrateError::Newer { found, known }) => {
            let rows = sql.query(freshness, Statement::new(OLDEST, vec![i64::from(known).into()])).await?;
            let row = rows.first().ok_or_else(|| QueryError::Failed("no row for what may run beside".into()))?;
            // One that does not say was made by a program that did not either.
            let all_say = row.integer(0)? == i64::from(found - known);
            if all_say && row.integer(1)? <= i64::from(known) {
                tracing::warn!(found, known, "a newer roadstead has extended the metadata; running beside it");
                return Ok(None);
            }
            Err(MigrateError::Newer { found, known })
        }
        Err(other) => Err(other),
    }
}

/// The schema's version; 0 is the empty schema.
async fn version(sql: &dyn Sql, freshness: Freshness) -> Result<u32, QueryError> {
    let rows = sql.query(freshness, Statement::new(CURRENT, vec![])).await?;
    let version = rows.first().ok_or_else(|| QueryError::Failed("no row for the schema version".into()))?.integer(0)?;
    u32::try_from(version).map_err(|_| QueryError::Failed(format!("schema version {version} is out of range")))
}

fn batch(migration: &Migration, dialect: Dialect, at: Millis) -> Batch {
    let mut batch = Batch::new(uuid::Uuid::now_v7(), at);
    // First, so that the second of two processes is refused here whatever the statements would do when repeated.
    batch.push(Statement::new(RECORD, vec![i64::from(migration.version).into(), migration.name.into(), at.into()]));
    let oldest = i64::from(migration.oldest).into();
    batch.push(Statement::new(RECORD_OLDEST, vec![i64::from(migration.version).into(), oldest]));
    batch.extend(migration.statements(dialect).iter().map(|ddl| Statement::new(ddl, vec![])));
    batch
}

#[cfg(test)]
#[path = "migration_tests.rs"]
mod tests;
