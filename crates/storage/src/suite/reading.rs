//! Reading: exactly the bytes asked for.

use super::Subject;
use super::objects::{collect, content, key, kind, write};
use crate::ErrorKind;

/// Around the sizes at which engines change their ways: one hop, chunks, read ahead.
const SIZES: [usize; 6] = [1, 1_000, 64 * 1024, 64 * 1024 + 1, 600_000, 3_000_000];

pub(super) async fn ranges_are_exact(subject: &dyn Subject) {
    let engine = subject.open().await;
    for size in SIZES {
        let name = format!("ranges/{size}");
        let bytes = content(size as u64, size);
        write(engine.as_ref(), &name, &bytes).await.unwrap();
        let half = size / 2;
        let all = [0..size, 0..1, size - 1..size, 0..half, half..size, size / 3..size - size / 3];
        for range in all.into_iter().filter(|range| range.start < range.end) {
            let wish = range.start as u64..range.end as u64;
            let opened = engine.read(&key(&name), Some(wish.clone())).await.unwrap();
            assert_eq!((opened.size, opened.range.clone()), (size as u64, wish));
            assert!(collect(opened).await.unwrap() == bytes[range.clone()], "bytes {range:?} of {size}");
        }
        let opened = engine.read(&key(&name), None).await.unwrap();
        assert_eq!((opened.size, opened.range.clone()), (size as u64, 0..size as u64));
        assert!(collect(opened).await.unwrap() == bytes, "all {size} bytes");
    }
}

pub(super) async fn ranges_outside_are_refused(subject: &dyn Subject) {
    let engine = subject.open().await;
    write(engine.as_ref(), "ten", &content(1, 10)).await.unwrap();
    write(engine.as_ref(), "none", &content(1, 0)).await.unwrap();
    #[allow(clippy::reversed_empty_ranges, reason = "a wish may be nonsense")]
    let wishes = [
        ("ten", 0..11),
        ("ten", 10..11),
        ("ten", 3..3),
        ("ten", 5..2),
        ("ten", u64::MAX - 1..u64::MAX),
        ("none", 0..1),
    ];
    for (name, wish) in wishes {
        assert_eq!(kind(engine.read(&key(name), Some(wish.clone())).await), ErrorKind::InvalidRange, "{name} {wish:?}");
    }
}

pub(super) async fn absent_objects_are_not_found(subject: &dyn Subject) {
    let engine = subject.open().await;
    write(engine.as_ref(), "there/is/one", &content(1, 10)).await.unwrap();
    let prefixes: &[&str] = if subject.prefixes_are_in_the_way() { &[] } else { &["there", "there/is"] };
    for name in ["absent", "there/is/none", "there/is/one/below"].iter().chain(prefixes) {
        assert_eq!(kind(engine.stat(&key(name)).await), ErrorKind::NotFound, "{name}");
        assert_eq!(kind(engine.read(&key(name), None).await), ErrorKind::NotFound, "{name}");
        assert_eq!(kind(engine.read(&key(name), Some(0..1)).await), ErrorKind::NotFound, "{name}");
    }
}

pub(super) async fn a_reader_outlives_its_engine(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(1, 2_000_000);
    write(engine.as_ref(), "long", &bytes).await.unwrap();
    let opened = engine.read(&key("long"), None).await.unwrap();
    drop(engine);
    assert!(collect(opened).await.unwrap() == bytes, "the bytes are those written");
}

pub(super) async fn a_version_lasts_as_long_as_the_bytes(subject: &dyn Subject) {
    let engine = subject.open().await;
    let bytes = content(1, 100_000);
    let mut writer = engine.writer(&key("lasts")).await.unwrap();
    writer.write(vec![bytes.clone()]).await.unwrap();
    let written = writer.finish().await.unwrap();
    let ranges = [None, Some(5..90_000)];
    for range in ranges {
        let opened = engine.read(&key("lasts"), range).await.unwrap();
        assert_eq!(opened.version, written.version, "a read says which bytes it reads");
        collect(opened).await.unwrap();
        assert_eq!(engine.stat(&key("lasts")).await.unwrap(), written, "looking changes nothing");
    }
    let Some(extend) = engine.extend() else { return };
    extend.append(&key("grows"), 0).await.unwrap().finish().await.unwrap();
    for length in [0, 10, 10, 0] {
        let before = engine.stat(&key("grows")).await.unwrap();
        let mut writer = extend.append(&key("grows"), length).await.unwrap();
        writer.write(vec![content(length, 10)]).await.unwrap();
        writer.finish().await.unwrap();
        let after = engine.stat(&key("grows")).await.unwrap();
        assert!(after.version != before.version || after.version.is_none(), "other bytes have another version");
    }
}
