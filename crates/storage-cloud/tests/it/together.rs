//! Many who read one object at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use roadstead_storage::{Body, Engine, ErrorKind};
use roadstead_storage_cloud::{S3, S3Options};
use roadstead_testkit::servers::{S3Server, s3};

use crate::conformance::options;
use crate::faults::{key, write};
use crate::proxy::{Fate, Proxy, content};

const MIB: u64 = 1 << 20;

/// A store that holds these bytes as `large`, a proxy before it, and an engine that reads through that.
async fn stored(
    bytes: &Bytes,
    plan: impl Fn(&str, usize) -> Fate + Send + Sync + 'static,
) -> Option<(S3Server, Proxy, S3)> {
    let server = s3()?;
    let proxy = Proxy::new(&server, plan);
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    write(&direct, "large", bytes).await.unwrap();
    Some((server, proxy, engine))
}

async fn open(engine: &S3) -> Body {
    engine.read(&key("large"), None).await.unwrap().body
}

async fn rest(body: Body) -> Vec<u8> {
    body.try_collect::<Vec<_>>().await.unwrap().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_read_is_fetched_once() {
    let bytes = content(5 << 20);
    let Some((_server, proxy, engine)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    let first = open(&engine).await;
    let others = futures::future::join_all((0..20).map(|_| async { rest(open(&engine).await).await })).await;
    assert!(others.iter().all(|read| *read == bytes));
    assert!(rest(first).await == bytes);
    assert_eq!(proxy.windows("large"), [0, 0], "once for who was alone, once for all others");
    // Nothing is held for who comes later.
    assert!(rest(open(&engine).await).await == bytes);
    assert_eq!(proxy.windows("large"), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_takes_what_others_have_fetched() {
    let bytes = content(38 << 20);
    let Some((_server, proxy, engine)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    // On a busy machine some may be too slow, and read what follows alone.
    for tries in 0.. {
        proxy.requests.lock().unwrap().clear();
        let bodies = futures::future::join_all((0..6).map(|_| open(&engine))).await;
        let read = futures::future::join_all(bodies.into_iter().map(|body| tokio::spawn(rest(body)))).await;
        assert!(read.into_iter().all(|read| read.unwrap() == bytes));
        let windows = proxy.windows("large");
        if windows.len() <= 6 {
            assert!(windows.ends_with(&[0, 8 * MIB, 16 * MIB, 24 * MIB, 32 * MIB]), "{windows:?}");
            break;
        }
        assert!(tries < 20, "each asks for himself: {windows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_are_kept_give_way_to_the_next() {
    let bytes = content(46 << 20);
    let Some((server, proxy, _)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    // Memory for two windows.
    let engine = S3::open_bucket(&S3Options { memory: 64 << 20, ..proxy.options(&server) }).await.unwrap();
    for tries in 0.. {
        proxy.requests.lock().unwrap().clear();
        let bodies = [open(&engine).await, open(&engine).await];
        let read = futures::future::join_all(bodies.map(|body| tokio::spawn(rest(body)))).await;
        assert!(read.into_iter().all(|read| read.unwrap() == bytes));
        let windows = proxy.windows("large");
        // Who finds no memory asks for all that follows at once.
        if windows.contains(&(40 * MIB)) {
            break;
        }
        assert!(tries < 20, "nothing is fetched ahead in the end: {windows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_keeps_no_room_from_readers_of_other_objects() {
    let bytes = content(46 << 20);
    let Some((server, proxy, _)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    let direct = S3::open_bucket(&options(&server)).await.unwrap();
    write(&direct, "other", &bytes).await.unwrap();
    // Memory for three windows, one of which the second holds.
    let engine = S3::open_bucket(&S3Options { memory: 96 << 20, ..proxy.options(&server) }).await.unwrap();
    let _hang = [open(&engine).await, open(&engine).await];
    // What it leaves behind is kept for them.
    rest(open(&engine).await).await;
    for tries in 0.. {
        proxy.requests.lock().unwrap().clear();
        let body = engine.read(&key("other"), None).await.unwrap().body;
        assert!(rest(body).await == bytes);
        // Who finds no memory asks for all that follows at once.
        if proxy.windows("other").contains(&(40 * MIB)) {
            break;
        }
        assert!(tries < 20, "nothing is fetched ahead: {:?}", proxy.windows("other"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_breaks_is_taken_up_by_each_who_reads_it() {
    let bytes = content(5 << 20);
    let asked = AtomicUsize::new(0);
    let plan =
        move |head: &str, _| match head.starts_with("GET /blobs/large") && asked.fetch_add(1, Ordering::SeqCst) == 1 {
            true => Fate::Cut(1 << 20),
            false => Fate::Pass,
        };
    let Some((_server, proxy, engine)) = stored(&bytes, plan).await else { return };
    let alone = open(&engine).await;
    let others = futures::future::join_all((0..3).map(|_| async { rest(open(&engine).await).await })).await;
    assert!(others.iter().all(|read| *read == bytes));
    assert!(rest(alone).await == bytes);
    assert!(proxy.count("GET /blobs/large") >= 5, "once more by each of the three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_outlives_who_asked_for_it() {
    let bytes = content(5 << 20);
    let Some((_server, proxy, engine)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    let alone = open(&engine).await;
    let asking = open(&engine).await;
    let joined = open(&engine).await;
    drop((alone, asking));
    assert!(rest(joined).await == bytes);
    assert_eq!(proxy.windows("large"), [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_another_object_under_the_same_key_are_nobody_elses() {
    let (old, new) = (content(30 << 20), Bytes::from(vec![7; 30 << 20]));
    let Some((server, _proxy, engine)) = stored(&old, |_, _| Fate::Pass).await else { return };
    let mut before = open(&engine).await;
    let mut read = before.next().await.unwrap().unwrap().to_vec();
    let direct = S3::open_bucket(&options(&server)).await.unwrap();
    direct.delete(&key("large")).await.unwrap();
    write(&direct, "large", &new).await.unwrap();

    // It has windows ahead, which the other one would take.
    let mut after = open(&engine).await;
    let mut taken = Vec::new();
    while taken.len() < 4 << 20 {
        taken.extend_from_slice(&after.next().await.unwrap().unwrap());
    }
    let failed = loop {
        match before.next().await.expect("an error before the end") {
            Ok(chunk) => read.extend_from_slice(&chunk),
            Err(error) => break error,
        }
    };
    assert!(read == old[..read.len()], "a byte of another object");
    assert_eq!(failed.kind(), ErrorKind::Corrupt, "{failed}");
    taken.extend(rest(after).await);
    assert!(taken == new);
}
