//! Clauses on commits: whole or not at all, guarded, once per operation id.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{ABORT, AT, assert_conflict, batch, commit, item, items, number, say};
use crate::{Batch, CommitError, Committed, Fault, Faulty, Sql, base, commit_once};

/// All statements of a batch happen, in order.
pub async fn a_batch_happens_whole(sql: Arc<dyn Sql>) {
    commit(&*sql, (0..10).map(|k| item(k, "x"))).await;
    assert_eq!(items(&*sql).await, 10);
}

/// A guard that fails at the end undoes what came before it; one that holds does nothing.
pub async fn a_failed_guard_aborts_everything(sql: Arc<dyn Sql>) {
    let absent = "INSERT INTO guard(ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM item WHERE k = $1)";
    commit(&*sql, [say(absent, [1.into()]), item(1, "x")]).await;
    assert_conflict(sql.commit(batch([item(2, "x"), item(3, "x"), say(absent, [1.into()])])).await);
    assert_conflict(sql.commit(batch([say(absent, [1.into()]), item(2, "x")])).await);
    assert_eq!(items(&*sql).await, 1);
    assert_eq!(number(&*sql, "SELECT count(*) FROM guard", []).await, 0, "guards leave no rows");
}

/// Foreign keys are enforced, for the child that comes and for the parent that goes.
pub async fn a_broken_reference_aborts_everything(sql: Arc<dyn Sql>) {
    let parent = say("INSERT INTO parent(id) VALUES ($1)", [1.into()]);
    let child = |id: i64, of: i64| say("INSERT INTO child(id, parent) VALUES ($1, $2)", [id.into(), of.into()]);
    let orphaning = say("DELETE FROM parent WHERE id = $1", [1.into()]);
    let childless = say("DELETE FROM child WHERE parent = $1", [1.into()]);

    assert_conflict(sql.commit(batch([item(1, "x"), child(1, 1)])).await);
    commit(&*sql, [parent, child(1, 1)]).await;
    assert_conflict(sql.commit(batch([item(1, "x"), orphaning.clone()])).await);
    assert_eq!(items(&*sql).await, 0);
    commit(&*sql, [childless, orphaning]).await;
}

/// A primary key that exists refuses the batch; `ON CONFLICT DO NOTHING` does not.
pub async fn a_duplicate_key_is_a_conflict(sql: Arc<dyn Sql>) {
    commit(&*sql, [item(1, "first")]).await;
    assert_conflict(sql.commit(batch([item(2, "x"), item(1, "second")])).await);
    let unless = "INSERT INTO item(k, v) VALUES ($1, $2) ON CONFLICT (k) DO NOTHING";
    commit(&*sql, [say(unless, [1.into(), "third".into()])]).await;
    assert_eq!(number(&*sql, "SELECT count(*) FROM item WHERE v = 'first'", []).await, 1);
    assert_eq!(items(&*sql).await, 1);
}

/// A statement the engine cannot understand is a fault, not a conflict, and undoes the batch.
pub async fn a_faulty_statement_aborts_everything(sql: Arc<dyn Sql>) {
    for faulty in [say("INSERT INTO no_such_table(k) VALUES (1)", []), say("NOT SQL", [])] {
        let outcome = sql.commit(batch([item(1, "x"), faulty])).await;
        assert!(matches!(outcome, Err(CommitError::Failed(_))), "{outcome:?}");
    }
    assert_eq!(items(&*sql).await, 0);
    commit(&*sql, [item(1, "the engine goes on")]).await;
}

/// A later statement of a batch sees what an earlier one did.
pub async fn a_statement_sees_those_before_it(sql: Arc<dyn Sql>) {
    let copy = "INSERT INTO item(k, v) SELECT k + 1, v FROM item WHERE k = $1";
    commit(&*sql, [item(1, "seen"), say(copy, [1.into()]), say(copy, [2.into()])]).await;
    assert_eq!(number(&*sql, "SELECT count(*) FROM item WHERE v = 'seen'", []).await, 3);
}

/// The same operation id again is answered as replayed, whatever the batch now says or meets.
pub async fn an_operation_happens_once(sql: Arc<dyn Sql>) {
    let first = batch([item(1, "x")]);
    assert_eq!(sql.commit(first.clone()).await.unwrap(), Committed { replayed: false });
    assert_eq!(sql.commit(first.clone()).await.unwrap(), Committed { replayed: true });
    // A guard that failed by what the first attempt did must not turn the replay into a conflict.
    let mut refused = first;
    refused.push(say(ABORT, []));
    assert_eq!(sql.commit(refused).await.unwrap(), Committed { replayed: true });
    assert_eq!(items(&*sql).await, 1);
}

/// Attempts of one operation that overlap: one of them does it, the others are replays.
pub async fn an_operation_submitted_many_times_at_once_happens_once(sql: Arc<dyn Sql>) {
    for round in 0..5 {
        let once = batch([item(round, "x")]);
        let attempts = (0..8).map(|_| {
            let (sql, once) = (sql.clone(), once.clone());
            tokio::spawn(async move { sql.commit(once).await.unwrap() })
        });
        let mut first = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            first += i64::from(!attempt.await.unwrap().replayed);
        }
        assert_eq!(first, 1);
        assert_eq!(items(&*sql).await, round + 1);
    }
}

/// A batch that was refused leaves its operation id free.
pub async fn a_refused_operation_may_come_again(sql: Arc<dyn Sql>) {
    let mut again = batch([item(1, "x"), say(ABORT, [])]);
    assert_conflict(sql.commit(again.clone()).await);
    again.statements.pop();
    assert_eq!(sql.commit(again).await.unwrap(), Committed { replayed: false });
    assert_eq!(items(&*sql).await, 1);
}

/// A batch without statements takes its id, so that an attempt still on its way can do nothing more.
pub async fn an_empty_batch_takes_its_operation_id(sql: Arc<dyn Sql>) {
    let late = batch([item(1, "x")]);
    assert_eq!(sql.commit(Batch::new(late.operation, AT)).await.unwrap(), Committed { replayed: false });
    assert_eq!(sql.commit(late).await.unwrap(), Committed { replayed: true });
    assert_eq!(items(&*sql).await, 0);
}

/// Whether or not an attempt without an answer happened, retrying it makes it happen exactly once.
pub async fn an_unknown_outcome_is_settled_once(sql: Arc<dyn Sql>) {
    let faulty = Faulty::new(sql.clone());
    for (k, fault) in [(1, Fault::UnknownButDone), (2, Fault::UnknownNotDone)] {
        faulty.faults.fail_next_commit(fault);
        let settled = commit_once(&faulty, batch([item(k, "x")]), Duration::from_secs(60)).await.unwrap();
        assert_eq!(settled.replayed, fault == Fault::UnknownButDone);
        assert_eq!(items(&*sql).await, k);
    }
}

/// Operation ids go in steps, oldest first, and none younger than asked.
pub async fn old_operation_ids_are_purged_in_bounded_steps(sql: Arc<dyn Sql>) {
    const OLD: &str = "SELECT count(*) FROM operation WHERE at < 1000000";
    for at in 0..5 {
        let context = uuid::ContextV7::new();
        let began = uuid::Timestamp::from_unix(&context, 100, at * 1_000_000);
        sql.commit(Batch::new(Uuid::new_v7(began), 100_000 + i64::from(at))).await.unwrap();
    }
    assert_eq!(number(&*sql, OLD, []).await, 5);
    // A step takes two, and none that began at or after the time given.
    for (before, left) in [(100_003, 3), (100_003, 2), (100_003, 2), (1_000_000, 0)] {
        commit(&*sql, [base::purge_operations(before, 2)]).await;
        assert_eq!(number(&*sql, OLD, []).await, left);
    }
    let younger = number(&*sql, "SELECT count(*) FROM operation WHERE at >= $1", [AT.into()]).await;
    assert!(younger >= 4, "the ids of the purges themselves stay");
}
