#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::durable::take;

struct Case {
    root: tempfile::TempDir,
    directory: Directory,
}

impl Case {
    /// A directory whose database was written to, as hiqlite leaves it.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::lock(root.path()).unwrap();
        for made in ["logs", "state_machine/db"] {
            fs::create_dir_all(directory.raft().join(made)).unwrap();
        }
        let connection = Connection::open(directory.database()).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1)").unwrap();
        Self { root, directory }
    }

    fn marked_as_crashed(&self) -> bool {
        self.directory.raft().join("logs/lock.hql").exists()
    }
}

fn consume(directory: &Directory) -> bool {
    let trusted = trusted(directory).unwrap();
    super::consume(directory, trusted).unwrap();
    trusted
}

#[test]
fn a_database_is_vouched_for_once_it_is_on_the_disk_and_only_once() {
    let case = Case::new();
    take(case.root.path());
    vouch(&case.directory).unwrap();
    let database = "raft/state_machine/db";
    let wanted = [
        format!("sync {database}/metadata.db"),
        format!("sync {database}"),
        "sync clean-stop.json".to_owned(),
        "publish clean-stop.json".to_owned(),
        "sync .".to_owned(),
    ];
    assert_eq!(take(case.root.path()), wanted);
    assert!(consume(&case.directory));
    assert_eq!(take(case.root.path()), ["remove clean-stop.json", "sync ."]);
    assert!(!case.marked_as_crashed());
    assert!(!consume(&case.directory), "a voucher served twice");
    assert!(case.marked_as_crashed());
}

#[test]
fn a_database_that_is_not_the_one_vouched_for_is_not_used() {
    let changes: [fn(&Path); 3] = [
        |database| {
            let mut bytes = fs::read(database).unwrap();
            bytes[100] ^= 1;
            fs::write(database, bytes).unwrap();
        },
        |database| fs::write(database.with_extension("db-wal"), "more").unwrap(),
        |database| fs::remove_file(database).unwrap(),
    ];
    for change in changes {
        let case = Case::new();
        vouch(&case.directory).unwrap();
        // hiqlite's own mark would make it throw away what was rebuilt.
        let hiqlites = case.directory.raft().join("state_machine/lock");
        fs::write(&hiqlites, "").unwrap();
        change(&case.directory.database());
        assert!(!consume(&case.directory));
        assert!(case.marked_as_crashed() && !hiqlites.exists());
    }
}
