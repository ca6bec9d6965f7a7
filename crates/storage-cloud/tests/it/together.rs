//! Many who read one object at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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
    for tries in 0.. {
        let _hang = [open(&engine).await, open(&engine).await];
        // What it leaves behind is kept for them.
        rest(open(&engine).await).await;
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

/// Time passes for everybody. Only where one thread runs all.
async fn pass(seconds: u64) {
    // What has come already is taken before.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn what_lies_in_memory_for_long_is_fetched_anew() {
    let bytes = content(1 << 20);
    let Some((_server, proxy, engine)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    let _hang = [open(&engine).await, open(&engine).await];
    for _ in 0..3 {
        assert!(rest(open(&engine).await).await == bytes);
        assert_eq!(proxy.windows("large").len(), 2, "the others take what the second has fetched");
        pass(10).await;
    }
    pass(40).await;
    assert!(rest(open(&engine).await).await == bytes);
    assert_eq!(proxy.windows("large").len(), 3, "who knows what became of the object");
}

#[tokio::test]
async fn who_hangs_in_many_objects_keeps_no_room_from_others() {
    let bytes = content(46 << 20);
    let Some((server, proxy, _)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    let direct = S3::open_bucket(&options(&server)).await.unwrap();
    // Memory for three windows, and somebody who holds them.
    let engine = S3::open_bucket(&S3Options { memory: 96 << 20, ..proxy.options(&server) }).await.unwrap();
    let held = content(5 << 20);
    let mut hang = Vec::new();
    for name in ["a", "b", "c"] {
        write(&direct, name, &held).await.unwrap();
        hang.push(engine.read(&key(name), None).await.unwrap().body);
        hang.push(engine.read(&key(name), None).await.unwrap().body);
        // All of it is there.
        assert!(rest(engine.read(&key(name), None).await.unwrap().body).await == held);
        assert_eq!(proxy.windows(name).len(), 2);
    }
    pass(20).await;
    for tries in 0.. {
        proxy.requests.lock().unwrap().clear();
        assert!(rest(open(&engine).await).await == bytes);
        // Who finds no memory asks for all that follows at once.
        if proxy.windows("large").contains(&(40 * MIB)) {
            break;
        }
        assert!(tries < 5, "nothing is fetched ahead: {:?}", proxy.windows("large"));
    }
    for body in hang {
        assert!(rest(body).await == held, "what was taken from it is asked for once more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_a_part_is_given_what_the_store_has() {
    let bytes = content(30 << 20);
    let Some((_server, proxy, engine)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    let _hang = [open(&engine).await, open(&engine).await];
    for tries in 0.. {
        proxy.requests.lock().unwrap().clear();
        assert!(rest(open(&engine).await).await == bytes);
        if proxy.windows("large").contains(&(16 * MIB)) || proxy.windows("large").is_empty() {
            break;
        }
        assert!(tries < 20, "nothing is fetched ahead: {:?}", proxy.windows("large"));
    }
    proxy.requests.lock().unwrap().clear();
    // Scrub reads like this.
    let body = engine.read(&key("large"), Some(0..30 * MIB)).await.unwrap().body;
    assert!(rest(body).await == bytes);
    assert!(proxy.windows("large").starts_with(&[0, 8 * MIB]), "{:?}", proxy.windows("large"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_replaced_is_not_taken_from_memory() {
    let bytes = content(5 << 20);
    let Some((_server, _proxy, engine)) = stored(&bytes, |_, _| Fate::Pass).await else { return };
    let hang = [open(&engine).await, open(&engine).await];
    engine.delete(&key("large")).await.unwrap();
    let late = engine.read(&key("large"), None).await.map(|read| read.size);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::NotFound);
    drop(hang);

    let small = |byte: u8| Bytes::from(vec![byte; 1_000]);
    engine.put_small(&key("small"), small(1), false).await.unwrap();
    let _hang = [engine.read(&key("small"), None).await.unwrap(), engine.read(&key("small"), None).await.unwrap()];
    engine.put_small(&key("small"), small(2), false).await.unwrap();
    assert!(rest(engine.read(&key("small"), None).await.unwrap().body).await == small(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_with_others_is_refused_as_soon_as_alone() {
    let opened = AtomicUsize::new(0);
    let plan =
        move |head: &str, _| match head.starts_with("GET /blobs/large") && opened.fetch_add(1, Ordering::SeqCst) > 0 {
            true => Fate::Busy,
            false => Fate::Pass,
        };
    let Some((_server, proxy, engine)) = stored(&content(1_000), plan).await else { return };
    let _alone = open(&engine).await;
    let failed = engine.read(&key("large"), None).await.map(|read| read.size).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    assert_eq!(proxy.count("GET /blobs/large"), 1 + 5);
}

#[test]
fn a_window_that_nobody_fetches_any_more_is_taken_up() {
    // Of one thread, which looks at no task again when it ends.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (here, there) = (runtime(), runtime());
    let (bytes, opened) = (content(5 << 20), AtomicUsize::new(0));
    let plan =
        move |head: &str, _| match head.starts_with("GET /blobs/large") && opened.fetch_add(1, Ordering::SeqCst) == 1 {
            true => Fate::Stop(1 << 20),
            false => Fate::Pass,
        };
    let Some((_server, _proxy, engine)) = here.block_on(stored(&bytes, plan)) else { return };
    let asking = there.block_on(async { [open(&engine).await, open(&engine).await] });
    let joined = here.block_on(open(&engine));
    drop(there);
    let read = here.block_on(async { tokio::time::timeout(Duration::from_secs(20), rest(joined)).await });
    assert!(read.expect("it waits for nobody") == bytes);
    drop(asking);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_any_size_are_read_together() {
    let Some((server, _proxy, engine)) = stored(&content(1), |_, _| Fate::Pass).await else { return };
    let direct = S3::open_bucket(&options(&server)).await.unwrap();
    for size in [0, 1, 8 << 20, (8 << 20) + 1, 16 << 20] {
        let (name, bytes) = (size.to_string(), content(size));
        write(&direct, &name, &bytes).await.unwrap();
        let read =
            futures::future::join_all((0..4).map(|_| async { engine.read(&key(&name), None).await.unwrap() })).await;
        for read in read {
            assert_eq!((read.size, read.range.clone()), (size as u64, 0..size as u64));
            assert!(rest(read.body).await == bytes, "{name}");
        }
    }
}
