//! What a disk that hangs holds up, and what ends it. It counts as hanging as soon as a write is under way.

use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{CWD, Mode, mkfifoat};
use tokio::time::timeout;

use super::*;
use crate::Part;
use crate::identity::IDENTITY_KEY;
use threads::MOST;

fn open(scratch: &Scratch) -> Filesystem {
    Filesystem::open_with(scratch.directory.path(), Duration::ZERO).unwrap()
}

async fn name(engine: &Filesystem) {
    engine.put_small(&key(IDENTITY_KEY), Bytes::from_static(b"{}"), true).await.unwrap();
}

/// Keeps every thread that reads busy until it is dropped.
struct Busy(#[allow(dead_code, reason = "its end is what they wait for")] mpsc::Sender<()>);

impl Busy {
    fn all() -> Self {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        for _ in 0..MOST {
            let ended = ended.clone();
            drop(threads::spawn(Lane::Read, move || ended.lock().recv()));
        }
        Self(end)
    }
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

/// Until the probe fails, as something is being read that waits.
async fn until_noticed(engine: &Filesystem, what: &str) -> Error {
    let noticed = async {
        loop {
            match engine.probe().await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    timeout(Duration::from_secs(10), noticed).await.unwrap_or_else(|_| panic!("{what} that waits counts"))
}

/// Until no trial is under way any longer: one that comes through late forgives what waits by then.
async fn until_tried(engine: &Filesystem) {
    let reads = &engine.store.traffic.reads;
    let tried = async {
        loop {
            match reads.begin_trial() {
                Some(trial) => return reads.give_up(trial),
                None => tokio::task::yield_now().await,
            }
        }
    };
    timeout(Duration::from_secs(10), tried).await.expect("a trial ends");
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
    let hanging = engine.store.traffic.writes.begin();
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
    name(&engine).await;
    // As one does that waits for a filesystem that was detached.
    let _lost = engine.store.traffic.writes.begin();
    until(&engine, true).await;
    write(&engine, "a/b", "bytes").await.unwrap();
    engine.probe().await.unwrap();
}

#[tokio::test]
async fn a_probe_waits_behind_no_read() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    name(&engine).await;
    let _busy = Busy::all();
    let probed = timeout(Duration::from_secs(10), engine.probe()).await;
    probed.expect("a disk that is busy is not one that is gone").unwrap();
}

#[tokio::test]
async fn reads_that_hang_are_noticed_until_they_end() {
    let scratch = Scratch::new();
    let mut engine = open(&scratch);
    Arc::get_mut(&mut engine.store).unwrap().asks_for_cached = false;
    name(&engine).await;
    write(&engine, "a/b", vec![7; 4 << 20]).await.unwrap();
    type Ask = fn(Filesystem) -> futures::future::BoxFuture<'static, Result<(), Error>>;
    let asks: [(&str, Ask); 3] = [
        ("a look", |engine| Box::pin(async move { engine.stat(&key("a/b")).await.map(drop) })),
        ("a list", |engine| Box::pin(async move { engine.list("a/", None, 1).await.map(drop) })),
        ("a read", |engine| Box::pin(async move { read(&engine, "a/b").await.map(drop) })),
    ];
    for (what, ask) in asks {
        until(&engine, true).await;
        engine.probe().await.unwrap();
        let busy = Busy::all();
        let asked = tokio::spawn(ask(engine.clone()));
        let error = until_noticed(&engine, what).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
        drop(busy);
        asked.await.unwrap().unwrap();
        until_tried(&engine).await;
    }
}

#[tokio::test]
async fn a_chunk_that_hangs_is_noticed() {
    let scratch = Scratch::new();
    let mut engine = open(&scratch);
    Arc::get_mut(&mut engine.store).unwrap().asks_for_cached = false;
    name(&engine).await;
    write(&engine, "a", vec![7; 16 << 20]).await.unwrap();
    let body = engine.read(&key("a"), None).await.unwrap().body;
    let busy = Busy::all();
    let reading = tokio::spawn(body.try_collect::<Vec<Bytes>>());
    until_noticed(&engine, "a chunk").await;
    drop(busy);
    assert_eq!(reading.await.unwrap().unwrap().concat().len(), 16 << 20);
}

#[tokio::test]
async fn a_read_that_never_ends_does_not_count_for_ever() {
    let scratch = Scratch::new();
    let engine = open(&scratch);
    name(&engine).await;
    let _lost = engine.store.traffic.reads.begin();
    assert_eq!(engine.probe().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let answered = async {
        while engine.probe().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), answered).await.expect("the disk answers all the time");
}
