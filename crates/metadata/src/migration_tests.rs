#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use super::*;
use crate::{Fault, Memory, Status};

const ONE: Migration = Migration::new(1, "first", &["CREATE TABLE a(k BIGINT NOT NULL PRIMARY KEY)"]);
const TWO: Migration = Migration::new(2, "second", &["INSERT INTO a(k) VALUES (1)", "CREATE TABLE b(k BIGINT)"]);
/// Nothing in it would refuse a second time.
const THREE: Migration = Migration::new(3, "third", &["INSERT INTO b(k) VALUES (1)"]);
const BROKEN: Migration = Migration::new(2, "broken", &["CREATE TABLE b(k BIGINT)", "NOT SQL"]);

async fn versions(sql: &dyn Sql) -> Vec<(i64, String, i64)> {
    let ask = Statement::new("SELECT version, name, applied_at FROM schema_version ORDER BY version", vec![]);
    let rows = sql.query(Freshness::Latest, ask).await.unwrap();
    rows.iter().map(|r| (r.integer(0).unwrap(), r.text(1).unwrap().to_owned(), r.integer(2).unwrap())).collect()
}

#[test]
fn pending_is_what_comes_after_the_version_found() {
    assert_eq!(pending(&[ONE, TWO], 0).unwrap(), [ONE, TWO]);
    assert_eq!(pending(&[ONE, TWO], 1).unwrap(), [TWO]);
    assert_eq!(pending(&[ONE, TWO], 2).unwrap(), []);
    assert_eq!(pending(&[], 0).unwrap(), []);
}

#[test]
fn a_gap_in_the_numbers_is_a_fault() {
    assert!(matches!(pending(&[TWO], 0), Err(MigrateError::Numbering { version: 2, place: 1, .. })));
    assert!(matches!(pending(&[ONE, ONE], 2), Err(MigrateError::Numbering { version: 1, place: 2, .. })));
}

#[tokio::test]
async fn each_happens_once_and_is_recorded() {
    let memory = Memory::open().unwrap();
    migrate(&memory, &[ONE], 10).await.unwrap();
    migrate(&memory, &[ONE, TWO], 20).await.unwrap();
    migrate(&memory, &[ONE, TWO], 30).await.unwrap();
    assert_eq!(versions(&memory).await, [(1, "first".into(), 10), (2, "second".into(), 20)]);
}

#[tokio::test]
async fn a_newer_database_is_refused_with_the_way_out() {
    let memory = Memory::open().unwrap();
    migrate(&memory, &[ONE, TWO], 0).await.unwrap();
    let refused = migrate(&memory, &[ONE], 0).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Newer { found: 2, known: 1 }));
    let text = refused.to_string();
    assert!(text.contains("version 2") && text.contains("up to 1") && text.contains("restore a backup"), "{text}");
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_and_names_itself() {
    let memory = Memory::open().unwrap();
    let refused = migrate(&memory, &[ONE, BROKEN], 0).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Commit { version: 2, name: "broken", .. }), "{refused}");
    assert_eq!(versions(&memory).await.len(), 1);
    migrate(&memory, &[ONE, TWO], 0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_migration_without_an_answer_happens_once() {
    let memory = Memory::open().unwrap();
    memory.fail_next_commit(Fault::UnknownButDone);
    memory.fail_next_commit(Fault::UnknownNotDone);
    migrate(&memory, &[ONE, TWO], 0).await.unwrap();
    assert_eq!(versions(&memory).await.len(), 2);
}

#[tokio::test]
async fn a_current_schema_needs_no_write() {
    let memory = Memory::open().unwrap();
    migrate(&memory, &[ONE], 0).await.unwrap();
    memory.set_status(Status::ReadOnly("no quorum".into()));
    migrate(&memory, &[ONE], 0).await.unwrap();
    memory.set_status(Status::Writable);
    memory.fail_next_commit(Fault::UnavailableBefore);
    let refused = migrate(&memory, &[ONE, TWO], 0).await.unwrap_err();
    assert!(
        matches!(refused, MigrateError::Commit { version: 2, source: CommitError::Unavailable(_), .. }),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_at_once_apply_each_once() {
    let memory = Arc::new(Memory::open().unwrap());
    let starts = (0..8).map(|_| {
        let memory = memory.clone();
        tokio::spawn(async move { migrate(&*memory, &[ONE, TWO, THREE], 0).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    assert_eq!(versions(&*memory).await.len(), 3);
    let rows = memory.query(Freshness::Latest, Statement::new("SELECT count(*) FROM b", vec![])).await.unwrap();
    assert_eq!(rows[0].integer(0).unwrap(), 1);
}

/// A table that older programs need not know of, and its removal of something that they use.
const EXPANDS: Migration = Migration::new(2, "expands", &["CREATE TABLE b(k BIGINT)"]).beside(1);
const CONTRACTS: Migration = Migration::new(3, "contracts", &["DROP TABLE a"]).beside(2);

#[tokio::test]
async fn an_older_program_runs_beside_what_only_adds_and_nothing_else() {
    let memory = Memory::open().unwrap();
    migrate(&memory, &[ONE, EXPANDS], 0).await.unwrap();
    migrate(&memory, &[ONE], 0).await.unwrap();
    assert_eq!(versions(&memory).await.len(), 2);
    migrate(&memory, &[ONE, EXPANDS, CONTRACTS], 0).await.unwrap();
    migrate(&memory, &[ONE, EXPANDS], 0).await.unwrap();
    let refused = migrate(&memory, &[ONE], 0).await;
    assert!(matches!(refused, Err(MigrateError::Newer { found: 3, known: 1 })), "{refused:?}");
}

#[tokio::test]
async fn what_does_not_say_who_may_run_beside_it_refuses_everybody() {
    let memory = Memory::open().unwrap();
    migrate(&memory, &[ONE, EXPANDS], 0).await.unwrap();
    // As a program did that knew nothing of it.
    let mut batch = Batch::new(uuid::Uuid::now_v7(), 0);
    batch.push(Statement::new("DELETE FROM schema_oldest WHERE version = 2", vec![]));
    memory.commit(batch).await.unwrap();
    let refused = migrate(&memory, &[ONE], 0).await;
    assert!(matches!(refused, Err(MigrateError::Newer { found: 2, known: 1 })), "{refused:?}");
}

#[test]
fn a_text_of_its_own_is_for_postgresql_only() {
    let own = ONE.on_postgres(&["CREATE TABLE a()"]);
    assert_eq!(own.statements(Dialect::Sqlite), ONE.sqlite);
    assert_eq!(own.statements(Dialect::Postgres), ["CREATE TABLE a()"]);
    assert_eq!(ONE.statements(Dialect::Postgres), ONE.sqlite);
}
