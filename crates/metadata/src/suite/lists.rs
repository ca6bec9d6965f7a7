//! Clauses on list parameters.

use std::sync::Arc;

use super::{ask, assert_conflict, batch, commit, integers, item, items, number, say};
use crate::{CommitError, Freshness, QueryError, Sql, Value};

fn list(values: impl IntoIterator<Item = i64>) -> Value {
    Value::List(values.into_iter().map(Value::Integer).collect())
}

async fn ten_items(sql: &dyn Sql) {
    commit(sql, (0..10).map(|k| item(k, if k % 2 == 0 { "even" } else { "odd" }))).await;
}

/// Lists stand among other parameters and next to each other.
pub async fn a_list_selects(sql: Arc<dyn Sql>) {
    ten_items(&*sql).await;
    let text = "SELECT k FROM item WHERE k >= $1 AND k IN ($2) AND k NOT IN ($3) AND v = $4 ORDER BY k";
    let rows = ask(&*sql, text, [2.into(), list([0, 2, 4, 6, 99]), list([4, 5]), "even".into()]).await;
    assert_eq!(integers(&rows), [2, 6]);
    let named = Value::List(vec!["odd".into(), "neither".into()]);
    assert_eq!(number(&*sql, "SELECT count(*) FROM item WHERE v IN ($1)", [named]).await, 5);
}

/// `IN` an empty list is false; `NOT IN` it is true.
pub async fn an_empty_list_matches_nothing(sql: Arc<dyn Sql>) {
    ten_items(&*sql).await;
    assert_eq!(number(&*sql, "SELECT count(*) FROM item WHERE k IN ($1)", [list([])]).await, 0);
    assert_eq!(number(&*sql, "SELECT count(*) FROM item WHERE k NOT IN ($1)", [list([])]).await, 10);
    let both = "SELECT k FROM item WHERE k IN ($1) OR k = $2";
    assert_eq!(integers(&ask(&*sql, both, [list([]), 7.into()]).await), [7]);
}

/// A commit takes lists too, in what it changes and in its guards.
pub async fn a_list_in_a_commit(sql: Arc<dyn Sql>) {
    ten_items(&*sql).await;
    let delete = "DELETE FROM item WHERE k IN ($1) AND v = $2";
    let none_of = "INSERT INTO guard(ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM item WHERE k IN ($1))";
    commit(&*sql, [say(delete, [list(0..5), "even".into()]), say(none_of, [list([0, 2, 4])])]).await;
    assert_eq!(items(&*sql).await, 7);
    assert_conflict(sql.commit(batch([say(delete, [list([]), "odd".into()]), say(none_of, [list([3, 4])])])).await);
}

/// Some thousands of values are one question.
pub async fn a_long_list_is_answered(sql: Arc<dyn Sql>) {
    ten_items(&*sql).await;
    assert_eq!(number(&*sql, "SELECT count(*) FROM item WHERE k IN ($1)", [list(5..5005)]).await, 5);
}

/// More values than an engine takes are a fault that says so, never a part of the answer.
pub async fn too_long_a_list_is_answered_whole_or_refused(sql: Arc<dyn Sql>) {
    ten_items(&*sql).await;
    let question = say("SELECT count(*) FROM item WHERE k IN ($1)", [list((0..100_000).rev())]);
    match sql.query(Freshness::Latest, question).await {
        Ok(rows) => assert_eq!(integers(&rows), [10]),
        Err(QueryError::Failed(reason)) => assert!(reason.contains("100000 parameters"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// A list anywhere but in `IN ($n)` is a fault of the caller, in questions and in commits.
pub async fn a_misplaced_list_is_refused(sql: Arc<dyn Sql>) {
    let asked = sql.query(Freshness::Latest, say("SELECT k FROM item WHERE k = $1", [list([1])])).await;
    assert!(matches!(asked, Err(QueryError::Failed(_))), "{asked:?}");
    let done = sql.commit(batch([item(1, "x"), say("DELETE FROM item WHERE k = $1", [list([1])])])).await;
    assert!(matches!(done, Err(CommitError::Failed(_))), "{done:?}");
    assert_eq!(items(&*sql).await, 0);
}
