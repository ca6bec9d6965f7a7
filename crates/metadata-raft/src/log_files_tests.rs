#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::log_header::tests::log_of;

/// Where the second of a file's entries begins, when the first has the given index.
fn second(first: u64) -> usize {
    32 + 16 + 100 + first as usize + 1
}

struct Case {
    root: tempfile::TempDir,
    directory: Directory,
}

impl Case {
    /// Entries 1 to 3, 4 to 6, and 7 to 9, in a file each.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::lock(root.path()).unwrap();
        let case = Self { root, directory };
        fs::create_dir_all(case.logs()).unwrap();
        for (number, ids) in [1..=3, 4..=6, 7..=9].into_iter().enumerate() {
            fs::write(case.file(number + 1), log_of(ids)).unwrap();
        }
        case
    }

    fn logs(&self) -> PathBuf {
        self.directory.raft().join("logs")
    }

    fn file(&self, number: usize) -> PathBuf {
        self.logs().join(format!("{number:016}.wal"))
    }

    fn flip(&self, number: usize, at: usize) {
        let mut bytes = fs::read(self.file(number)).unwrap();
        bytes[at] ^= 1;
        fs::write(self.file(number), bytes).unwrap();
    }

    fn check(&self, base: u64) -> Option<Damage> {
        check(&self.logs(), base).unwrap()
    }

    fn left(&self) -> Vec<PathBuf> {
        log_header::files(&self.logs()).unwrap()
    }

    fn aside(&self) -> Vec<PathBuf> {
        log_header::files(&self.root.path().join("damaged-logs/1")).unwrap()
    }
}

#[test]
fn the_log_after_a_snapshot_is_measured() {
    let case = Case::new();
    let bytes = |base| bytes_after(&case.logs(), base).unwrap();
    // With its head, and one more unless it is the last of its file.
    let entry = |id: u64| 16 + 100 + id + u64::from(!id.is_multiple_of(3));
    assert_eq!(bytes(9), 0);
    assert_eq!(bytes(8), entry(9));
    assert_eq!(bytes(4), (5..=9).map(entry).sum::<u64>());
    assert_eq!(bytes(0), (1..=9).map(entry).sum::<u64>());
    fs::write(case.file(4), [0; 64]).unwrap();
    fs::write(case.file(5), []).unwrap();
    assert_eq!(bytes(8), entry(9), "files that were not begun");
}

#[test]
fn a_sound_log_passes() {
    let case = Case::new();
    assert_eq!(case.check(0), None);
    fs::remove_dir_all(case.logs()).unwrap();
    assert_eq!(case.check(0), None);
}

#[test]
fn damage_to_any_file_is_found_and_named() {
    for (number, first) in [(1, 1), (2, 4), (3, 7)] {
        // The index, the checksum, the length, the data.
        for byte in [0, 8, 12, 20] {
            let case = Case::new();
            case.flip(number, second(first) + byte);
            let damage = case.check(0).unwrap();
            assert_eq!((&damage.file, damage.at as usize), (&case.file(number), second(first)), "byte {byte}");
            assert_eq!((damage.entry, damage.last, damage.in_newest), (first + 1, 9, number == 3));
        }
        // What the header says about where and what.
        for byte in [0, 7, 15, 27] {
            let case = Case::new();
            case.flip(number, byte);
            assert_eq!(case.check(0).unwrap().file, case.file(number), "byte {byte}");
        }
    }
}

#[test]
fn a_missing_file_is_damage() {
    let case = Case::new();
    fs::remove_file(case.file(2)).unwrap();
    let damage = case.check(0).unwrap();
    assert_eq!((damage.file, damage.entry, damage.last), (case.file(3), 4, 9));
}

#[test]
fn what_a_snapshot_includes_may_be_damaged() {
    let case = Case::new();
    case.flip(1, second(1) + 20);
    assert_eq!(case.check(2), None);
    assert_eq!(case.check(1).unwrap().entry, 2);
    // Without its length nobody finds the next.
    let case = Case::new();
    case.flip(1, second(1) + 14);
    assert_eq!(case.check(2).unwrap().entry, 2);
}

#[test]
fn a_log_is_cut_off_before_the_damage_and_nothing_is_deleted() {
    let case = Case::new();
    case.flip(2, second(4) + 20);
    let whole = fs::read(case.file(2)).unwrap();
    cut_off(&case.directory, &case.check(0).unwrap()).unwrap();
    assert_eq!(case.left(), [case.file(1), case.file(2)]);
    assert_eq!(case.check(0), None);
    let header = Header::read(&fs::read(case.file(2)).unwrap()).unwrap();
    assert_eq!((header.first, header.last), (4, 4));
    let aside = case.root.path().join("damaged-logs");
    assert_eq!(fs::read(aside.join("1/0000000000000003.wal")).unwrap(), log_of(7..=9));
    assert_eq!(fs::read(aside.join("2/0000000000000002.wal")).unwrap(), whole);

    // Nothing in the file can be used.
    let case = Case::new();
    case.flip(2, 40);
    cut_off(&case.directory, &case.check(0).unwrap()).unwrap();
    assert_eq!((case.left(), case.aside().len()), (vec![case.file(1)], 2));
}

#[test]
fn what_is_left_is_the_beginning_of_a_log_whenever_it_is_interrupted() {
    let case = Case::new();
    crate::durable::take(case.root.path());
    set_aside(&case.directory, |_| true).unwrap();
    let events = crate::durable::take(case.root.path());
    let published: Vec<_> = events.iter().filter_map(|event| event.strip_prefix("publish damaged-logs/1/")).collect();
    assert_eq!(published, ["0000000000000003.wal", "0000000000000002.wal", "0000000000000001.wal"]);
    assert!(case.left().is_empty());
}
