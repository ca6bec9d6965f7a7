#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use super::*;
use crate::durable::take;

fn found(path: &Path) -> Mark {
    match Mark::find(path).unwrap() {
        Found::Mark(mark) => mark,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_count_written_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("high-water");
    assert!(matches!(Mark::find(&path).unwrap(), Found::Missing));
    let mut mark = Mark::create(&path, 0).unwrap();
    for count in 1..7 {
        mark.write(count).unwrap();
        assert_eq!(found(&path).count(), count);
    }
    // A mark that was found goes on where the last one stopped.
    let mut mark = found(&path);
    mark.write(7).unwrap();
    assert_eq!(found(&path).count(), 7);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * SLOT);
}

#[test]
fn a_torn_write_leaves_the_count_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("high-water");
    let mut mark = Mark::create(&path, 5).unwrap();
    let torn = mark.next;
    mark.write(6).unwrap();
    for byte in 0..RECORD as u64 {
        let mut old = [0];
        mark.file.read_exact_at(&mut old, torn * SLOT + byte).unwrap();
        mark.file.write_all_at(&[old[0] ^ 1], torn * SLOT + byte).unwrap();
        assert_eq!(found(&path).count(), 5, "byte {byte}");
        mark.file.write_all_at(&old, torn * SLOT + byte).unwrap();
    }
    assert_eq!(found(&path).count(), 6);
}

#[test]
fn a_file_without_a_readable_slot_is_no_mark() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("high-water");
    for content in [vec![], vec![0; 2 * SLOT as usize], vec![7; 100], Vec::from(record(5))] {
        std::fs::write(&path, content).unwrap();
        assert!(matches!(Mark::find(&path).unwrap(), Found::Unreadable));
    }
}

#[test]
fn a_count_is_on_the_disk_before_it_is_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("high-water");
    let mut mark = Mark::create(&path, 5).unwrap();
    assert_eq!(take(directory.path()), ["sync high-water", "sync ."]);
    mark.write(6).unwrap();
    assert_eq!(take(directory.path()), ["sync high-water"]);
    // A new mark over an old one, too.
    Mark::create(&path, 3).unwrap();
    assert_eq!(take(directory.path()), ["sync high-water", "sync ."]);
    assert_eq!(found(&path).count(), 3);
}
