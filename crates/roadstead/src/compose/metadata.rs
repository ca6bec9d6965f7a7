//! The metadata engine, whichever it is: what the rest of the process asks of it beside questions and commits.

use std::path::Path;
use std::sync::Arc;

use roadstead_metadata::records::setting;
use roadstead_metadata::{Batch, CommitError, Millis, QueryError, Sql, commit_once};
use roadstead_metadata_postgres::PostgresSql;
use roadstead_metadata_raft::{Options, RaftSql};
use tokio::sync::watch;
use uuid::Uuid;

use super::ComposeError;
use crate::config::postgres::Database;
use crate::config::settings::Metadata;

/// The setting that says whose installation a database is.
const CLUSTER: &str = "cluster";
/// How long its first start may be in doubt.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// An open engine.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    /// Embedded.
    Raft(Arc<RaftSql>),
    /// A database server's.
    Postgres(Arc<PostgresSql>),
}

impl Engine {
    /// Opens what the settings name. `accept_lost_commits` opens embedded metadata that lost some.
    pub(crate) async fn open(metadata: &Metadata, accept_lost_commits: bool) -> Result<Self, ComposeError> {
        Ok(match metadata {
            Metadata::Raft(directory) => {
                let options = Options { accept_lost_commits, ..Options::new(directory) };
                Self::Raft(Arc::new(RaftSql::open(options).await?))
            }
            Metadata::Postgres(database) => {
                if accept_lost_commits {
                    tracing::warn!("--accept-lost-commits has no effect: the metadata is in PostgreSQL");
                }
                make_directory(&database.data_dir).await;
                Self::Postgres(Arc::new(PostgresSql::open(options(database)).await?))
            }
        })
    }

    /// As everybody uses it.
    pub(crate) fn sql(&self) -> Arc<dyn Sql> {
        match self {
            Self::Raft(raft) => raft.clone(),
            Self::Postgres(postgres) => postgres.clone(),
        }
    }

    /// The installation that the metadata belongs to. `sql` is the engine, with its schema.
    pub(crate) async fn cluster(&self, sql: &dyn Sql, now: Millis) -> Result<Uuid, ComposeError> {
        match self {
            Self::Raft(raft) => Ok(raft.cluster()),
            Self::Postgres(_) => stored_cluster(sql, now).await,
        }
    }

    /// Becomes `Some` when the engine stopped for good; one of a server never does.
    pub(crate) fn fatal(&self) -> watch::Receiver<Option<String>> {
        match self {
            Self::Raft(raft) => raft.fatal(),
            // Nobody will send anything.
            Self::Postgres(_) => watch::channel(None).1,
        }
    }

    /// Ends it. Afterwards everything is refused.
    pub(crate) async fn shutdown(&self) {
        match self {
            Self::Raft(raft) => raft.shutdown().await,
            Self::Postgres(postgres) => postgres.shutdown(),
        }
    }
}

fn options(database: &Database) -> roadstead_metadata_postgres::Options {
    let mut options = roadstead_metadata_postgres::Options::new(&database.url);
    options.password_file = database.password_file.clone();
    options.standbys = database.standbys.clone();
    options.pool_size = database.pool_size;
    options.queue_limit = database.queue_limit;
    options.statement_cache = database.statement_cache;
    options.timings.connect = database.connect_timeout;
    options.timings.statement = database.statement_timeout;
    options
}

/// For the socket of the admin API, which is all that is here.
async fn make_directory(directory: &Path) {
    if let Err(error) = tokio::fs::create_dir_all(directory).await {
        tracing::warn!(path = %directory.display(), %error, "cannot make the data directory");
    }
}

async fn stored_cluster(sql: &dyn Sql, now: Millis) -> Result<Uuid, ComposeError> {
    drawn(sql, CLUSTER, Uuid::now_v7(), now).await
}

/// The id under `name` that the first start of all drew: `fresh`, unless another was first. Of several that start at once
/// one is first, and all read what it wrote.
pub(super) async fn drawn(sql: &dyn Sql, name: &str, fresh: Uuid, now: Millis) -> Result<Uuid, ComposeError> {
    let damaged = |text: &str| QueryError::Failed(format!("setting {name} is not an id: {text}"));
    if setting::get(sql, name).await?.is_none() {
        let mut batch = Batch::new(Uuid::now_v7(), now);
        batch.push(setting::add(name, &fresh.to_string(), now));
        commit_once(sql, batch, WITHIN).await.map_err(|error| match error {
            CommitError::Failed(why) => QueryError::Failed(why),
            other => QueryError::Unavailable(other.to_string()),
        })?;
    }
    let found = setting::get(sql, name).await?.ok_or_else(|| damaged("it vanished"))?;
    Ok(Uuid::parse_str(&found).map_err(|_| damaged(&found))?)
}
