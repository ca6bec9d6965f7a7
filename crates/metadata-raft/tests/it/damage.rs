//! A byte flipped in the log, in the snapshot, in the database: refused or repaired, never silently less.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::child::{Read, child_options, kill_after, read};
use crate::support::{commit, copy_tree, insert, make_table};

/// Flips one bit of one byte.
pub(crate) fn flip(file: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x04], at).unwrap();
}

/// The bytes of a file up to the last that is not zero: log files are larger than what is in them.
pub(crate) fn used(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

pub(crate) fn files(directory: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| wanted(path.file_name().unwrap().to_str().unwrap())).collect();
    files.sort();
    files
}

fn is_id(name: &str) -> bool {
    uuid::Uuid::parse_str(name).is_ok()
}

/// A killed directory with a snapshot, its copy, and a log that goes on after it.
fn killed() -> (tempfile::TempDir, Vec<i64>) {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    loop {
        acknowledged.extend(kill_after(directory.path(), 150));
        let ids = files(&directory.path().join("raft/state_machine/snapshots"), is_id);
        let copies = files(&directory.path().join("snapshots"), |name| name.len() > 36);
        let newest = ids.last().and_then(|id| id.file_name());
        // The process may have been killed between the making of a snapshot and its copying.
        if newest.is_some() && copies.iter().any(|copy| copy.file_stem() == newest) {
            return (directory, acknowledged);
        }
    }
}

/// What came of one flipped byte.
fn after_flip(image: &Path, file: &Path, at: u64) -> Read {
    let trial = tempfile::tempdir().unwrap();
    copy_tree(image, trial.path());
    flip(&trial.path().join(file.strip_prefix(image).unwrap()), at);
    read(trial.path())
}

fn is_whole(found: &[i64], acknowledged: &[i64]) -> bool {
    acknowledged.iter().all(|id| found.contains(id))
}

#[test]
fn a_flipped_byte_in_the_log_is_never_silently_less() {
    let (image, acknowledged) = killed();
    let mut random = StdRng::seed_from_u64(0x10f);
    let mut refused = 0;
    let logs = files(&image.path().join("raft/logs"), |name| name.ends_with(".wal"));
    for log in &logs {
        let used = used(log);
        // The header, the first entries, the last entry, and anywhere.
        let mut places = vec![0, 7, 15, 23, 27, 31, 32, 40, 44, 100, used - 40];
        places.extend((0..4).map(|_| random.random_range(32..used)));
        for at in places {
            match after_flip(image.path(), log, at) {
                Read::Found(found) => {
                    assert!(is_whole(&found, &acknowledged), "byte {at} of {}: silently less", log.display());
                }
                Read::Refused(reason) => {
                    assert!(reason.contains("metadata"), "byte {at}: {reason}");
                    refused += 1;
                }
                Read::Died(output) => assert!(!output.contains("found"), "byte {at}: {output}"),
            }
        }
    }
    assert!(refused > 0, "no flip did any harm: they missed the log");
}

#[test]
fn an_entry_that_the_power_took_with_it_is_missed_only_if_it_was_acknowledged() {
    let (image, acknowledged) = killed();
    let log = files(&image.path().join("raft/logs"), |name| name.ends_with(".wal")).pop().unwrap();
    let used = used(&log);
    // Where the header says that the last entry ends; its beginning is found by its id.
    let bytes = fs::read(&log).unwrap();
    let last = bytes[..used as usize].windows(8).rposition(|window| window == &bytes[16..24]).unwrap();
    assert!(last > 32, "the log has one entry only");
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_all_at(&vec![0; used as usize - last], last as u64).unwrap();
    match read(image.path()) {
        Read::Found(found) => assert!(is_whole(&found, &acknowledged)),
        Read::Refused(reason) => assert!(reason.contains("were acknowledged"), "{reason}"),
        Read::Died(output) => panic!("{output}"),
    }
}

#[test]
fn a_flipped_byte_in_the_snapshot_is_repaired_from_its_copy() {
    let (image, acknowledged) = killed();
    let mut random = StdRng::seed_from_u64(0x5a9);
    let snapshot = files(&image.path().join("raft/state_machine/snapshots"), is_id).pop().unwrap();
    let length = fs::metadata(&snapshot).unwrap().len();
    for at in [0, 18, 100].into_iter().chain((0..3).map(|_| random.random_range(0..length))) {
        let outcome = after_flip(image.path(), &snapshot, at);
        assert!(matches!(&outcome, Read::Found(found) if is_whole(found, &acknowledged)), "byte {at}: {outcome:?}");
    }
}

#[test]
fn a_flipped_byte_in_the_database_is_repaired_after_a_crash_and_after_a_clean_stop() {
    let (image, mut acknowledged) = killed();
    let mut random = StdRng::seed_from_u64(0xdb);
    let database = image.path().join("raft/state_machine/db/metadata.db");
    for cleanly in [false, true] {
        if cleanly {
            acknowledged.push(i64::MAX - 1);
            stop_cleanly(image.path(), i64::MAX - 1);
            assert!(image.path().join("clean-stop.json").exists());
        }
        let length = fs::metadata(&database).unwrap().len();
        for at in [24, 1000].into_iter().chain((0..3).map(|_| random.random_range(0..length))) {
            let outcome = after_flip(image.path(), &database, at);
            let whole = matches!(&outcome, Read::Found(found) if is_whole(found, &acknowledged));
            assert!(whole, "byte {at}, cleanly stopped {cleanly}: {outcome:?}");
        }
    }
}

/// Opens the directory, commits one id, and shuts down.
fn stop_cleanly(directory: &Path, id: i64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sql = roadstead_metadata_raft::RaftSql::open(child_options(directory)).await.unwrap();
        make_table(&sql).await;
        commit(&sql, vec![insert(id)]).await.unwrap();
        sql.shutdown().await;
    });
}
