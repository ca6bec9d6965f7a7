//! A byte flipped in a log file that hiqlite does not look at when it starts, and the way out.

use std::fs;
use std::path::{Path, PathBuf};

use roadstead_metadata::{BATCH_BYTES, Statement};
use roadstead_metadata_raft::{OpenError, Options, RaftSql};

use crate::child::{Read, child_options, kill_after, read};
use crate::damage::{files, flip, used};
use crate::support::{commit, ids, insert, make_table};

/// A directory that was stopped cleanly, with a snapshot and a log of two files after it.
async fn two_log_files() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let sql = RaftSql::open(child_options(directory.path())).await.unwrap();
    make_table(&sql).await;
    for id in 1..=60 {
        commit(&sql, vec![insert(id)]).await.unwrap();
    }
    let snapshots = directory.path().join("raft/state_machine/snapshots");
    while files(&snapshots, |name| !name.contains('.')).is_empty() {
        tokio::task::yield_now().await;
    }
    let table = "CREATE TABLE ballast (id BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL)";
    commit(&sql, vec![Statement::new(table, vec![])]).await.unwrap();
    for id in 0..20i64 {
        let text = "INSERT INTO ballast(id, body) VALUES ($1, $2)";
        let body = "x".repeat(BATCH_BYTES - 200);
        commit(&sql, vec![Statement::new(text, vec![id.into(), body.into()])]).await.unwrap();
    }
    commit(&sql, vec![insert(0)]).await.unwrap();
    sql.shutdown().await;
    assert_eq!(logs(directory.path()).len(), 2);
    directory
}

fn logs(directory: &Path) -> Vec<PathBuf> {
    files(&directory.join("raft/logs"), |name| name.ends_with(".wal"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_of_a_clean_stop_is_noticed_while_the_database_still_has_everything() {
    for newest in [false, true] {
        let directory = two_log_files().await;
        let log = logs(directory.path()).remove(usize::from(newest));
        flip(&log, used(&log) / 2);
        // The clean start; and the rebuild, which must not need that log.
        let mut acknowledged = kill_after(directory.path(), 20);
        acknowledged.push(0);
        let Read::Found(found) = read(directory.path()) else { panic!("newest {newest}: not opened") };
        assert!(acknowledged.iter().all(|id| found.contains(id)), "newest {newest}");
        let aside = files(&directory.path().join("damaged-logs/1"), |_| true);
        assert_eq!(aside.len(), 2, "newest {newest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_of_a_crash_is_refused_and_opens_when_told_to() {
    for newest in [false, true] {
        let directory = two_log_files().await;
        kill_after(directory.path(), 5);
        let log = logs(directory.path()).remove(usize::from(newest));
        flip(&log, used(&log) / 2);
        let bytes = fs::read(&log).unwrap();
        let refused = RaftSql::open(child_options(directory.path())).await.unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("--accept-lost-commits"), "{text}");
        if !newest {
            assert!(matches!(refused, OpenError::DamagedLog { .. }) && text.contains(log.to_str().unwrap()), "{text}");
            assert_eq!(fs::read(&log).unwrap(), bytes, "a refused start changed the log");
        }
        let accept = Options { accept_lost_commits: true, ..child_options(directory.path()) };
        let sql = RaftSql::open(accept).await.unwrap_or_else(|e| panic!("newest {newest}: {e}"));
        commit(&sql, vec![insert(i64::MAX)]).await.unwrap();
        assert!(ids(&sql).await.contains(&i64::MAX));
        sql.shutdown().await;
        drop(sql);
        RaftSql::open(child_options(directory.path())).await.unwrap().shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_log_of_several_files_is_left_alone() {
    let directory = two_log_files().await;
    let mut acknowledged = Vec::new();
    // A clean start; then rebuilds, with snapshots and purges across the files.
    for wanted in [10, 80, 10] {
        acknowledged.extend(kill_after(directory.path(), wanted));
    }
    let Read::Found(found) = read(directory.path()) else { panic!("not opened") };
    assert!(acknowledged.iter().all(|id| found.contains(id)));
    for aside in ["damaged-log", "damaged-logs"] {
        assert!(!directory.path().join(aside).exists(), "{aside}");
    }
}
