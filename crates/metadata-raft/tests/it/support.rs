//! What the tests share: options with short times, a table to write to, statements over it.

use std::fs;
use std::path::Path;

use roadstead_metadata::{Batch, CommitError, Committed, Freshness, Sql, Statement, Value};
use roadstead_metadata_raft::{Options, RaftSql};
use uuid::Uuid;

const TABLE: &str = "CREATE TABLE note (id BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO note(id, body) VALUES ($1, $2)";

pub(crate) fn options(directory: &Path) -> Options {
    Options { disk_reserve: 0, ..Options::new(directory) }
}

/// Opens an engine, with the table made.
pub(crate) async fn open(directory: &Path) -> RaftSql {
    let sql = RaftSql::open(options(directory)).await.unwrap();
    make_table(&sql).await;
    sql
}

/// Makes the table unless it is there.
pub(crate) async fn make_table(sql: &RaftSql) {
    let there = Statement::new("SELECT 1 FROM sqlite_master WHERE name = $1", vec!["note".into()]);
    if sql.query(Freshness::Latest, there).await.unwrap().is_empty() {
        commit(sql, vec![Statement::new(TABLE, vec![])]).await.unwrap();
    }
}

pub(crate) fn batch(statements: Vec<Statement>) -> Batch {
    let mut batch = Batch::new(Uuid::now_v7(), 1);
    batch.extend(statements);
    batch
}

pub(crate) async fn commit(sql: &RaftSql, statements: Vec<Statement>) -> Result<Committed, CommitError> {
    sql.commit(batch(statements)).await
}

pub(crate) fn insert(id: i64) -> Statement {
    Statement::new(INSERT, vec![id.into(), insert_text(id).into()])
}

/// The text of an id: long enough to fill pages, and all of it depends on the id.
pub(crate) fn insert_text(id: i64) -> String {
    format!("note {id} ").repeat(20)
}

/// The ids in the table, ascending; fails when a body is not the one its id was written with.
pub(crate) async fn ids(sql: &RaftSql) -> Vec<i64> {
    let rows = sql.query(Freshness::Latest, Statement::new("SELECT id, body FROM note ORDER BY id", vec![])).await;
    let ids = rows.unwrap().into_iter().map(|row| {
        let id = row.integer(0).unwrap();
        assert_eq!(row.0[1], Value::Text(insert_text(id)));
        id
    });
    ids.collect()
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
