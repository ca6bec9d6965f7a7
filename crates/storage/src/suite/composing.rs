//! Composing objects from staged parts.

use bytes::Bytes;

use super::Subject;
use super::objects::{content, key, kind, names, part, read, stage, write};
use crate::{ErrorKind, Part};

pub(super) async fn no_parts_make_an_empty_object(subject: &dyn Subject) {
    let engine = subject.open().await;
    engine.compose(&[], &key("c/empty")).await.unwrap();
    assert_eq!(engine.stat(&key("c/empty")).await.unwrap().size, 0);
    stage(engine.as_ref(), "s/empty", &Bytes::new()).await;
    for (number, sealed) in [true, false].into_iter().enumerate() {
        let to = format!("c/empty-{number}");
        engine.compose(&[part("s/empty", 0, sealed)], &key(&to)).await.unwrap();
        assert_eq!(read(engine.as_ref(), &to).await.unwrap(), b"");
    }
}

pub(super) async fn parts_are_joined_in_order(subject: &dyn Subject) {
    let engine = subject.open().await;
    let (one, two) = (content(1, 700_000), content(2, 30));
    stage(engine.as_ref(), "s/one", &one).await;
    stage(engine.as_ref(), "s/two", &two).await;
    for sealed in [true, false] {
        let alone = format!("c/alone-{sealed}");
        engine.compose(&[part("s/one", one.len(), sealed)], &key(&alone)).await.unwrap();
        assert!(read(engine.as_ref(), &alone).await.unwrap() == one, "one part, sealed: {sealed}");
        let joined = format!("c/joined-{sealed}");
        let parts = [part("s/two", two.len(), sealed), part("s/one", one.len(), sealed)];
        engine.compose(&parts, &key(&joined)).await.unwrap();
        assert!(read(engine.as_ref(), &joined).await.unwrap() == [two.clone(), one.clone()].concat(), "two parts");
    }
}

pub(super) async fn a_hundred_parts_are_joined(subject: &dyn Subject) {
    let engine = subject.open().await;
    let (mut parts, mut whole): (Vec<Part>, Vec<u8>) = (Vec::new(), Vec::new());
    for number in 0..100 {
        let (name, bytes) = (format!("s/{number}"), content(number, (number * 37 % 500) as usize));
        stage(engine.as_ref(), &name, &bytes).await;
        // The last byte of each was written but never committed.
        let length = bytes.len().saturating_sub(1);
        whole.extend_from_slice(&bytes[..length]);
        parts.push(part(&name, length, number % 2 == 0));
    }
    engine.compose(&parts, &key("c/hundred")).await.unwrap();
    assert_eq!(read(engine.as_ref(), "c/hundred").await.unwrap(), whole);
}

pub(super) async fn bytes_beyond_a_parts_length_do_not_count(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(1, 100_000);
    for sealed in [true, false] {
        let (from, to) = (format!("s/long-{sealed}"), format!("c/cut-{sealed}"));
        stage(engine.as_ref(), &from, &bytes).await;
        engine.compose(&[part(&from, 70_000, sealed)], &key(&to)).await.unwrap();
        assert!(read(engine.as_ref(), &to).await.unwrap() == bytes[..70_000], "sealed: {sealed}");
        let left = read(engine.as_ref(), &from).await.unwrap();
        assert!(left[..70_000] == bytes[..70_000], "the part keeps the bytes that count");
    }
}

pub(super) async fn a_part_shorter_than_its_length_is_corrupt(subject: &dyn Subject) {
    let engine = subject.open().await;
    stage(engine.as_ref(), "s/short", &content(1, 99)).await;
    stage(engine.as_ref(), "s/good", &content(2, 10)).await;
    for sealed in [true, false] {
        for parts in
            [vec![part("s/short", 100, sealed)], vec![part("s/good", 10, sealed), part("s/short", 100, sealed)]]
        {
            assert_eq!(kind(engine.compose(&parts, &key("c/never")).await), ErrorKind::Corrupt);
        }
    }
    assert_eq!(names(engine.as_ref(), "").await, ["s/good", "s/short"]);
    assert_eq!(read(engine.as_ref(), "s/short").await.unwrap(), content(1, 99));
}

pub(super) async fn a_missing_part_is_not_found(subject: &dyn Subject) {
    let engine = subject.open().await;
    stage(engine.as_ref(), "s/good", &content(2, 10)).await;
    for sealed in [true, false] {
        for parts in [vec![part("s/gone", 1, sealed)], vec![part("s/good", 10, sealed), part("s/gone", 1, sealed)]] {
            assert_eq!(kind(engine.compose(&parts, &key("c/never")).await), ErrorKind::NotFound);
        }
    }
    assert_eq!(names(engine.as_ref(), "").await, ["s/good"]);
}

pub(super) async fn parts_stay_and_may_be_deleted(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(1, 1_000);
    stage(engine.as_ref(), "s/part", &bytes).await;
    engine.compose(&[part("s/part", 1_000, true)], &key("c/object")).await.unwrap();
    assert_eq!(names(engine.as_ref(), "").await, ["c/object", "s/part"]);
    assert_eq!(read(engine.as_ref(), "s/part").await.unwrap(), bytes);
    engine.delete(&key("s/part")).await.unwrap();
    assert_eq!(names(engine.as_ref(), "").await, ["c/object"]);
    assert_eq!(read(engine.as_ref(), "c/object").await.unwrap(), bytes);
}

pub(super) async fn an_existing_key_is_not_composed_over(subject: &dyn Subject) {
    let engine = subject.open().await;
    write(engine.as_ref(), "c/object", &content(1, 50)).await.unwrap();
    stage(engine.as_ref(), "s/part", &content(2, 60)).await;
    for parts in [vec![], vec![part("s/part", 60, true)], vec![part("s/part", 60, false)]] {
        assert_eq!(kind(engine.compose(&parts, &key("c/object")).await), ErrorKind::AlreadyExists);
    }
    assert_eq!(read(engine.as_ref(), "c/object").await.unwrap(), content(1, 50));
}
