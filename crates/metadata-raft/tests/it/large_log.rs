//! A log that is large long before it has many entries.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_metadata::Statement;
use roadstead_metadata_raft::{Options, RaftSql};

use crate::support::{commit, copy_tree, ids, insert, make_table, options};

const BOUND: u64 = 4 << 20;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS large (id BIGINT NOT NULL PRIMARY KEY, body BLOB NOT NULL)";

fn bounded(directory: &Path) -> Options {
    Options { bytes_per_snapshot: Some(BOUND), ..options(directory) }
}

/// Writes so many rows of 100 kB.
async fn fill(sql: &RaftSql, rows: std::ops::Range<i64>) {
    commit(sql, vec![Statement::new(TABLE, vec![])]).await.unwrap();
    for id in rows {
        let body = vec![u8::try_from(id % 251).unwrap(); 100_000];
        let statement = Statement::new("INSERT INTO large(id, body) VALUES ($1, $2)", vec![id.into(), body.into()]);
        commit(sql, vec![statement]).await.unwrap();
    }
}

/// The copies of snapshots, of which there is never more than one for long.
fn copies(directory: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = std::fs::read_dir(directory.join("snapshots")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name()).filter(|name| name != "new").collect()
}

/// Waits for a copy that is none of these.
async fn another_copy(directory: &Path, known: &[std::ffi::OsString]) {
    let since = Instant::now();
    while copies(directory).iter().all(|name| known.contains(name)) {
        assert!(since.elapsed() < Duration::from_secs(30), "no snapshot was made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Bytes of the log, by the entries that its headers name.
fn log(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory.join("raft/logs")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "wal"));
    let number = |head: &[u8]| u64::from(u32::from_be_bytes(head.try_into().unwrap()));
    files.map(|file| std::fs::read(file).unwrap()).map(|bytes| number(&bytes[28..32]) - number(&bytes[24..28])).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_past_its_bound_gets_its_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let sql = RaftSql::open(bounded(directory.path())).await.unwrap();
    fill(&sql, 0..30).await;
    assert_eq!(copies(directory.path()), Vec::<std::ffi::OsString>::new(), "within the bound");
    // A hundred entries where hiqlite waits for five times as many.
    fill(&sql, 30..100).await;
    another_copy(directory.path(), &[]).await;
    assert!(log(directory.path()) < 2 * BOUND, "{}", log(directory.path()));
    make_table(&sql).await;
    commit(&sql, vec![insert(1)]).await.unwrap();
    let crashed = tempfile::tempdir().unwrap();
    copy_tree(directory.path(), crashed.path());
    sql.shutdown().await;
    let sql = RaftSql::open(bounded(crashed.path())).await.unwrap();
    assert_eq!(ids(&sql).await, vec![1]);
    let rows = Statement::new("SELECT 1 FROM large", vec![]);
    let rows = roadstead_metadata::Sql::query(&sql, roadstead_metadata::Freshness::Latest, rows).await.unwrap();
    assert_eq!(rows.len(), 100);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_finds_a_large_log_sees_to_its_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let sql = RaftSql::open(options(directory.path())).await.unwrap();
    fill(&sql, 0..50).await;
    let crashed = tempfile::tempdir().unwrap();
    copy_tree(directory.path(), crashed.path());
    sql.shutdown().await;
    for directory in [&crashed, &directory] {
        assert_eq!(copies(directory.path()), Vec::<std::ffi::OsString>::new());
        let sql = RaftSql::open(bounded(directory.path())).await.unwrap();
        another_copy(directory.path(), &[]).await;
        sql.shutdown().await;
    }
}

/// `TMPDIR=/a/real/disk cargo test -p roadstead-metadata-raft --test it large_log -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_commits_feel_of_a_nudge() {
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let sql = Arc::new(RaftSql::open(options(directory.path())).await.unwrap());
    make_table(&sql).await;
    fill(&sql, 0..50).await;
    sql.shutdown().await;
    for bound in [None, Some(81 << 20)] {
        let options = Options { bytes_per_snapshot: bound, ..options(directory.path()) };
        let sql = RaftSql::open(options).await.unwrap();
        if bound.is_some() {
            fill(&sql, 50..900).await;
        }
        let (begun, first) = (Instant::now(), if bound.is_some() { 1_000_000 } else { 0 });
        let mut times = Vec::new();
        while begun.elapsed() < Duration::from_secs(if bound.is_some() { 60 } else { 8 })
            && (bound.is_none() || copies(directory.path()).is_empty())
        {
            let one = Instant::now();
            commit(&sql, vec![insert(first + i64::try_from(times.len()).unwrap())]).await.unwrap();
            times.push(one.elapsed());
        }
        let all = begun.elapsed();
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        let (count, median, worst) = (times.len(), at(50), at(100));
        let p99 = at(99);
        writeln!(std::io::stdout(), "{bound:?}: {all:?}, {count} commits, {median:?}, p99 {p99:?}, max {worst:?}")
            .unwrap();
        sql.shutdown().await;
    }
}
