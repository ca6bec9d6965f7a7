#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

struct Case {
    _root: tempfile::TempDir,
    snapshots: Snapshots,
}

impl Case {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(&root.path().join("raft"), root.path());
        fs::create_dir_all(&snapshots.originals).unwrap();
        Self { _root: root, snapshots }
    }

    fn make(&self, content: &str) -> PathBuf {
        let path = self.snapshots.originals.join(Uuid::now_v7().to_string());
        fs::write(&path, content).unwrap();
        path
    }

    fn copies(&self) -> Vec<PathBuf> {
        self.snapshots.copies().unwrap().iter().map(|copy| self.snapshots.path(copy)).collect()
    }
}

#[test]
fn the_newest_snapshot_has_a_copy_and_older_ones_none() {
    let case = Case::new();
    case.snapshots.keep().unwrap();
    assert!(case.copies().is_empty());
    let first = case.make("first");
    case.snapshots.keep().unwrap();
    case.snapshots.keep().unwrap();
    assert_eq!(case.copies().len(), 1);
    // hiqlite drops old snapshots itself, and leaves unfinished ones under other names.
    fs::write(first.with_extension("tmp"), "unfinished").unwrap();
    case.make("second");
    case.snapshots.keep().unwrap();
    let copies = case.copies();
    assert_eq!(copies.len(), 1);
    assert_eq!(fs::read_to_string(&copies[0]).unwrap(), "second");
}

#[test]
fn a_changed_or_missing_snapshot_is_put_back() {
    let case = Case::new();
    let path = case.make("content");
    case.snapshots.keep().unwrap();
    fs::write(&path, "contemt").unwrap();
    case.snapshots.restore().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "content");
    fs::remove_file(&path).unwrap();
    case.snapshots.restore().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "content");
}

#[test]
fn a_damaged_copy_does_no_harm_and_two_damaged_ones_are_refused() {
    let case = Case::new();
    let path = case.make("content");
    case.snapshots.keep().unwrap();
    fs::write(&case.copies()[0], "comtent").unwrap();
    case.snapshots.restore().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "content");
    fs::write(&path, "contemt").unwrap();
    let refused = case.snapshots.restore().unwrap_err().to_string();
    assert!(refused.contains(path.to_str().unwrap()), "{refused}");
}

#[test]
fn a_newer_snapshot_without_a_copy_is_left_alone() {
    let case = Case::new();
    case.make("old");
    case.snapshots.keep().unwrap();
    let newer = case.make("new");
    case.snapshots.restore().unwrap();
    assert_eq!(fs::read_to_string(&newer).unwrap(), "new");
}
