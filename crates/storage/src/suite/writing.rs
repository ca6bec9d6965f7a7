//! Writing: whole or not at all, once.

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};

use super::Subject;
use super::objects::{content, key, kind, names, read, write};
use crate::{Engine, ErrorKind};

pub(super) async fn nothing_is_visible_before_finish(subject: &dyn Subject) {
    let (engine, other) = (subject.open().await, subject.open().await);
    let bytes = content(1, 3_000_000);
    let mut writer = engine.writer(&key("a/b/c")).await.unwrap();
    for chunk in [bytes.slice(..1_000_000), bytes.slice(1_000_000..)] {
        writer.write(vec![chunk]).await.unwrap();
        writer.sync().await.unwrap();
        for engine in [&engine, &other] {
            assert_eq!(kind(engine.stat(&key("a/b/c")).await), ErrorKind::NotFound);
            assert_eq!(kind(engine.read(&key("a/b/c"), None).await), ErrorKind::NotFound);
            assert_eq!(names(engine.as_ref(), "").await, [""; 0]);
        }
    }
    assert_eq!(writer.finish().await.unwrap().size, 3_000_000);
    for engine in [engine, other] {
        assert_eq!(engine.stat(&key("a/b/c")).await.unwrap().size, 3_000_000);
        assert_eq!(read(engine.as_ref(), "a/b/c").await.unwrap(), bytes);
        assert_eq!(names(engine.as_ref(), "").await, ["a/b/c"]);
    }
}

pub(super) async fn aborted_and_dropped_writers_leave_nothing(subject: &dyn Subject) {
    let engine = subject.open().await;
    for length in [0, 10, 3_000_000] {
        let mut aborted = engine.writer(&key("a/aborted")).await.unwrap();
        aborted.write(vec![content(1, length)]).await.unwrap();
        aborted.abort().await.unwrap();
        let mut dropped = engine.writer(&key("a/dropped")).await.unwrap();
        dropped.write(vec![content(2, length)]).await.unwrap();
        dropped.sync().await.unwrap();
        drop(dropped);
        let mut unsynced = engine.writer(&key("a/unsynced")).await.unwrap();
        unsynced.write(vec![content(3, length)]).await.unwrap();
        drop(unsynced);
    }
    assert_eq!(names(engine.as_ref(), "").await, [""; 0]);
    assert_eq!(kind(engine.stat(&key("a/dropped")).await), ErrorKind::NotFound);
    // The key is free for one who means it.
    write(engine.as_ref(), "a/dropped", &content(3, 5)).await.unwrap();
}

pub(super) async fn one_of_fifty_concurrent_writers_wins(subject: &dyn Subject) {
    let (engine, other) = (subject.open().await, subject.open().await);
    let contents: Vec<Bytes> = (0..50).map(|seed| content(seed, 700 + seed as usize)).collect();
    let results = join_all(contents.iter().enumerate().map(|(number, bytes)| {
        let engine = if number % 2 == 0 { engine.clone() } else { other.clone() };
        let bytes = bytes.clone();
        tokio::spawn(async move { write(engine.as_ref(), "race/x/y", &bytes).await })
    }));
    let results: Vec<_> = results.await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<usize> = (0..50).filter(|&number| results[number].is_ok()).collect();
    assert_winners(subject, winners.len());
    for result in results.into_iter().filter(Result::is_err) {
        assert_eq!(kind(result), ErrorKind::AlreadyExists);
    }
    let there = read(engine.as_ref(), "race/x/y").await.unwrap();
    assert!(winners.iter().any(|&winner| there == contents[winner]), "and its bytes are whole");
    assert_eq!(kind(write(engine.as_ref(), "race/x/y", &contents[0]).await), ErrorKind::AlreadyExists);
}

/// One of those that raced won, where the store decides that.
fn assert_winners(subject: &dyn Subject, winners: usize) {
    match subject.races_are_open() {
        false => assert_eq!(winners, 1, "one writer publishes the key"),
        true => assert!(winners >= 1, "a writer publishes the key"),
    }
}

pub(super) async fn a_second_finish_of_a_key_is_refused(subject: &dyn Subject) {
    let engine = subject.open().await;
    write(engine.as_ref(), "once", &content(1, 100)).await.unwrap();
    assert_eq!(kind(write(engine.as_ref(), "once", &content(2, 200)).await), ErrorKind::AlreadyExists);
    assert_eq!(read(engine.as_ref(), "once").await.unwrap(), content(1, 100));
}

pub(super) async fn an_empty_object_is_an_object(subject: &dyn Subject) {
    let engine = subject.open().await;
    let writer = engine.writer(&key("e/unwritten")).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().size, 0);
    assert_eq!(write(engine.as_ref(), "e/written", &Bytes::new()).await.unwrap(), 0);
    assert_eq!(names(engine.as_ref(), "").await, ["e/unwritten", "e/written"]);
    for name in ["e/unwritten", "e/written"] {
        assert_eq!(engine.stat(&key(name)).await.unwrap().size, 0);
        let opened = engine.read(&key(name), None).await.unwrap();
        assert_eq!((opened.size, opened.range.clone()), (0, 0..0));
        assert_eq!(opened.body.try_collect::<Vec<_>>().await.unwrap().concat(), b"");
    }
}

pub(super) async fn chunks_of_every_size_keep_their_order(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(7, 5_000_000);
    let mut writer = engine.writer(&key("order")).await.unwrap();
    let (mut at, mut length) = (0, 1);
    while at < bytes.len() {
        // Grows from single bytes to some 100 KiB, several chunks to a call, empty ones among them.
        let mut chunks = Vec::new();
        for _ in 0..3 {
            let end = (at + length).min(bytes.len());
            chunks.extend([bytes.slice(at..end), Bytes::new()]);
            at = end;
        }
        writer.write(chunks).await.unwrap();
        length = length * 5 / 4 + 1;
    }
    let mut many = vec![Bytes::from_static(b"x"); 5_000];
    many.push(Bytes::from_static(b"y"));
    writer.write(many).await.unwrap();
    writer.finish().await.unwrap();
    let read = read(engine.as_ref(), "order").await.unwrap();
    assert!(read[..bytes.len()] == bytes, "the bytes are those written");
    assert_eq!(read[bytes.len()..], [vec![b'x'; 5_000], vec![b'y']].concat());
}

pub(super) async fn sync_may_be_called_at_any_time(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(8, 4_000_000);
    let mut writer = engine.writer(&key("synced")).await.unwrap();
    let mut syncs = vec![writer.sync()];
    for chunk in 0..40 {
        writer.write(vec![bytes.slice(chunk * 100_000..(chunk + 1) * 100_000)]).await.unwrap();
        syncs.push(writer.sync());
    }
    writer.finish().await.unwrap();
    // Detached: they may be awaited after the writer is gone.
    for sync in syncs {
        sync.await.unwrap();
    }
    assert!(read(engine.as_ref(), "synced").await.unwrap() == bytes, "the bytes are those written");
}

pub(super) async fn a_large_object_streams_in_and_out(subject: &dyn Subject) {
    const CHUNKS: u64 = 96;
    let engine = subject.open().await;
    let block = content(9, 256 * 1024);
    let mut writer = engine.writer(&key("large")).await.unwrap();
    for _ in 0..CHUNKS {
        writer.write(vec![block.clone()]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap().size, CHUNKS * block.len() as u64);
    let mut body = engine.read(&key("large"), None).await.unwrap().body;
    let mut at = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.unwrap();
        assert!(!chunk.is_empty() && chunk.len() <= 4 * 1024 * 1024, "chunks are bounded: {}", chunk.len());
        let mut left = &chunk[..];
        while !left.is_empty() {
            let from = at % block.len();
            let (now, later) = left.split_at(left.len().min(block.len() - from));
            assert!(now == &block[from..from + now.len()], "wrong bytes near {at}");
            at += now.len();
            left = later;
        }
    }
    assert_eq!(at as u64, CHUNKS * block.len() as u64);
}

pub(super) async fn a_key_below_another_key_works_or_is_refused(subject: &dyn Subject) {
    let engine = subject.open().await;
    for (first, second) in [("one", "one/below"), ("two/below", "two"), ("three/a", "three/a/b/c")] {
        write(engine.as_ref(), first, &content(1, 10)).await.unwrap();
        match write(engine.as_ref(), second, &content(2, 20)).await {
            Ok(_) => assert_eq!(read(engine.as_ref(), second).await.unwrap(), content(2, 20)),
            Err(error) => {
                assert!(error.to_string().contains(second), "the error names the key: {error}");
                if subject.prefixes_are_in_the_way() {
                    continue;
                }
                assert_eq!(error.kind(), ErrorKind::Other, "{error}");
                assert_eq!(kind(engine.stat(&key(second)).await), ErrorKind::NotFound);
                assert_eq!(kind(engine.read(&key(second), None).await), ErrorKind::NotFound);
            }
        }
        engine.delete(&key(second)).await.unwrap();
        assert_eq!(read(engine.as_ref(), first).await.unwrap(), content(1, 10));
    }
}

pub(super) async fn put_small_replaces_unless_told_not_to(subject: &dyn Subject) {
    let (engine, other) = (subject.open().await, subject.open().await);
    let small = key("book/keeping.json");
    engine.put_small(&small, content(1, 300), true).await.unwrap();
    assert_eq!(kind(other.put_small(&small, content(2, 300), true).await), ErrorKind::AlreadyExists);
    assert_eq!(read(engine.as_ref(), small.as_str()).await.unwrap(), content(1, 300));
    other.put_small(&small, content(3, 20), false).await.unwrap();
    assert_eq!(read(engine.as_ref(), small.as_str()).await.unwrap(), content(3, 20));
    engine.put_small(&key("new.json"), content(4, 5), false).await.unwrap();
    assert_eq!(names(engine.as_ref(), "").await, ["book/keeping.json", "new.json"]);
}

pub(super) async fn put_small_has_one_exclusive_winner(subject: &dyn Subject) {
    let engine = subject.open().await;
    let results = join_all((0..20).map(|seed| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.put_small(&key("claim.json"), content(seed, 50), true).await })
    }));
    let results: Vec<_> = results.await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<u64> = (0..20).filter(|&seed| results[seed as usize].is_ok()).collect();
    assert_winners(subject, winners.len());
    let there = read(engine.as_ref(), "claim.json").await.unwrap();
    assert!(winners.iter().any(|&winner| there == content(winner, 50)));
}

pub(super) async fn two_instances_see_one_store(subject: &dyn Subject) {
    let (one, other) = (subject.open().await, subject.open().await);
    write(one.as_ref(), "d/by-one", &content(1, 10)).await.unwrap();
    write(other.as_ref(), "d/by-other", &content(2, 10)).await.unwrap();
    for engine in [&one, &other] {
        assert_eq!(names(engine.as_ref(), "d/").await, ["d/by-one", "d/by-other"]);
    }
    // Each deletes what the other wrote, which empties what both know as a directory, and writes again.
    one.delete(&key("d/by-other")).await.unwrap();
    other.delete(&key("d/by-one")).await.unwrap();
    assert_eq!(names(one.as_ref(), "").await, [""; 0]);
    write(one.as_ref(), "d/again", &content(3, 10)).await.unwrap();
    assert_eq!(read(other.as_ref() as &dyn Engine, "d/again").await.unwrap(), content(3, 10));
}
