//! Clauses on questions: order, emptiness, faults, paging.

use std::sync::Arc;

use super::{ask, commit, integers, item, items, say};
use crate::{Freshness, QueryError, Sql, Statement};

/// Answers come in the order of the questions, each complete.
pub async fn answers_stand_in_the_order_of_questions(sql: Arc<dyn Sql>) {
    commit(&*sql, (0..20).map(|k| item(k, "x"))).await;
    for freshness in [Freshness::Latest, Freshness::Local] {
        let questions = (0..20).rev().map(|k| say("SELECT k FROM item WHERE k >= $1 ORDER BY k", [k.into()]));
        let answers = sql.query_many(freshness, questions.collect()).await.unwrap();
        assert_eq!(answers.len(), 20);
        for (k, rows) in (0..20).rev().zip(answers) {
            assert_eq!(integers(&rows), (k..20).collect::<Vec<_>>());
        }
        assert_eq!(sql.query_many(freshness, vec![]).await.unwrap(), Vec::<Vec<_>>::new());
    }
}

/// No rows is an answer, and stands at its place among others.
pub async fn a_question_without_rows_is_answered(sql: Arc<dyn Sql>) {
    commit(&*sql, [item(1, "x")]).await;
    let none = || say("SELECT k FROM item WHERE k = 99", []);
    let some = say("SELECT k FROM item", []);
    let answers = sql.query_many(Freshness::Latest, vec![none(), some, none()]).await.unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0]);
}

/// A question the engine cannot understand fails, also among good ones, and the engine goes on.
pub async fn a_faulty_question_fails(sql: Arc<dyn Sql>) {
    let good = || say("SELECT k FROM item", []);
    for freshness in [Freshness::Latest, Freshness::Local] {
        for faulty in ["SELECT k FROM no_such_table", "NOT SQL", "SELECT k FROM item WHERE k = $1"] {
            let answers = sql.query_many(freshness, vec![good(), Statement::new(faulty, vec![]), good()]).await;
            assert!(matches!(answers, Err(QueryError::Failed(_))), "{faulty}: {answers:?}");
        }
        assert_eq!(sql.query(freshness, good()).await.unwrap(), []);
    }
}

/// Whatever changes goes through a commit; a question that would change something does not.
pub async fn a_question_may_not_write(sql: Arc<dyn Sql>) {
    for freshness in [Freshness::Latest, Freshness::Local] {
        let write = say("INSERT INTO item(k, v) VALUES (1, 'x') RETURNING k", []);
        let answer = sql.query(freshness, write).await;
        assert!(matches!(answer, Err(QueryError::Failed(_))), "{answer:?}");
    }
    assert_eq!(items(&*sql).await, 0);
}

/// Text sorts by its bytes, so that a page goes on exactly where the last ended.
pub async fn paging_goes_in_ascii_order(sql: Arc<dyn Sql>) {
    let names = ["b", "A", "_x", "a", "1.10", "B", "1.9", "a-b", "a.b", "a_b", "ab", "Z", "latest", "1"];
    let put = "INSERT INTO tag(repository, name, target, version) VALUES ($1, $2, 't', 1)";
    // Another repository's tags must not show.
    let all = names.iter().flat_map(|name| [1, 2].map(|r: i64| say(put, [r.into(), (*name).into()])));
    commit(&*sql, all).await;
    let mut wanted = names;
    wanted.sort_unstable();

    let page = "SELECT name FROM tag WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3";
    for size in [1, 3, 100] {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().cloned().unwrap_or_default();
            let rows = ask(&*sql, page, [1.into(), after.into(), i64::into(size)]).await;
            found.extend(rows.iter().map(|row| row.text(0).unwrap().to_owned()));
            if rows.is_empty() {
                break;
            }
        }
        assert_eq!(found, wanted);
    }
}
