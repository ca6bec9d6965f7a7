#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use super::*;
use crate::{Fault, Memory, Status};

const ONE: Migration =
    Migration { version: 1, name: "first", sqlite: &["CREATE TABLE a(k BIGINT NOT NULL PRIMARY KEY)"] };
const TWO: Migration =
    Migration { version: 2, name: "second", sqlite: &["INSERT INTO a(k) VALUES (1)", "CREATE TABLE b(k BIGINT)"] };
/// Nothing in it would refuse a second time.
const THREE: Migration = Migration { version: 3, name: "third", sqlite: &["INSERT INTO b(k) VALUES (1)"] };
const BROKEN: Migration = Migration { version: 2, name: "broken", sqlite: &["CREATE TABLE b(k BIGINT)", "NOT SQL"] };

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
