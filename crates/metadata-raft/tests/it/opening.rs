//! Opening: one process at a time, on loopback, with what belongs together.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use roadstead_metadata::{Sql, Status};
use roadstead_metadata_raft::{OpenError, Options, RaftSql};

use crate::support::{commit, copy_tree, ids, insert, make_table, open, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_open_names_the_directory_and_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    let refused = RaftSql::open(options(directory.path())).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::InUse { holder: Some(pid), .. } if pid == std::process::id()), "{text}");
    assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
    sql.shutdown().await;
    drop(sql);
    open(directory.path()).await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_for_the_owner_only_and_listeners_for_this_host() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let sql = open(&directory.path().join("a/b")).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory.path().join("a/b")), 0o700);
    assert_eq!(mode(&directory.path().join("a/b/secrets.json")), 0o600);
    let listening = listening();
    assert!(listening.len() >= 2, "{listening:?}");
    // The addresses are hexadecimal and in host order: the last two digits are the first byte.
    assert!(listening.iter().all(|address| address.ends_with("7F")), "{listening:?}");
    sql.shutdown().await;
}

/// The IPv4 addresses that this process listens on, as `/proc` prints them; panics on an IPv6 listener.
fn listening() -> Vec<String> {
    let inodes: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    let listeners = |table: &str| -> Vec<String> {
        let lines = fs::read_to_string(table).unwrap_or_default();
        let ours = lines
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields[3] == "0A" && inodes.iter().any(|inode| inode == fields[9]));
        ours.map(|fields| fields[1].split(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(listeners("/proc/self/net/tcp6"), [""; 0]);
    listeners("/proc/self/net/tcp")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_directory_opens_beside_the_original() {
    let root = tempfile::tempdir().unwrap();
    let (original, copy) = (root.path().join("original"), root.path().join("copy"));
    let sql = open(&original).await;
    commit(&sql, vec![insert(1)]).await.unwrap();
    sql.shutdown().await;
    drop(sql);
    copy_tree(&original, &copy);
    // Both have the same loopback names on disk; the second finds them taken.
    let (first, second) = (open(&original).await, open(&copy).await);
    commit(&second, vec![insert(2)]).await.unwrap();
    commit(&first, vec![insert(3)]).await.unwrap();
    assert_eq!((ids(&first).await, ids(&second).await), (vec![1, 3], vec![1, 2]));
    second.shutdown().await;
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_without_its_own_files_is_refused() {
    for file in ["roadstead.json", "peers.json", "secrets.json", "high-water"] {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).await.shutdown().await;
        let path = directory.path().join(file);
        let content = fs::read(&path).unwrap();
        for bad in [None, Some(&content[..content.len() / 64])] {
            match bad {
                None => fs::remove_file(&path).unwrap(),
                Some(bytes) => fs::write(&path, bytes).unwrap(),
            }
            let refused = RaftSql::open(options(directory.path())).await.unwrap_err().to_string();
            assert!(refused.contains(file), "{refused}");
        }
        fs::write(&path, content).unwrap();
        open(directory.path()).await.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_recovered_less_than_was_acknowledged_is_refused_until_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let sql = open(directory.path()).await;
    for id in 0..4 {
        commit(&sql, vec![insert(id)]).await.unwrap();
    }
    sql.shutdown().await;
    drop(sql);
    // As if two more had been acknowledged: an older state of everything but the mark.
    let older = tempfile::tempdir().unwrap();
    copy_tree(directory.path(), older.path());
    let sql = open(directory.path()).await;
    for id in 4..6 {
        commit(&sql, vec![insert(id)]).await.unwrap();
    }
    sql.shutdown().await;
    fs::copy(directory.path().join("high-water"), older.path().join("high-water")).unwrap();

    // The refusal repeats, and counts the table's own commit.
    for _ in 0..2 {
        let refused = RaftSql::open(options(older.path())).await.unwrap_err();
        let expected = |e: &OpenError| matches!(e, OpenError::LostCommits { acknowledged: 7, recovered: 5, .. });
        assert!(expected(&refused), "{refused}");
    }
    let accept = Options { accept_lost_commits: true, ..options(older.path()) };
    let sql = RaftSql::open(accept).await.unwrap();
    assert_eq!(ids(&sql).await, [0, 1, 2, 3]);
    sql.shutdown().await;
    drop(sql);
    let sql = open(older.path()).await;
    assert_eq!(sql.status(), Status::Writable);
    sql.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_log_is_not_taken_for_a_damaged_one() {
    let directory = tempfile::tempdir().unwrap();
    // Enough for several snapshots and purges of the log.
    let often = Options { entries_per_snapshot: 20, ..options(directory.path()) };
    for start in 0..4 {
        let sql = RaftSql::open(often.clone()).await.unwrap();
        make_table(&sql).await;
        for id in 0..30 {
            commit(&sql, vec![insert(100 * start + id)]).await.unwrap();
        }
        sql.shutdown().await;
        for aside in ["damaged-log", "damaged-logs"] {
            assert!(!directory.path().join(aside).exists(), "after start {start}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_mark_is_named() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.shutdown().await;
    let path = directory.path().join("high-water");
    let mut file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    for slot in [0, 4096] {
        let mut byte = [0];
        file.seek(SeekFrom::Start(slot)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(slot)).unwrap();
        file.write_all(&[byte[0] ^ 0x10]).unwrap();
    }
    let refused = RaftSql::open(options(directory.path())).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoHighWater { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_belongs_to_one_installation() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let of = |cluster| Options { cluster: Some(cluster), ..options(directory.path()) };
    let sql = RaftSql::open(of(ours)).await.unwrap();
    assert_eq!(sql.cluster(), ours);
    sql.shutdown().await;
    drop(sql);
    let refused = RaftSql::open(of(other)).await.unwrap_err();
    assert!(matches!(refused, OpenError::Identity(_)), "{refused}");
    RaftSql::open(of(ours)).await.unwrap().shutdown().await;

    // Somebody else's directory is not ours to fill.
    let used = tempfile::tempdir().unwrap();
    fs::write(used.path().join("letter.txt"), "dear").unwrap();
    let refused = RaftSql::open(options(used.path())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Identity(_)), "{refused}");
}

/// As a backup that is restored under a running server leaves it: what is known of the database that is open says
/// nothing of the copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_the_place_of_an_open_directory_is_not_vouched_for() {
    let root = tempfile::tempdir().unwrap();
    let (here, away) = (root.path().join("metadata"), root.path().join("away"));
    for replaced in [false, true] {
        let sql = open(&here).await;
        commit(&sql, vec![insert(i64::from(replaced))]).await.unwrap();
        if replaced {
            fs::rename(&here, &away).unwrap();
            copy_tree(&away, &here);
        }
        sql.shutdown().await;
        assert_eq!(here.join("clean-stop.json").exists(), !replaced);
    }
}
