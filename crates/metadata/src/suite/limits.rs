//! Clauses on the size of a batch: exact, and asked before anything happens.

use std::sync::Arc;

use super::{ask, batch, item, items, say};
use crate::{BATCH_BYTES, BATCH_STATEMENTS, CommitError, Committed, Sql, Statement, Value};

const PUT_BYTES: &str = "INSERT INTO content(k, bytes) VALUES ($1, $2)";

fn bytes(k: i64, length: usize) -> Statement {
    // Not constant, so that a chunk lost or doubled on the way would show.
    let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    say(PUT_BYTES, [k.into(), content.into()])
}

/// What a batch of one such statement has room for.
fn room() -> usize {
    BATCH_BYTES - batch([bytes(1, 0)]).size()
}

#[track_caller]
fn assert_too_large(outcome: Result<Committed, CommitError>) {
    assert!(matches!(outcome, Err(CommitError::TooLarge(_))), "not too large: {outcome:?}");
}

/// One statement over the limit: refused, nothing done, and the operation id not taken.
pub async fn too_many_statements_are_refused(sql: Arc<dyn Sql>) {
    let many = |count: usize| (0..count).map(|k| item(k as i64, "x"));
    let mut large = batch(many(BATCH_STATEMENTS + 1));
    assert_too_large(sql.commit(large.clone()).await);
    assert_eq!(items(&*sql).await, 0);
    large.statements.pop();
    assert_eq!(sql.commit(large).await.unwrap(), Committed { replayed: false });
    assert_eq!(items(&*sql).await, BATCH_STATEMENTS as i64);
}

/// One byte over the limit, in one value or in many: refused, nothing done, and the engine goes on.
pub async fn too_many_bytes_are_refused(sql: Arc<dyn Sql>) {
    assert_too_large(sql.commit(batch([item(1, "x"), bytes(1, BATCH_BYTES + 1)])).await);
    assert_too_large(sql.commit(batch([bytes(1, room() + 1)])).await);
    assert_too_large(sql.commit(batch([item(1, "x"), bytes(1, BATCH_BYTES / 2), bytes(2, BATCH_BYTES / 2)])).await);
    // Far above any segment or packet an engine might have.
    assert_too_large(sql.commit(batch([bytes(1, 64 << 20)])).await);
    assert_eq!(items(&*sql).await, 0);
    assert_eq!(ask(&*sql, "SELECT k FROM content", []).await, []);
    assert_eq!(sql.commit(batch([item(1, "x")])).await.unwrap(), Committed { replayed: false });
}

/// A batch of exactly the limit happens, and its megabyte comes back.
pub async fn the_largest_batch_is_accepted(sql: Arc<dyn Sql>) {
    for k in 1..=3 {
        let full = bytes(k, room());
        let Value::Blob(wanted) = full.params[1].clone() else { panic!("bytes are a blob") };
        assert_eq!(sql.commit(batch([full])).await.unwrap(), Committed { replayed: false });
        let rows = ask(&*sql, "SELECT bytes FROM content WHERE k = $1", [k.into()]).await;
        assert!(rows[0].blob(0).unwrap() == wanted, "row {k} came back changed");
    }
}
