#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

#[test]
fn room_for_a_snapshot_belongs_to_what_must_be_free() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("database");
    let reserve = Reserve::new(directory.path(), database.clone(), 4 << 20);
    assert_eq!(reserve.short(), None);
    reserve.take();
    assert_eq!(reserve.held(), 4 << 20);

    // As large as nothing that could be copied here, and yet empty.
    let file = File::create(&database).unwrap();
    file.set_len(free(directory.path()).unwrap() + (1 << 30)).unwrap();
    assert!(reserve.short().is_some());
    assert_eq!(reserve.held(), 0, "the reserve was not given back");
    reserve.take();
    assert_eq!(reserve.held(), 0, "the reserve was taken while space is low");

    file.set_len(0).unwrap();
    assert_eq!(reserve.short(), None);
    reserve.take();
    assert_eq!(reserve.held(), 4 << 20);
}

#[test]
fn without_a_reserve_nothing_is_ever_short() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("database");
    File::create(&database).unwrap().set_len(1 << 43).unwrap();
    let reserve = Reserve::new(directory.path(), database, 0);
    reserve.take();
    assert_eq!((reserve.short(), reserve.held()), (None, 0));
}

#[test]
fn holes_are_filled_and_content_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (log, other) = (directory.path().join("1.wal"), directory.path().join("meta"));
    for path in [&log, &other] {
        fs::write(path, "content").unwrap();
        OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
    }
    fill_holes(directory.path());
    assert_eq!(crate::durable::take(directory.path()), ["sync ."]);
    fill_holes(directory.path());
    assert_eq!(crate::durable::take(directory.path()), [""; 0]);
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    assert!(blocks(&log) >= 1 << 20);
    assert!(blocks(&other) < 1 << 20);
    assert!(fs::read(&log).unwrap().starts_with(b"content\0"));
}
