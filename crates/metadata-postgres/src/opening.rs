//! The start: a server that answers, a database that can hold us, and the tables that every engine has.

use std::borrow::Cow;
use std::time::Duration;

use roadstead_metadata::{Status, base};
use tokio::time::{Instant, sleep};

use crate::connecting::{Connection, Connector, NotConnected, Why, first};
use crate::target::Target;
use crate::text::translated;
use crate::{OpenError, faults};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Taken while tables are made: `CREATE TABLE IF NOT EXISTS` of two sessions at once fails in one of them.
const LOCK: i64 = 0x726f_6164_7374_6561;

/// Waits until a server answers: the primary, with the tables made; else a standby that has them.
pub(crate) async fn ready(
    target: &Target,
    primary: &Connector,
    readers: &Connector,
    within: Duration,
) -> Result<Status, OpenError> {
    let deadline = Instant::now() + within;
    loop {
        let away = match primary.connect().await {
            Ok(connection) => return prepare(target, &connection).await.map(|()| Status::Writable),
            Err(NotConnected { why: Why::Refused, reason }) => {
                return Err(OpenError::Refused { hosts: target.hosts(), reason });
            }
            Err(NotConnected { why: Why::Untrusted, reason }) => {
                return Err(OpenError::Untrusted { hosts: target.hosts(), reason });
            }
            Err(NotConnected { why: Why::Away, reason }) => reason,
        };
        if let Ok(reader) = readers.connect().await
            && has_tables(&reader).await.unwrap_or(false)
        {
            let why = format!("no PostgreSQL primary ({away}); {} answers reads", reader.server);
            tracing::warn!(reason = why, "metadata cannot be written");
            return Ok(Status::ReadOnly(why));
        }
        if Instant::now() + PAUSE > deadline {
            return Err(OpenError::Unreachable { hosts: target.hosts(), reason: away, within });
        }
        tracing::warn!(reason = away, "waiting for PostgreSQL");
        sleep(PAUSE).await;
    }
}

async fn prepare(target: &Target, primary: &Connection) -> Result<(), OpenError> {
    let failed = |error: tokio_postgres::Error| OpenError::Tables(faults::told(&error));
    let encoding = primary.client.simple_query("SHOW server_encoding").await.map_err(failed)?;
    let encoding = first(&encoding).unwrap_or_default();
    if encoding != "UTF8" {
        return Err(OpenError::Encoding { database: target.database.clone(), encoding: encoding.to_owned() });
    }
    let fsync = primary.client.simple_query("SHOW fsync").await.map_err(failed)?;
    if first(&fsync) == Some("off") {
        tracing::warn!("PostgreSQL runs with fsync = off: acknowledged pushes are lost when its machine stops");
    }
    if has_tables(primary).await.map_err(failed)? {
        return Ok(());
    }
    let tables: Vec<Cow<'_, str>> = base::SQLITE.iter().map(|ddl| translated((*ddl).into())).collect();
    let all = format!("BEGIN READ WRITE; SELECT pg_advisory_xact_lock({LOCK}); {}; COMMIT", tables.join("; "));
    primary.client.batch_execute(&all).await.map_err(failed)
}

async fn has_tables(connection: &Connection) -> Result<bool, tokio_postgres::Error> {
    let each: Vec<String> = base::TABLES.iter().map(|name| format!("to_regclass('{name}') IS NOT NULL")).collect();
    let answers = connection.client.simple_query(&format!("SELECT {}", each.join(" AND "))).await?;
    Ok(first(&answers) == Some("t"))
}
