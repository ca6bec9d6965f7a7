//! The in-memory engine: SQLite without a file, for tests and for whatever needs no durable metadata.
//!
//! It keeps the whole contract (one transaction per batch, guards, foreign keys, operation ids), so what passes
//! here passes on the replicated engines but for their outages, which [`Memory::set_status`] and
//! [`Memory::fail_next_commit`] stand for. Statements run in the calling task: they take microseconds, and under a
//! test's paused clock a thread of its own would let timeouts fire while it works.

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Transaction};

use crate::faults::Faults;
use crate::lists::expand;
use crate::{
    Batch, CommitError, Committed, Fault, Freshness, QueryError, Revision, Row, Rows, Sql, Statement, Status, Value,
    base,
};

/// An in-memory metadata engine. Its content is gone when it is dropped.
#[derive(Debug)]
pub struct Memory {
    connection: Mutex<Connection>,
    faults: Faults,
    revision: Revision,
}

impl Memory {
    /// An empty engine with the tables of the contract ([`base`]) and no schema.
    pub fn open() -> Result<Self, QueryError> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_in_memory()?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.set_prepared_statement_cache_capacity(256);
            connection.execute_batch(&base::SQLITE.join(";"))?;
            Ok(connection)
        };
        let connection = open().map_err(|e| QueryError::Failed(format!("cannot open in-memory metadata: {e}")))?;
        Ok(Self { connection: Mutex::new(connection), faults: Faults::default(), revision: Revision::default() })
    }

    /// Claims `status` from now on: commits need [`Status::Writable`], questions fail while [`Status::Down`], and while
    /// [`Status::ReadOnly`] those for what is newest.
    pub fn set_status(&self, status: Status) {
        self.faults.set_status(status);
    }

    /// Lets the next commit that has none yet meet `fault`.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.faults.fail_next_commit(fault);
    }
}

#[async_trait]
impl Sql for Memory {
    async fn query_many(&self, freshness: Freshness, statements: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        // Tasks on one thread interleave here as they do with an engine that is waited for.
        tokio::task::yield_now().await;
        self.faults.question(freshness)?;
        let connection = self.connection.lock();
        statements.into_iter().map(|statement| ask(&connection, statement)).collect()
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        tokio::task::yield_now().await;
        let carry_out = async {
            let _changing = self.revision.changing();
            carry_out(&mut self.connection.lock(), batch)
        };
        self.faults.commit(carry_out).await
    }

    fn status(&self) -> Status {
        self.faults.status().unwrap_or(Status::Writable)
    }

    fn revision(&self) -> Option<u64> {
        self.revision.get()
    }
}

fn ask(connection: &Connection, statement: Statement) -> Result<Rows, QueryError> {
    let text = statement.sql;
    let failed = |reason: &dyn std::fmt::Display| QueryError::Failed(format!("{reason} ({text})"));
    let (sql, params) = expand(statement).map_err(|e| failed(&e))?;
    let read = || -> rusqlite::Result<Option<Rows>> {
        let mut prepared = connection.prepare_cached(&sql)?;
        if !prepared.readonly() {
            return Ok(None);
        }
        let columns = prepared.column_count();
        let rows = prepared.query_map(rusqlite::params_from_iter(&params), |row| {
            (0..columns).map(|index| column(row.get_ref(index)?, index)).collect::<rusqlite::Result<_>>().map(Row)
        })?;
        rows.collect::<rusqlite::Result<_>>().map(Some)
    };
    read().map_err(|e| failed(&e))?.ok_or_else(|| failed(&"a question may not write"))
}

fn carry_out(connection: &mut Connection, batch: Batch) -> Result<Committed, CommitError> {
    let outside = |e: rusqlite::Error| CommitError::Failed(e.to_string());
    let transaction = connection.transaction().map_err(outside)?;
    if !take_operation(&transaction, &batch).map_err(outside)? {
        return Ok(Committed { replayed: true });
    }
    let count = batch.statements.len();
    for (index, statement) in batch.statements.into_iter().enumerate() {
        let place = format!("statement {} of {count}: {}", index + 1, statement.sql);
        let (sql, params) = expand(statement).map_err(|e| CommitError::Failed(format!("{e} ({place})")))?;
        transaction
            .prepare_cached(&sql)
            .and_then(|mut prepared| prepared.execute(rusqlite::params_from_iter(&params)))
            .map_err(|e| refusal(&e, &place))?;
    }
    transaction.commit().map_err(|e| refusal(&e, "end of the batch"))?;
    Ok(Committed { replayed: false })
}

/// Takes the batch's operation id; `false` when it was taken before.
fn take_operation(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<bool> {
    let id = batch.operation.as_bytes().as_slice();
    match transaction.prepare_cached(base::TAKE_OPERATION)?.execute((id, batch.at)) {
        Ok(_) => Ok(true),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A constraint is a conflict, anything else a fault.
fn refusal(error: &rusqlite::Error, place: &str) -> CommitError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => CommitError::Conflict(format!("{error} ({place})")),
        _ => CommitError::Failed(format!("{error} ({place})")),
    }
}

fn column(value: ValueRef<'_>, index: usize) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(v) => Value::Integer(v),
        ValueRef::Text(v) => {
            let text = std::str::from_utf8(v).map_err(|e| rusqlite::Error::Utf8Error(index, e))?;
            Value::Text(text.to_owned())
        }
        ValueRef::Blob(v) => Value::Blob(v.to_vec()),
        real @ ValueRef::Real(_) => {
            return Err(rusqlite::Error::InvalidColumnType(index, "a real number".into(), real.data_type()));
        }
    })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(v) => ValueRef::Integer(*v),
            Value::Text(v) => ValueRef::Text(v.as_bytes()),
            Value::Blob(v) => ValueRef::Blob(v),
            Value::List(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("a list was not expanded".into()));
            }
        }))
    }
}
