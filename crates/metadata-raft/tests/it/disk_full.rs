//! A disk that fills up, on a small tmpfs of its own. Needs root; CI runs them, elsewhere they are skipped by name.
#![allow(clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use roadstead_metadata::{CommitError, Freshness, Sql, Statement, Status};
use roadstead_metadata_raft::{Options, RaftSql, Timings};

use crate::child::{Read, kill_after, read};
use crate::support::{batch, commit, copy_tree, ids, insert, make_table, options};

/// A small disk, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with a line that says so, where mounting is not allowed.
    fn mount(test: &str, megabytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(directory));
        }
        assert!(std::env::var_os("CI").is_none(), "{test} cannot mount a tmpfs");
        eprintln!("skipped: {test} needs root to mount a tmpfs");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all space but `spare` bytes.
    fn fill(&self, spare: u64) {
        let space = rustix::fs::statvfs(self.path()).unwrap();
        let bytes = (space.f_bavail * space.f_frsize).saturating_sub(spare);
        let file = fs::File::create(self.path().join("filler")).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn quick(directory: &Path, disk_reserve: u64) -> Options {
    let timings = Timings { watch: Duration::from_millis(10), ..Timings::default() };
    Options { disk_reserve, timings, ..options(directory) }
}

/// Whether the file has all its blocks.
fn is_allocated(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|m| m.len() > 0 && m.blocks() * 512 >= m.len())
}

async fn until(sql: &RaftSql, wanted: impl Fn(&Status) -> bool) {
    let waited = async {
        while !wanted(&sql.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("{:?}", sql.status()));
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_stop_before_the_disk_is_full_and_go_on_when_there_is_space() {
    let Some(disk) = SmallDisk::mount("commits_stop_before_the_disk_is_full", 64) else { return };
    let sql = RaftSql::open(quick(&disk.path().join("metadata"), 8 << 20)).await.unwrap();
    make_table(&sql).await;
    commit(&sql, vec![insert(1)]).await.unwrap();
    let reserve = disk.path().join("metadata/reserve");
    until(&sql, |_| is_allocated(&reserve)).await;
    disk.fill(1 << 20);
    until(&sql, |status| matches!(status, Status::ReadOnly(_))).await;
    let refused = commit(&sql, vec![insert(2)]).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert_eq!(ids(&sql).await, [1]);
    assert!(!reserve.exists(), "the reserve was not given back");
    disk.free();
    until(&sql, |status| *status == Status::Writable).await;
    commit(&sql, vec![insert(2)]).await.unwrap();
    assert_eq!(ids(&sql).await, [1, 2]);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_between_two_looks_is_noticed_by_the_commit() {
    let Some(disk) = SmallDisk::mount("a_disk_that_fills_between_two_looks", 64) else { return };
    let directory = disk.path().join("metadata");
    let mut options = quick(&directory, 8 << 20);
    // The first look takes the reserve, and there is no second one.
    options.timings.watch = Duration::from_secs(3600);
    let sql = RaftSql::open(options).await.unwrap();
    make_table(&sql).await;
    until(&sql, |_| is_allocated(&directory.join("reserve"))).await;
    disk.fill(1 << 20);
    let refused = commit(&sql, vec![insert(1)]).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    assert!(matches!(sql.status(), Status::ReadOnly(_)));
    sql.shutdown().await;
    drop(sql);
    // A start on a full disk reads, at least.
    let sql = RaftSql::open(quick(&directory, 8 << 20)).await.unwrap();
    until(&sql, |status| matches!(status, Status::ReadOnly(_))).await;
    assert_eq!(ids(&sql).await, [0i64; 0]);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_meets_a_full_disk_is_unknown_and_none_is_acknowledged_after_it() {
    let Some(disk) = SmallDisk::mount("a_commit_that_meets_a_full_disk", 64) else { return };
    let directory = disk.path().join("metadata");
    let sql = RaftSql::open(quick(&directory, 0)).await.unwrap();
    make_table(&sql).await;
    let mut fatal = sql.fatal();
    // The first look of the watchdog has given the log file its blocks, so only the database runs out of space.
    let log = directory.join("raft/logs/0000000000000001.wal");
    until(&sql, |_| is_allocated(&log)).await;
    disk.fill(64 << 10);
    let mut acknowledged = 0;
    let unknown = loop {
        let attempt = batch(vec![insert(acknowledged)]);
        match sql.commit(attempt.clone()).await {
            Ok(_) => acknowledged += 1,
            Err(CommitError::Unknown(_)) => break attempt,
            Err(other) => panic!("{other}"),
        }
    };
    let refused = commit(&sql, vec![insert(-1)]).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    let count = Statement::new("SELECT count(*) FROM note", vec![]);
    assert_eq!(sql.query(Freshness::Local, count).await.unwrap()[0].integer(0).unwrap(), acknowledged);
    tokio::time::timeout(Duration::from_secs(30), fatal.wait_for(Option::is_some)).await.unwrap().unwrap();
    disk.free();
    sql.shutdown().await;
    drop(sql);

    // The next start replays the log, and the outcome becomes known.
    let sql = RaftSql::open(quick(&directory, 0)).await.unwrap();
    assert!(sql.commit(unknown).await.unwrap().replayed, "the log had it");
    assert_eq!(ids(&sql).await, (0..=acknowledged).collect::<Vec<_>>());
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_nobody_waits_for_is_looked_at_all_the_same() {
    let Some(disk) = SmallDisk::mount("a_commit_that_nobody_waits_for", 64) else { return };
    let directory = disk.path().join("metadata");
    let mut options = quick(&directory, 0);
    options.timings.watch = Duration::from_secs(3600);
    let sql = RaftSql::open(options).await.unwrap();
    make_table(&sql).await;
    let log = directory.join("raft/logs/0000000000000001.wal");
    until(&sql, |_| is_allocated(&log)).await;
    disk.fill(64 << 10);
    // The log has room for it, the database has not.
    let large =
        Statement::new("INSERT INTO note(id, body) VALUES ($1, $2)", vec![1i64.into(), "x".repeat(1 << 19).into()]);
    let missed = batch(vec![large]);
    let mut dropped = Box::pin(sql.commit(missed.clone()));
    assert!(futures::poll!(&mut dropped).is_pending());
    drop(dropped);
    // Smaller ones would fit.
    let refused = commit(&sql, vec![insert(2)]).await;
    assert!(refused.is_err(), "acknowledged on top of a missed entry");
    disk.free();
    sql.shutdown().await;
    drop(sql);

    let sql = RaftSql::open(quick(&directory, 0)).await.unwrap();
    assert!(sql.commit(missed).await.unwrap().replayed, "the log had it");
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_keep_a_killed_node_from_starting() {
    let Some(disk) = SmallDisk::mount("a_full_disk_does_not_keep", 64) else { return };
    // Made elsewhere, because hiqlite keeps its files open for as long as this process lives.
    let (elsewhere, directory) = (tempfile::tempdir().unwrap(), disk.path().join("metadata"));
    // A database larger than the space that will be left.
    let sql = RaftSql::open(quick(elsewhere.path(), 0)).await.unwrap();
    commit(&sql, vec![Statement::new("CREATE TABLE ballast (id BIGINT PRIMARY KEY, body TEXT)", vec![])])
        .await
        .unwrap();
    for id in 0..8i64 {
        let text = "INSERT INTO ballast(id, body) VALUES ($1, $2)";
        commit(&sql, vec![Statement::new(text, vec![id.into(), "x".repeat(1 << 19).into()])]).await.unwrap();
    }
    sql.shutdown().await;
    copy_tree(elsewhere.path(), &directory);
    let mut acknowledged = Vec::new();
    let snapshots = directory.join("raft/state_machine/snapshots");
    while !snapshots.exists() || fs::read_dir(&snapshots).unwrap().next().is_none() {
        acknowledged.extend(kill_after(&directory, 100));
    }
    // This start opens the snapshot for writing, which makes it another file than its copy.
    acknowledged.extend(kill_after(&directory, 5));
    disk.fill(512 << 10);
    match read(&directory) {
        Read::Found(found) => assert!(acknowledged.iter().all(|id| found.contains(id))),
        other => panic!("{other:?}"),
    }
}
