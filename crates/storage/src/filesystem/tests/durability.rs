//! That what is answered was made durable, in the right order: file, name, directories.

use super::durable::take;
use super::*;
use crate::Part;

/// A store whose journal is asked for by [`events`].
fn store() -> (Scratch, Filesystem) {
    let scratch = Scratch::new();
    let engine = scratch.open();
    (scratch, engine)
}

fn events(engine: &Filesystem) -> Vec<String> {
    take(engine.root())
}

#[tokio::test]
async fn a_new_object_is_synced_then_published_then_every_directory_on_its_way() {
    let (_scratch, engine) = store();
    write(&engine, "a/b/c", "1").await.unwrap();
    assert_eq!(events(&engine), ["sync tmp/?", "publish a/b/c", "sync a/b", "sync a", "sync"]);
    // The way is known now; the directory of the new name is not spared.
    write(&engine, "a/b/d", "2").await.unwrap();
    assert_eq!(events(&engine), ["sync tmp/?", "publish a/b/d", "sync a/b"]);
    write(&engine, "a/e/f", "3").await.unwrap();
    assert_eq!(events(&engine), ["sync tmp/?", "publish a/e/f", "sync a/e", "sync a"]);
}

#[tokio::test]
async fn a_large_object_is_synced_while_it_is_written() {
    let (_scratch, engine) = store();
    let mut writer = engine.writer(&key("large")).await.unwrap();
    // It runs on the side: at some time after its share was written, and long before all of this.
    let mut events_seen = Vec::new();
    for _ in 0..300 {
        writer.write(vec![Bytes::from(vec![1; 1024 * 1024])]).await.unwrap();
        events_seen = events(&engine);
        if !events_seen.is_empty() {
            break;
        }
    }
    assert_eq!(events_seen, ["sync tmp/?"]);
    writer.abort().await.unwrap();
}

#[tokio::test]
async fn directories_of_other_processes_are_not_taken_for_durable() {
    let (scratch, engine) = store();
    fs::create_dir_all(scratch.path("a/b")).unwrap();
    write(&engine, "a/b/c", "1").await.unwrap();
    assert_eq!(events(&engine), ["sync tmp/?", "publish a/b/c", "sync a/b", "sync a", "sync"]);
    // Another process deletes the object and its directory, and makes the directory again.
    fs::remove_dir_all(scratch.path("a/b")).unwrap();
    fs::create_dir(scratch.path("a/b")).unwrap();
    write(&engine, "a/b/d", "2").await.unwrap();
    assert_eq!(events(&engine), ["sync tmp/?", "publish a/b/d", "sync a/b", "sync a"]);
    // Or removes everything.
    fs::remove_dir_all(scratch.path("a")).unwrap();
    write(&engine, "a/b/e", "3").await.unwrap();
    assert_eq!(events(&engine), ["sync tmp/?", "publish a/b/e", "sync a/b", "sync a", "sync"]);
}

#[tokio::test]
async fn an_object_of_another_process_is_made_durable_before_it_is_reported() {
    let (scratch, engine) = store();
    fs::create_dir_all(scratch.path("a")).unwrap();
    fs::write(scratch.path("a/b"), "theirs").unwrap();
    assert_eq!(write(&engine, "a/b", "ours").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(events(&engine), ["sync tmp/?", "sync a", "sync"]);
}

#[tokio::test]
async fn a_staged_object_is_durable_with_its_name_at_each_sync() {
    let (_scratch, engine) = store();
    let mut writer = engine.append(&key("u/1/0"), 0).await.unwrap();
    writer.write(vec![Bytes::from_static(b"1234")]).await.unwrap();
    assert_eq!(events(&engine), [""; 0]);
    writer.sync().await.unwrap();
    assert_eq!(events(&engine), ["sync u/1/0", "sync u/1", "sync u", "sync"]);
    // Nothing new, nothing to do.
    writer.sync().await.unwrap();
    assert_eq!(events(&engine), [""; 0]);
    writer.write(vec![Bytes::from_static(b"5678")]).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(events(&engine), ["sync u/1/0"]);
    let writer = engine.append(&key("u/1/0"), 4).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(events(&engine), ["sync u/1/0", "sync u/1"]);
}

#[tokio::test]
async fn composed_objects_are_durable() {
    let (_scratch, engine) = store();
    let append = async |length, bytes: &'static str| {
        let mut writer = engine.append(&key("u"), length).await.unwrap();
        writer.write(vec![Bytes::from_static(bytes.as_bytes())]).await.unwrap();
        writer
    };
    let compose = async |length, sealed, to| {
        drop(events(&engine));
        engine.compose(&[Part { key: key("u"), length, sealed }], &key(to)).await.unwrap();
        events(&engine)
    };
    append(0, "1234").await.finish().await.unwrap();
    assert_eq!(compose(4, true, "synced").await, ["publish synced", "sync"]);
    assert_eq!(compose(4, false, "copied").await, ["sync tmp/?", "publish copied", "sync"]);
    assert_eq!(compose(3, true, "cut").await, ["sync u", "publish cut", "sync"]);
    engine.delete(&key("u")).await.unwrap();
    append(0, "1234").await.finish().await.unwrap();
    // Whoever opens it again may have written as many bytes, but others.
    drop(append(4, "").await);
    assert_eq!(compose(4, true, "unsynced").await, ["sync u", "publish unsynced", "sync"]);
}

#[tokio::test]
async fn small_objects_are_durable_when_replaced() {
    let (_scratch, engine) = store();
    for only_if_absent in [true, false] {
        engine.put_small(&key("s.json"), Bytes::from_static(b"{}"), only_if_absent).await.unwrap();
        assert_eq!(events(&engine), ["sync tmp/?", "publish s.json", "sync"]);
    }
}

#[tokio::test]
async fn a_delete_is_durable_also_when_another_process_did_it() {
    let (scratch, engine) = store();
    for name in ["a/b/c", "a/x"] {
        write(&engine, name, "1").await.unwrap();
    }
    drop(events(&engine));
    engine.delete(&key("a/b/c")).await.unwrap();
    assert_eq!(events(&engine), ["sync a"], "a/b went with its last object");
    fs::remove_file(scratch.path("a/x")).unwrap();
    engine.delete(&key("a/x")).await.unwrap();
    assert_eq!(events(&engine), ["sync"]);
}

#[test]
fn a_new_root_is_made_durable_with_the_directories_above_it() {
    let scratch = Scratch::new();
    let root = scratch.path("var/lib/roadstead");
    Filesystem::open(&root).unwrap();
    assert_eq!(take(scratch.directory.path()), ["sync", "sync var", "sync var/lib"]);
    Filesystem::open(&root).unwrap();
    assert_eq!(take(scratch.directory.path()), [""; 0]);
}

#[test]
fn a_root_that_is_a_file_is_refused_by_name() {
    let scratch = Scratch::new();
    fs::write(scratch.path("file"), "").unwrap();
    for root in ["file", "file/below"] {
        let error = Filesystem::open(&scratch.path(root)).unwrap_err();
        assert!(error.to_string().contains("/file"), "{error}");
    }
}
