//! Clauses on sessions that meet: guards hold under concurrency, and `Latest` is what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::{ask, batch, commit, item, items, number, say};
use crate::{CommitError, Committed, Freshness, Sql, Statement};

/// A reader that learned of a commit sees it, whoever made it.
pub async fn latest_sees_every_acknowledged_commit(sql: Arc<dyn Sql>) {
    let acknowledged = Arc::new(AtomicI64::new(-1));
    let over = Arc::new(AtomicBool::new(false));
    let readers = (0..4).map(|_| {
        let (sql, acknowledged, over) = (sql.clone(), acknowledged.clone(), over.clone());
        tokio::spawn(async move {
            let mut questions = 0;
            while !over.load(Ordering::Acquire) || questions == 0 {
                let known = acknowledged.load(Ordering::Acquire);
                let newest = number(&*sql, "SELECT coalesce(max(k), -1) FROM item", []).await;
                assert!(newest >= known, "{known} was acknowledged, the answer was {newest}");
                questions += 1;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for k in 0..200 {
        commit(&*sql, [item(k, "x")]).await;
        acknowledged.store(k, Ordering::Release);
    }
    over.store(true, Ordering::Release);
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Sixteen committers that read, guard what they read, and write: every success counts once.
pub async fn concurrent_increments_lose_nothing(sql: Arc<dyn Sql>) {
    const EACH: i64 = 6;
    let still = "INSERT INTO guard(ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM tag WHERE version = $1)";
    let to = "UPDATE tag SET version = $1 WHERE repository = 1 AND name = 'counter'";
    commit(&*sql, [say("INSERT INTO tag(repository, name, target, version) VALUES (1, 'counter', '', 0)", [])]).await;
    let committers = (0..16i64).map(|committer| {
        let sql = sql.clone();
        tokio::spawn(async move {
            for step in 0..EACH {
                loop {
                    let found = number(&*sql, "SELECT version FROM tag", []).await;
                    let log = item(committer * EACH + step, "done");
                    let next = batch([say(still, [found.into()]), say(to, [(found + 1).into()]), log]);
                    match sql.commit(next).await {
                        Ok(Committed { replayed: false }) => break,
                        Err(CommitError::Conflict(_)) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
        })
    });
    for committer in committers.collect::<Vec<_>>() {
        committer.await.unwrap();
    }
    assert_eq!(number(&*sql, "SELECT version FROM tag", []).await, 16 * EACH);
    assert_eq!(super::items(&*sql).await, 16 * EACH);
}

/// Two commits at the same moment; how many of them happened.
pub(super) async fn both(sql: &Arc<dyn Sql>, one: Vec<Statement>, other: Vec<Statement>) -> [bool; 2] {
    let meet = Arc::new(tokio::sync::Barrier::new(2));
    let start = |statements: Vec<Statement>| {
        let (sql, meet) = (sql.clone(), meet.clone());
        tokio::spawn(async move {
            meet.wait().await;
            match sql.commit(batch(statements)).await {
                Ok(Committed { replayed: false }) => true,
                Err(CommitError::Conflict(_)) => false,
                other => panic!("{other:?}"),
            }
        })
    };
    let (one, other) = (start(one), start(other));
    [one.await.unwrap(), other.await.unwrap()]
}

/// What stands between a guard and what it guards, so that two commits meet there: statements that do nothing.
fn meanwhile(guard: Statement, then: impl IntoIterator<Item = Statement>) -> Vec<Statement> {
    let idle = (0..60i64).map(|k| say("DELETE FROM content WHERE k = $1", [(-1 - k).into()]));
    [guard].into_iter().chain(idle).chain(then).collect()
}

/// A push (guard: the blob is there; insert a reference) against a collector (guard: no reference; delete the
/// blob). Below serializable isolation both would win and leave a reference to nothing.
pub async fn a_push_and_a_collector_never_both_win(sql: Arc<dyn Sql>) {
    let there = "INSERT INTO guard(ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM parent WHERE id = $1)";
    let refer = "INSERT INTO link(id, parent) VALUES ($1, $2)";
    let unreferenced = "INSERT INTO guard(ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM link WHERE parent = $1)";
    let delete = "DELETE FROM parent WHERE id = $1";
    commit(&*sql, (0..60i64).map(|id| say("INSERT INTO parent(id) VALUES ($1)", [id.into()]))).await;
    for id in 0..60i64 {
        let push = meanwhile(say(there, [id.into()]), [say(refer, [id.into(), id.into()])]);
        let collect = meanwhile(say(unreferenced, [id.into()]), [say(delete, [id.into()])]);
        let won = both(&sql, push, collect).await;
        assert!(won[0] != won[1], "push {}, collector {}: exactly one may win", won[0], won[1]);
    }
    let dangling = ask(&*sql, "SELECT id FROM link WHERE parent NOT IN (SELECT id FROM parent)", []).await;
    assert!(dangling.is_empty(), "references to nothing: {dangling:?}");
}

/// Two moves of one tag that both started from the same version: one wins, the other learns of it.
pub async fn of_two_moves_of_a_tag_one_wins(sql: Arc<dyn Sql>) {
    let from =
        "INSERT INTO guard(ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM tag WHERE name = 'latest' AND version = $1)";
    let to = "UPDATE tag SET target = $1, version = $2 WHERE repository = 1 AND name = 'latest'";
    commit(&*sql, [say("INSERT INTO tag(repository, name, target, version) VALUES (1, 'latest', '', 0)", [])]).await;
    for version in 0..40i64 {
        let shift =
            |target: &str| meanwhile(say(from, [version.into()]), [say(to, [target.into(), (version + 1).into()])]);
        let won = both(&sql, shift("left"), shift("right")).await;
        assert!(won[0] != won[1], "exactly one move from version {version} may win");
        let row = &ask(&*sql, "SELECT target, version FROM tag", []).await[0];
        let winner = if won[0] { "left" } else { "right" };
        assert_eq!((row.text(0).unwrap(), row.integer(1).unwrap()), (winner, version + 1));
    }
}

/// A mount (guard: the source links the blob; insert a link) against a deletion of the source's link, which was the last
/// (delete it; guard: no other; delete the blob).
pub async fn a_mount_and_a_deletion_never_both_win(sql: Arc<dyn Sql>) {
    let linked = "INSERT INTO guard(ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM link WHERE id = $1 AND parent = $2)";
    let link = "INSERT INTO link(id, parent) VALUES ($1, $2)";
    let unlink = "DELETE FROM link WHERE id = $1";
    let last = "INSERT INTO guard(ok) SELECT 0 WHERE EXISTS (SELECT 1 FROM link WHERE parent = $1)";
    let delete = "DELETE FROM parent WHERE id = $1";
    for blob in 0..40i64 {
        let (source, target) = (2 * blob, 2 * blob + 1);
        let to = |id: i64| say(link, [id.into(), blob.into()]);
        commit(&*sql, [say("INSERT INTO parent(id) VALUES ($1)", [blob.into()]), to(source)]).await;
        let mount = meanwhile(say(linked, [source.into(), blob.into()]), [to(target)]);
        let [unlink, last] = [say(unlink, [source.into()]), say(last, [blob.into()])];
        let deletion = [vec![unlink], meanwhile(last, [say(delete, [blob.into()])])].concat();
        let won = both(&sql, mount, deletion).await;
        assert!(won[0] != won[1], "mount {}, deletion {}: exactly one may win", won[0], won[1]);
    }
    let dangling = ask(&*sql, "SELECT id FROM link WHERE parent NOT IN (SELECT id FROM parent)", []).await;
    assert!(dangling.is_empty(), "links to nothing: {dangling:?}");
}

/// Two that saw the same owner stand still for its term and now claim its lease: one gets it.
pub async fn a_lease_has_one_owner(sql: Arc<dyn Sql>) {
    let still = "INSERT INTO guard(ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM job WHERE id = 1 AND owner = $1)";
    let claim = "UPDATE job SET owner = $1 WHERE id = 1";
    let mut owner = 0i64;
    commit(&*sql, [say("INSERT INTO job(id, owner) VALUES (1, $1)", [owner.into()])]).await;
    for round in 1..=40i64 {
        let by = |claimant: i64| meanwhile(say(still, [owner.into()]), [say(claim, [claimant.into()])]);
        let claimants = [2 * round, 2 * round + 1];
        let won = both(&sql, by(claimants[0]), by(claimants[1])).await;
        assert!(won[0] != won[1], "the lease of {owner} went to {claimants:?}, {won:?}");
        owner = if won[0] { claimants[0] } else { claimants[1] };
        assert_eq!(number(&*sql, "SELECT owner FROM job", []).await, owner);
    }
}

/// One claim for each job, however many reach for it.
pub async fn a_job_is_claimed_once(sql: Arc<dyn Sql>) {
    let free = "INSERT INTO guard(ok) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM job WHERE id = $1 AND owner IS NULL)";
    let claim = "UPDATE job SET owner = $1 WHERE id = $2 AND owner IS NULL";
    commit(&*sql, (0..30i64).map(|id| say("INSERT INTO job(id, owner) VALUES ($1, NULL)", [id.into()]))).await;
    let workers = (0..6i64).map(|owner| {
        let sql = sql.clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let next = say("SELECT id FROM job WHERE owner IS NULL ORDER BY id LIMIT 1", []);
                let rows = sql.query(Freshness::Latest, next).await.unwrap();
                let Some(id) = rows.first().map(|row| row.integer(0).unwrap()) else {
                    return claimed;
                };
                match sql.commit(batch([say(free, [id.into()]), say(claim, [owner.into(), id.into()])])).await {
                    Ok(_) => claimed.push(id),
                    Err(CommitError::Conflict(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    });
    let mut claimed = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        claimed.extend(worker.await.unwrap());
    }
    claimed.sort_unstable();
    assert_eq!(claimed, (0..30).collect::<Vec<_>>());
}

/// Someone who keeps an answer for as long as the revision stays the same never answers from before a commit that was
/// acknowledged. An engine without a revision keeps to it by having none.
pub async fn what_is_kept_under_a_revision_is_never_older_than_what_was_acknowledged(sql: Arc<dyn Sql>) {
    const COMMITS: i64 = 100;
    let acknowledged = Arc::new(AtomicI64::new(0));
    let writer = tokio::spawn({
        let (sql, acknowledged) = (sql.clone(), acknowledged.clone());
        async move {
            for k in 1..=COMMITS {
                commit(&*sql, [item(k, "x")]).await;
                acknowledged.store(k, Ordering::SeqCst);
            }
        }
    });
    let mut kept: Option<(u64, i64)> = None;
    loop {
        let known = acknowledged.load(Ordering::SeqCst);
        let revision = sql.revision();
        let answer = match kept {
            Some((under, answer)) if revision == Some(under) => answer,
            _ => {
                let answer = items(&*sql).await;
                kept = revision.filter(|_| sql.revision() == revision).map(|revision| (revision, answer));
                answer
            }
        };
        assert!(answer >= known, "{answer} of {known} acknowledged");
        if known == COMMITS {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    // Questions do not change it, or nothing would ever be kept.
    let at_rest = sql.revision();
    items(&*sql).await;
    assert_eq!(sql.revision(), at_rest);
}
