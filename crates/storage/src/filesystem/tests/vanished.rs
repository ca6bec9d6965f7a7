//! Roots that are moved away while something is under way, and what stands in their place.

use super::*;
use crate::Part;

/// A store whose root can be moved away.
struct Movable(Scratch);

impl Movable {
    fn open() -> (Self, Filesystem) {
        let scratch = Scratch::new();
        let engine = Filesystem::open(&scratch.path("root")).unwrap();
        (Self(scratch), engine)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path("root").join(path)
    }

    fn take_away(&self) {
        fs::rename(self.0.path("root"), self.0.path("away")).unwrap();
    }

    /// Puts the root of somebody else there, with these directories.
    fn replace(&self, directories: &[&str]) {
        self.take_away();
        directories.iter().for_each(|directory| fs::create_dir_all(self.path(directory)).unwrap());
    }
}

#[tokio::test]
async fn a_chunk_is_not_acknowledged_whose_root_was_moved_away() {
    let (root, engine) = Movable::open();
    let mut staged = engine.append(&key("u/v/0"), 0).await.unwrap();
    staged.write(vec![Bytes::from_static(b"a chunk")]).await.unwrap();
    root.take_away();
    assert_eq!(staged.finish().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_later_step_is_not_acknowledged_whose_root_was_moved_away() {
    let (root, engine) = Movable::open();
    let mut staged = engine.append(&key("u/v/0"), 0).await.unwrap();
    staged.write(vec![Bytes::from_static(b"a step")]).await.unwrap();
    staged.sync().await.unwrap();
    root.take_away();
    staged.write(vec![Bytes::from_static(b"and another")]).await.unwrap();
    assert_eq!(staged.sync().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_object_is_not_deleted_whose_root_was_moved_away() {
    let (root, engine) = Movable::open();
    write(&engine, "a/b/c", "there").await.unwrap();
    root.take_away();
    assert_eq!(engine.delete(&key("a/b/c")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // A removal that was done just before.
    let error = engine.store.directories.settle_removal(&root.path("a/b/c")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fs::read(root.0.path("away/a/b/c")).unwrap(), b"there");
}

#[tokio::test]
async fn an_object_is_not_deleted_where_another_root_has_its_directory() {
    let (root, engine) = Movable::open();
    write(&engine, "a/b/c", "there").await.unwrap();
    root.replace(&["a/b"]);
    fs::write(root.path("a/b/other"), "somebody else's").unwrap();
    assert_eq!(engine.delete(&key("a/b/c")).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn no_byte_goes_to_another_store_that_has_the_directory_for_it() {
    let (root, engine) = Movable::open();
    let mut writer = engine.writer(&key("a/b")).await.unwrap();
    root.replace(&["tmp"]);
    writer.write(vec![Bytes::from(vec![1; 600_000])]).await.unwrap();
    assert_eq!(writer.sync().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_nothing_temporary(&root.path(""));
}

#[tokio::test]
async fn no_directory_is_made_in_another_store() {
    let (root, engine) = Movable::open();
    let mut writer = engine.writer(&key("a/b")).await.unwrap();
    writer.write(vec![Bytes::from_static(b"bytes")]).await.unwrap();
    writer.sync().await.unwrap();
    let (temporary, _) = engine.store.temporary().unwrap();
    let (staged, _) = engine.store.temporary().unwrap();
    root.replace(&["tmp", "u"]);
    fs::write(root.path("u/0"), "part").unwrap();
    let part = Part { key: key("u/0"), length: 4, sealed: true };
    let errors = [
        writer.finish().await.unwrap_err(),
        engine.compose(&[part], &key("b/c")).await.unwrap_err(),
        engine.store.replace(temporary, &root.path("c/d")).unwrap_err(),
        engine.store.rename(staged.path(), &key("d/e"), &root.path("d/e")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let mut made: Vec<_> = fs::read_dir(root.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    made.sort();
    assert_eq!(made, ["tmp", "u"]);
}
