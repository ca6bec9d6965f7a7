//! Commits and questions on a healthy node.

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::{BATCH_BYTES, Batch, CommitError, Freshness, QueryError, Sql, Statement, Status, Value};
use roadstead_metadata_raft::{Options, RaftSql, Timings};
use uuid::Uuid;

use crate::support::{batch, commit, ids, insert, open, options};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_there_at_once_and_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    assert_eq!(sql.status(), Status::Writable);
    for id in 0..20 {
        let before = sql.revision().expect("a node alone knows of every commit");
        commit(&sql, vec![insert(id)]).await.unwrap();
        assert_ne!(sql.revision(), Some(before));
        assert_eq!(ids(&sql).await.last(), Some(&id));
    }
    let cluster = sql.cluster();
    sql.shutdown().await;
    let sql = open(directory.path()).await;
    assert_eq!(ids(&sql).await, (0..20).collect::<Vec<_>>());
    assert_eq!(sql.cluster(), cluster);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_statement_undoes_the_whole_batch() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    commit(&sql, vec![insert(1)]).await.unwrap();
    let refused = commit(&sql, vec![insert(2), insert(1), insert(3)]).await;
    assert!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
    let failed = commit(&sql, vec![insert(2), Statement::new("INSERT INTO nowhere(id) VALUES (1)", vec![])]).await;
    assert!(matches!(failed, Err(CommitError::Failed(_))), "{failed:?}");
    assert_eq!(ids(&sql).await, [1]);
    assert_eq!(sql.status(), Status::Writable);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_not_waited_for_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let timings = Timings { query: Duration::from_millis(100), ..options.timings.clone() };
    let sql = RaftSql::open(Options { timings, ..options }).await.unwrap();
    let long =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT max(i) FROM n";
    for freshness in [Freshness::Local, Freshness::Latest] {
        let refused = sql.query(freshness, Statement::new(long, vec![])).await;
        assert!(matches!(&refused, Err(QueryError::Unavailable(why)) if why.contains("0.1 s")), "{refused:?}");
    }
    sql.ping().await.unwrap();
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_hold() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    let child = "CREATE TABLE reply (id BIGINT NOT NULL PRIMARY KEY, note BIGINT NOT NULL REFERENCES note(id))";
    let late = "CREATE TABLE late (id BIGINT NOT NULL PRIMARY KEY, note BIGINT NOT NULL REFERENCES note(id) \
                DEFERRABLE INITIALLY DEFERRED)";
    commit(&sql, vec![insert(1), Statement::new(child, vec![]), Statement::new(late, vec![])]).await.unwrap();
    let reply = |table: &str, note: i64| {
        let text: &'static str = format!("INSERT INTO {table}(id, note) VALUES ($1, $2)").leak();
        Statement::new(text, vec![note.into(), note.into()])
    };
    commit(&sql, vec![reply("reply", 1), reply("late", 1)]).await.unwrap();
    for orphan in [reply("reply", 2), reply("late", 2), Statement::new("DELETE FROM note WHERE id = 1", vec![])] {
        let refused = commit(&sql, vec![orphan]).await;
        assert!(matches!(refused, Err(CommitError::Conflict(_))), "{refused:?}");
    }
    // What a deferred key wants may come later in the batch.
    commit(&sql, vec![reply("late", 3), insert(3)]).await.unwrap();
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_happens_once_however_often_it_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    let again = batch(vec![insert(7)]);
    assert!(!sql.commit(again.clone()).await.unwrap().replayed);
    assert!(sql.commit(again.clone()).await.unwrap().replayed);
    sql.shutdown().await;
    let sql = open(directory.path()).await;
    assert!(sql.commit(again).await.unwrap().replayed);
    assert_eq!(ids(&sql).await, [7]);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_refused_and_the_engine_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    let blob = |bytes: usize| {
        Statement::new("INSERT INTO note(id, body) VALUES ($1, $2)", vec![1i64.into(), "x".repeat(bytes).into()])
    };
    let refused = commit(&sql, vec![blob(BATCH_BYTES + 1)]).await;
    assert!(matches!(refused, Err(CommitError::TooLarge(_))), "{refused:?}");
    let many = (0..501).map(|_| Statement::new("SELECT 1", vec![])).collect();
    let refused = commit(&sql, many).await;
    assert!(matches!(refused, Err(CommitError::TooLarge(_))), "{refused:?}");
    // The largest batch that is allowed fits into one log entry, also beside others in one log file.
    for _ in 0..20 {
        let mut largest = Batch::new(Uuid::now_v7(), 1);
        largest.push(Statement::new("DELETE FROM note", vec![]));
        largest.push(blob(BATCH_BYTES - 200));
        sql.commit(largest).await.unwrap();
    }
    assert_eq!(sql.status(), Status::Writable);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_committers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let sql = Arc::new(open(directory.path()).await);
    let committers = (0..16).map(|committer| {
        let sql = Arc::clone(&sql);
        tokio::spawn(async move {
            for id in 0..25 {
                commit(&sql, vec![insert(committer * 1000 + id)]).await.unwrap();
            }
        })
    });
    for committer in committers.collect::<Vec<_>>() {
        committer.await.unwrap();
    }
    sql.shutdown().await;
    let sql = open(directory.path()).await;
    assert_eq!(ids(&sql).await.len(), 16 * 25);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_storage_class_comes_back_and_lists_spread() {
    let directory = tempfile::tempdir().unwrap();
    let sql = RaftSql::open(options(directory.path())).await.unwrap();
    let table = "CREATE TABLE kind (id BIGINT NOT NULL PRIMARY KEY, value BLOB)";
    commit(&sql, vec![Statement::new(table, vec![])]).await.unwrap();
    let values = [Value::Null, Value::Integer(i64::MIN), Value::from("ü"), Value::Blob(vec![0, 255])];
    for (id, value) in (0i64..).zip(values.clone()) {
        let text = "INSERT INTO kind(id, value) VALUES ($1, $2)";
        commit(&sql, vec![Statement::new(text, vec![id.into(), value])]).await.unwrap();
    }
    let list = Value::List((0..4i64).map(Value::from).collect());
    let question = Statement::new("SELECT value, count(*) AS value FROM kind WHERE id IN ($1) GROUP BY id", vec![list]);
    let rows = sql.query(Freshness::Local, question).await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| row.0[0].clone()).collect();
    assert_eq!(found, values);
    let none = Statement::new("SELECT id FROM kind WHERE id IN ($1)", vec![Value::List(vec![])]);
    let answers = sql.query_many(Freshness::Latest, vec![none, Statement::new("SELECT 5", vec![])]).await.unwrap();
    assert_eq!((answers[0].len(), answers[1][0].integer(0).unwrap()), (0, 5));
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    assert!(sql.query(Freshness::Local, insert(1)).await.is_err());
    assert_eq!(ids(&sql).await, [0i64; 0]);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_nothing_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    sql.shutdown().await;
    sql.shutdown().await;
    let refused = commit(&sql, vec![insert(1)]).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert!(matches!(sql.status(), Status::Down(_)));
}
