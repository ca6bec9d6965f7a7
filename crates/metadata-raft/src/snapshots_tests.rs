#![allow(clippy::unwrap_used, clippy::expect_used)]

use hiqlite::rusqlite::Connection;

use super::*;
use crate::durable::take;
use crate::record::last_entry;

struct Case {
    root: tempfile::TempDir,
    snapshots: Snapshots,
}

impl Case {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(&root.path().join("raft"), root.path());
        fs::create_dir_all(&snapshots.originals).unwrap();
        Self { root, snapshots }
    }

    /// A snapshot as hiqlite makes them, up to log entry `last`.
    fn make(&self, id: u128, last: u64) -> PathBuf {
        let path = self.snapshots.originals.join(Uuid::from_u128(id).to_string());
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE _metadata (key TEXT PRIMARY KEY, data BLOB NOT NULL)").unwrap();
        let mut data = vec![1];
        for number in [7, 1, last] {
            data.extend_from_slice(&u64::to_le_bytes(number));
        }
        data.extend_from_slice(b"and more");
        connection.execute("INSERT INTO _metadata(key, data) VALUES ('meta', $1)", [data]).unwrap();
        path
    }

    fn database(&self) -> PathBuf {
        self.root.path().join("raft/state_machine/db/metadata.db")
    }

    /// Rebuilds, and answers up to which log entry the database goes then.
    fn rebuilt(&self) -> u64 {
        self.snapshots.rebuild(&self.database()).unwrap();
        last_entry(&self.database()).unwrap()
    }

    fn copies(&self) -> Vec<PathBuf> {
        self.snapshots.copies().unwrap().iter().map(|copy| self.snapshots.path(copy)).collect()
    }

    fn aside(&self) -> Vec<String> {
        names(&self.snapshots.copies).unwrap().into_iter().filter(|name| name.ends_with(OLDER)).collect()
    }
}

/// What hiqlite does to a snapshot that it starts from.
fn touch(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let place = bytes.windows(8).rposition(|window| window == b"and more").unwrap();
    bytes[place] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_newest_snapshot_has_a_copy_and_older_ones_none() {
    let case = Case::new();
    case.snapshots.keep().unwrap();
    assert!(case.copies().is_empty());
    let first = case.make(1, 10);
    case.snapshots.keep().unwrap();
    case.snapshots.keep().unwrap();
    assert_eq!(case.copies().len(), 1);
    // hiqlite drops old snapshots itself, and leaves unfinished ones under other names.
    fs::write(first.with_extension("tmp"), "unfinished").unwrap();
    let second = case.make(2, 20);
    case.snapshots.keep().unwrap();
    let copies = case.copies();
    assert_eq!(copies.len(), 1);
    assert_eq!(fs::read(&copies[0]).unwrap(), fs::read(second).unwrap());
}

#[test]
fn a_changed_or_missing_snapshot_is_put_back_and_the_database_made_from_it() {
    let case = Case::new();
    let path = case.make(1, 10);
    let whole = fs::read(&path).unwrap();
    case.snapshots.keep().unwrap();
    for change in [touch, damage, |path: &Path| fs::remove_file(path).unwrap()] {
        change(&path);
        assert_eq!(case.rebuilt(), 10);
        assert_eq!((fs::read(&path).unwrap(), fs::read(case.database()).unwrap()), (whole.clone(), whole.clone()));
    }
}

#[test]
fn the_old_database_and_its_journals_go_before_the_new_one_comes() {
    let case = Case::new();
    case.make(1, 10);
    make_directory(case.database().parent().unwrap()).unwrap();
    let journal = case.database().with_extension("db-wal");
    for old in [&case.database(), &journal] {
        fs::write(old, vec![7; 1 << 16]).unwrap();
    }
    assert_eq!(case.rebuilt(), 10);
    assert!(!journal.exists(), "SQLite would play it into the new database");
    fs::write(&journal, "old").unwrap();
    fs::remove_file(case.snapshots.originals.join(Uuid::from_u128(1).to_string())).unwrap();
    // All that ever happened is in the log.
    case.snapshots.rebuild(&case.database()).unwrap();
    assert!(!case.database().exists() && !journal.exists());
}

#[test]
fn a_damaged_copy_does_no_harm_and_two_damaged_ones_are_refused() {
    let case = Case::new();
    let path = case.make(1, 10);
    case.snapshots.keep().unwrap();
    damage(&case.copies()[0]);
    assert_eq!(case.rebuilt(), 10);
    damage(&path);
    let database = fs::read(case.database()).unwrap();
    let refused = case.snapshots.rebuild(&case.database()).unwrap_err().to_string();
    assert!(refused.contains(path.to_str().unwrap()), "{refused}");
    assert_eq!(fs::read(case.database()).unwrap(), database, "a refused start changed something");
}

#[test]
fn a_newer_snapshot_without_a_copy_is_used() {
    let case = Case::new();
    case.make(1, 10);
    case.snapshots.keep().unwrap();
    let newer = fs::read(case.make(2, 20)).unwrap();
    assert_eq!(case.rebuilt(), 20);
    assert_eq!(fs::read(case.database()).unwrap(), newer);
}

#[test]
fn a_clock_that_was_set_back_makes_no_snapshot_newer() {
    let case = Case::new();
    let older = case.make(9, 10);
    case.snapshots.keep().unwrap();
    let newer = case.make(1, 20);
    // As hiqlite does it, and as it leaves it when it is killed in between.
    for both in [true, false] {
        if !both {
            fs::remove_file(&older).unwrap_or_default();
        }
        assert_eq!(case.rebuilt(), 20);
        assert!(newer.exists() && !older.exists(), "hiqlite would take the one with the greater id");
    }
    assert_eq!(case.aside().len(), 1);
    case.snapshots.keep().unwrap();
    assert!(case.aside().is_empty());
    assert_eq!(case.copies().len(), 1);
    assert_eq!(fs::read(&case.copies()[0]).unwrap(), fs::read(newer).unwrap());
}

#[test]
fn a_copy_whose_original_is_gone_is_not_dropped_for_an_older_one() {
    let case = Case::new();
    let newer = case.make(9, 20);
    case.snapshots.keep().unwrap();
    fs::remove_file(newer).unwrap();
    case.make(1, 10);
    case.snapshots.keep().unwrap();
    assert_eq!(case.rebuilt(), 20);
}

#[test]
fn a_copy_is_durable_before_it_has_its_name_and_before_older_ones_go() {
    let case = Case::new();
    case.make(1, 10);
    case.snapshots.keep().unwrap();
    let first = case.copies()[0].file_name().unwrap().to_str().unwrap().to_owned();
    case.make(2, 20);
    take(case.root.path());
    case.snapshots.keep().unwrap();
    let second = case.copies()[0].file_name().unwrap().to_str().unwrap().to_owned();
    let wanted = [
        "sync snapshots/new".to_owned(),
        format!("publish snapshots/{second}"),
        "sync snapshots".to_owned(),
        format!("remove snapshots/{first}"),
        "sync snapshots".to_owned(),
    ];
    assert_eq!(take(case.root.path()), wanted);
}

#[test]
fn a_snapshot_that_is_put_back_is_durable() {
    let case = Case::new();
    let original = case.make(1, 10);
    case.snapshots.keep().unwrap();
    damage(&original);
    take(case.root.path());
    case.rebuilt();
    let originals = "raft/state_machine/snapshots";
    let events = take(case.root.path());
    let wanted = [format!("sync {originals}/{}", Uuid::from_u128(1)), format!("sync {originals}")];
    assert_eq!(events[..2], wanted);
}

#[test]
fn any_path_can_be_part_of_a_uri() {
    let root = tempfile::tempdir().unwrap();
    let odd = root.path().join("a b?c=1&d#e%20ü");
    fs::create_dir(&odd).unwrap();
    let snapshots = Snapshots::new(&odd.join("raft"), &odd);
    fs::create_dir_all(&snapshots.originals).unwrap();
    let case = Case { root, snapshots };
    assert_eq!(last_entry(&case.make(1, 10)).unwrap(), 10);
}
