//! Staged objects that grow in place. Engines without this power pass by having none.

use bytes::Bytes;

use super::Subject;
use super::objects::{collect, content, key, kind, names, part, read, write};
use crate::{Engine, ErrorKind, Writer};

/// A writer that appends to `to` after `length` bytes. `None` when the engine cannot extend.
async fn append(engine: &dyn Engine, to: &str, length: usize) -> Option<Box<dyn Writer>> {
    Some(engine.extend()?.append(&key(to), length as u64).await.unwrap())
}

async fn append_all(engine: &dyn Engine, to: &str, length: usize, bytes: Bytes) -> Option<u64> {
    let mut writer = append(engine, to, length).await?;
    writer.write(vec![bytes]).await.unwrap();
    Some(writer.finish().await.unwrap().size)
}

pub(super) async fn bytes_survive_a_reopen(subject: &dyn Subject) {
    let bytes = content(1, 1_500_000);
    let mut at = 0;
    for end in [1, 2, 700_000, 700_000, 1_500_000] {
        // A new instance each time, as after a restart, and without finish: sync is what makes bytes count.
        let engine = subject.open().await;
        let Some(mut writer) = append(engine.as_ref(), "u/1/0", at).await else { return };
        writer.write(vec![bytes.slice(at..end)]).await.unwrap();
        writer.sync().await.unwrap();
        at = end;
    }
    let engine = subject.open().await;
    assert!(read(engine.as_ref(), "u/1/0").await.unwrap() == bytes, "the bytes are those written");
    assert_eq!(engine.stat(&key("u/1/0")).await.unwrap().size, 1_500_000);
    assert_eq!(names(engine.as_ref(), "u/").await, ["u/1/0"]);
}

pub(super) async fn uncommitted_bytes_are_discarded(subject: &dyn Subject) {
    let engine = subject.open().await;
    let Some(size) = append_all(engine.as_ref(), "u/0", 0, content(1, 100)).await else { return };
    assert_eq!(size, 100);
    assert_eq!(append_all(engine.as_ref(), "u/0", 60, content(2, 10)).await, Some(70));
    let expected = [&content(1, 100)[..60], &content(2, 10)[..]].concat();
    assert_eq!(read(engine.as_ref(), "u/0").await.unwrap(), expected);
    assert_eq!(append_all(engine.as_ref(), "u/0", 0, Bytes::new()).await, Some(0));
    assert_eq!(read(engine.as_ref(), "u/0").await.unwrap(), b"");
}

pub(super) async fn an_object_is_readable_while_it_grows(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(1, 2_000_000);
    let Some(mut writer) = append(engine.as_ref(), "u/0", 0).await else { return };
    writer.write(vec![bytes.slice(..900_000)]).await.unwrap();
    writer.sync().await.unwrap();
    let opened = engine.read(&key("u/0"), Some(0..900_000)).await.unwrap();
    writer.write(vec![bytes.slice(900_000..)]).await.unwrap();
    writer.sync().await.unwrap();
    assert!(collect(opened).await.unwrap() == bytes[..900_000], "a reader of what was synced is not disturbed");
    assert!(read(engine.as_ref(), "u/0").await.unwrap() == bytes, "the rest is there after its sync");
    writer.finish().await.unwrap();
}

pub(super) async fn only_what_is_there_can_be_extended(subject: &dyn Subject) {
    let engine = subject.open().await;
    let Some(extend) = engine.extend() else { return };
    assert_eq!(kind(extend.append(&key("u/absent"), 1).await), ErrorKind::NotFound);
    assert_eq!(append_all(engine.as_ref(), "u/0", 0, content(1, 9)).await, Some(9));
    assert_eq!(kind(extend.append(&key("u/0"), 10).await), ErrorKind::Corrupt);
    assert_eq!(read(engine.as_ref(), "u/0").await.unwrap(), content(1, 9));
    assert_eq!(names(engine.as_ref(), "").await, ["u/0"]);
}

pub(super) async fn abort_restores_the_former_bytes(subject: &dyn Subject) {
    let engine = subject.open().await;
    let Some(mut writer) = append(engine.as_ref(), "u/new/0", 0).await else { return };
    writer.write(vec![content(1, 900_000)]).await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(names(engine.as_ref(), "").await, [""; 0]);
    append_all(engine.as_ref(), "u/old/0", 0, content(2, 500)).await;
    let mut writer = append(engine.as_ref(), "u/old/0", 400).await.unwrap();
    writer.write(vec![content(3, 900_000)]).await.unwrap();
    writer.sync().await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(read(engine.as_ref(), "u/old/0").await.unwrap(), content(2, 500)[..400]);
}

pub(super) async fn a_dropped_writer_does_not_write_into_its_successor(subject: &dyn Subject) {
    let engine = subject.open().await;
    // In many small pieces, so that writing them takes many steps to come between.
    let late = vec![content(1, 40); 40_000];
    for round in 0..40 {
        let Some(mut dropped) = append(engine.as_ref(), "u/0", 0).await else { return };
        dropped.write(late.clone()).await.unwrap();
        dropped.write(late.clone()).await.unwrap();
        let sync = dropped.sync();
        // At any moment of what it is doing.
        drop(dropped);
        let bytes = content(round, 100);
        assert_eq!(append_all(engine.as_ref(), "u/0", 0, bytes.clone()).await, Some(100));
        // It may have come too late, or just in time.
        let _ = sync.await;
        assert_eq!(read(engine.as_ref(), "u/0").await.unwrap(), bytes, "round {round}");
    }
}

pub(super) async fn a_composed_object_does_not_change_with_its_part(subject: &dyn Subject) {
    let engine = subject.open().await;
    if append_all(engine.as_ref(), "u/0", 0, content(1, 1_000)).await.is_none() {
        return;
    }
    engine.compose(&[part("u/0", 1_000, true)], &key("c")).await.unwrap();
    // A session that goes on although its part was published: a mistake, which must not cost a published object.
    assert_eq!(append_all(engine.as_ref(), "u/0", 500, content(2, 10)).await, Some(510));
    assert_eq!(read(engine.as_ref(), "c").await.unwrap(), content(1, 1_000));
    let expected = [&content(1, 1_000)[..500], &content(2, 10)[..]].concat();
    assert_eq!(read(engine.as_ref(), "u/0").await.unwrap(), expected);
    write(engine.as_ref(), "other", &content(3, 1)).await.unwrap();
}
