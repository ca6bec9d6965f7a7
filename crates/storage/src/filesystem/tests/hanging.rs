//! What a disk that hangs holds up, and what ends it. It counts as hanging as soon as a write is under way.

use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use tokio::time::timeout;

use super::*;
use crate::Part;

fn open(scratch: &Scratch) -> Filesystem {
    Filesystem::open_with(scratch.directory.path(), Progress::with_patience(Duration::ZERO)).unwrap()
}

/// Until new writes are answered so.
async fn until(engine: &Filesystem, taken: bool) {
    let until = async {
        while engine.writer(&key("new")).await.is_ok() != taken {
            let _ = engine.probe().await;
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), until).await.expect("the disk hangs, or does not, for ever");
}

async fn append(engine: &Filesystem, length: u64, bytes: &'static str) -> Result<ObjectStat, Error> {
    let mut staged = engine.append(&key("u/0"), length).await?;
    staged.write(vec![Bytes::from_static(bytes.as_bytes())]).await?;
    staged.finish().await
}

#[tokio::test]
async fn what_is_under_way_goes_on_while_nothing_new_begins() {
    let scratch = Scratch::new();
    let engine = open(&scratch);
    append(&engine, 0, "first, ").await.unwrap();
    let hanging = engine.store.writes.begin();
    let refused = [
        engine.writer(&key("a")).await.err().unwrap(),
        engine.append(&key("u/1"), 0).await.err().unwrap(),
        engine.put_small(&key("small"), Bytes::new(), true).await.unwrap_err(),
        engine.delete(&key("u/0")).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    }
    append(&engine, 7, "second").await.unwrap();
    engine.compose(&[Part { key: key("u/0"), length: 13, sealed: true }], &key("whole")).await.unwrap();
    assert_eq!(read(&engine, "whole").await.unwrap(), b"first, second");
    drop(hanging);
}

#[tokio::test]
async fn every_write_that_waits_counts() {
    let scratch = Scratch::new();
    let engine = open(&scratch);
    fs::create_dir(scratch.path("u")).unwrap();
    // It is opened only when somebody opens the other end.
    mkfifoat(CWD, scratch.path("u/0"), Mode::RUSR | Mode::WUSR).unwrap();
    let part = Part { key: key("u/0"), length: 1, sealed: false };
    let composing = tokio::spawn({
        let engine = engine.clone();
        async move { engine.compose(&[part], &key("whole")).await }
    });
    let until = async {
        while engine.writer(&key("new")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let noticed = timeout(Duration::from_secs(5), until).await;
    // Kept open: it may be counted before it waits.
    let _other_end = fs::File::options().read(true).write(true).open(scratch.path("u/0")).unwrap();
    assert_eq!(composing.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound, "it is no file");
    noticed.unwrap();
    engine.writer(&key("new")).await.unwrap();
}

#[tokio::test]
async fn a_write_that_never_ends_holds_nobody_up_for_ever() {
    let scratch = Scratch::new();
    let engine = open(&scratch);
    engine.put_small(&key(crate::identity::IDENTITY_KEY), Bytes::from_static(b"{}"), true).await.unwrap();
    // As one does that waits for a filesystem that was detached.
    let _lost = engine.store.writes.begin();
    until(&engine, true).await;
    write(&engine, "a/b", "bytes").await.unwrap();
    engine.probe().await.unwrap();
}
