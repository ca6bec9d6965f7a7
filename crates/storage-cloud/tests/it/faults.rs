//! A network that breaks: bodies that end in the middle, answers that get lost, errors that pass.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use roadstead_storage::{Engine, ErrorKind, ObjectKey};
use roadstead_storage_cloud::{S3, S3Options};
use roadstead_testkit::servers::s3;

use crate::conformance::options;
use crate::proxy::{Fate, Proxy, content};

pub(crate) fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

pub(crate) async fn write(engine: &S3, to: &str, bytes: &Bytes) -> Result<u64, roadstead_storage::Error> {
    let mut writer = engine.writer(&key(to)).await?;
    writer.write(vec![bytes.clone()]).await?;
    Ok(writer.finish().await?.size)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_goes_on_where_it_broke() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |head, number| match head.starts_with("GET /blobs/long") {
        // Each takes a little more than the one before.
        true => Fate::Cut(200_000 + number * 1_000),
        false => Fate::Pass,
    });
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    let bytes = content(1_500_000);
    write(&direct, "long", &bytes).await.unwrap();
    for range in [None, Some(300_000..1_200_000)] {
        let opened = engine.read(&key("long"), range.clone()).await.unwrap();
        let read = opened.body.try_collect::<Vec<_>>().await.unwrap().concat();
        let range = range.map_or(0..bytes.len(), |range| range.start as usize..range.end as usize);
        assert!(read == bytes[range], "the bytes are those of the object, each once");
    }
    assert!(proxy.count("GET /blobs/long") > 6, "it was taken up again");
    let requests = proxy.requests.lock().unwrap();
    let again = requests.iter().filter(|head| head.starts_with("GET /blobs/long") && head.contains("if-match"));
    assert!(again.count() > 4, "only as long as it is the same object");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_gets_on_may_break_any_number_of_times() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |head, _| match head.starts_with("GET /blobs/long") {
        true => Fate::Cut(50_000),
        false => Fate::Pass,
    });
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    let bytes = content(1_000_000);
    write(&direct, "long", &bytes).await.unwrap();
    let body = engine.read(&key("long"), None).await.unwrap().body;
    assert!(body.try_collect::<Vec<_>>().await.unwrap().concat() == bytes);
    assert!(proxy.count("GET /blobs/long") > 20, "each brought some of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_always_breaks_ends_in_an_error() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |head, number| match (head.starts_with("GET /blobs/long"), number) {
        (true, 2) => Fate::Cut(100_000),
        (true, _) => Fate::Cut(0),
        _ => Fate::Pass,
    });
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    let bytes = content(1_000_000);
    write(&direct, "long", &bytes).await.unwrap();
    let mut body = engine.read(&key("long"), None).await.unwrap().body;
    let (mut read, mut failed) = (Vec::new(), None);
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => read.extend_from_slice(&chunk),
            Err(error) => failed = Some(error),
        }
    }
    assert!(read == bytes[..read.len()] && read.len() < bytes.len());
    let failed = failed.expect("an error in place of the rest");
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    assert!(failed.to_string().contains("long"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_opened_is_refused_soon() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |head, _| match head.starts_with("GET /blobs/away") {
        true => Fate::Busy,
        false => Fate::Pass,
    });
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    write(&direct, "away", &content(1_000)).await.unwrap();
    let failed = engine.read(&key("away"), None).await.map(|read| read.size).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    assert_eq!(proxy.count("GET /blobs/away"), 5, "more often only a body is taken up that has begun");
}

const MIB: u64 = 1 << 20;
/// Bytes of an object of several windows.
const LARGE: usize = 20 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_comes_by_windows_whatever_breaks() {
    let Some(server) = s3() else { return };
    // The first answer for each window breaks, somewhere else in each.
    let seen = Mutex::new(HashSet::new());
    let proxy = Proxy::new(&server, move |head, number| {
        let range = head.lines().find(|line| line.starts_with("range: ")).unwrap_or_default();
        match head.starts_with("GET /blobs/large") && seen.lock().unwrap().insert(range.to_owned()) && number % 3 > 0 {
            true => Fate::Cut(number * 777_777),
            false => Fate::Pass,
        }
    });
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    let bytes = content(37 << 20);
    write(&direct, "large", &bytes).await.unwrap();
    let length = bytes.len() as u64;
    for range in [None, Some(0..length), Some(5 * MIB + 1..33 * MIB + 5), Some(length - 9 * MIB..length)] {
        let opened = engine.read(&key("large"), range.clone()).await.unwrap();
        assert_eq!((opened.size, opened.range.clone()), (length, range.unwrap_or(0..length)));
        let read = opened.body.try_collect::<Vec<_>>().await.unwrap().concat();
        assert!(read == bytes[opened.range.start as usize..opened.range.end as usize]);
    }
    let requests = proxy.requests.lock().unwrap();
    let behind = requests.iter().filter(|head| head.starts_with("GET /blobs/large") && head.contains("if-match"));
    assert!(behind.count() >= 12, "each window is of the same object");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_ranges_is_asked_for_the_whole() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |head, _| match head.starts_with("GET /blobs/large") {
        true => Fate::Whole(LARGE),
        false => Fate::Pass,
    });
    let engine = proxy.open(&server).await;
    let bytes = content(LARGE);
    let opened = engine.read(&key("large"), None).await.unwrap();
    assert_eq!(opened.size, bytes.len() as u64);
    assert!(opened.body.try_collect::<Vec<_>>().await.unwrap().concat() == bytes);
    let failed = engine.read(&key("large"), Some(9 * MIB..10 * MIB)).await.map(|read| read.size).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Other);
    assert!(failed.to_string().contains("ignores Range"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_ranges_in_the_middle_brings_no_wrong_byte() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |head, _| {
        match head.starts_with("GET /blobs/large") && !head.contains("range: bytes=0-") {
            true => Fate::Whole(LARGE),
            false => Fate::Pass,
        }
    });
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    let bytes = content(LARGE);
    write(&direct, "large", &bytes).await.unwrap();
    let mut body = engine.read(&key("large"), None).await.unwrap().body;
    let (mut read, mut failed) = (Vec::new(), None);
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => read.extend_from_slice(&chunk),
            Err(error) => failed = Some(error),
        }
    }
    assert!(read == bytes[..8 << 20], "what came before it is right");
    assert!(failed.expect("an error in place of the rest").to_string().contains("ignores Range"));
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_fetched_ahead_for_who_keeps_up() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |_, _| Fate::Pass);
    let (direct, engine) = (S3::open_bucket(&options(&server)).await.unwrap(), proxy.open(&server).await);
    let bytes = content(60 << 20);
    write(&direct, "large", &bytes).await.unwrap();
    // A busy machine may make a slow client of it: then it is none that has windows ahead, and reads once more.
    let mut tries = 0;
    let body = loop {
        proxy.requests.lock().unwrap().clear();
        let mut body = engine.read(&key("large"), None).await.unwrap().body;
        let mut taken = 0;
        while taken < 2 << 20 {
            taken += body.next().await.unwrap().unwrap().len();
        }
        let fetched = async {
            while proxy.windows("large").len() < 3 {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), fetched).await.is_ok() {
            break body;
        }
        tries += 1;
        assert!(tries < 20, "nothing is fetched ahead");
    };
    // Two windows behind the first, and no more as long as it takes nothing.
    assert_eq!(proxy.windows("large"), [0, 8 * MIB, 16 * MIB]);
    drop(body);
    let read = engine.read(&key("large"), None).await.unwrap().body.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(read == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_memory_to_read_ahead_reads_all_the_same() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |_, _| Fate::Pass);
    let direct = S3::open_bucket(&options(&server)).await.unwrap();
    let bytes = content(90 << 20);
    write(&direct, "large", &bytes).await.unwrap();
    let options = S3Options { endpoint: Some(format!("http://{}", proxy.addr)), memory: 0, ..options(&server) };
    let engine = S3::open_bucket(&options).await.unwrap();
    let read = engine.read(&key("large"), None).await.unwrap().body.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(read == bytes);
    assert_eq!(proxy.windows("large"), [0, 8 * MIB, 72 * MIB], "few requests, one after the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_answer_is_lost_is_there_once() {
    let Some(server) = s3() else { return };
    let forgotten = Arc::new(AtomicUsize::new(0));
    let counted = forgotten.clone();
    let proxy = Proxy::new(&server, move |head, _| {
        let one = head.starts_with("PUT /blobs/small HTTP");
        let last = head.starts_with("POST /blobs/large?uploadId");
        match (one || last) && counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            true => Fate::Forget,
            false => Fate::Pass,
        }
    });
    let engine = proxy.open(&server).await;
    for (name, bytes) in [("small", content(1_000)), ("large", content(13 << 20))] {
        assert_eq!(write(&engine, name, &bytes).await.unwrap(), bytes.len() as u64, "{name}");
        // Its own object it takes for that; another's it does not.
        let refused = write(&engine, name, &content(10)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{name}");
        assert!(refused.to_string().starts_with("bucket blobs at http://"), "{refused}");
        let read = engine.read(&key(name), None).await.unwrap().body.try_collect::<Vec<_>>().await.unwrap().concat();
        assert!(read == bytes, "{name}");
    }
    assert!(forgotten.load(Ordering::SeqCst) >= 4);
    engine.settled().await;
    assert_eq!(server.unfinished(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_put_together_late_are_waited_for() {
    let Some(server) = s3() else { return };
    let ends = AtomicUsize::new(0);
    let proxy = Proxy::new(&server, move |head, _| match head.starts_with("POST /blobs/large?uploadId") {
        false => Fate::Pass,
        true if ends.fetch_add(1, Ordering::SeqCst) == 0 => Fate::Late(Duration::from_millis(600)),
        true => Fate::Gone,
    });
    let engine = proxy.open(&server).await;
    let bytes = content(13 << 20);
    assert_eq!(write(&engine, "large", &bytes).await.unwrap(), bytes.len() as u64);
    assert_eq!(proxy.count("POST /blobs/large?uploadId"), 2, "its end was repeated");
    let read = engine.read(&key("large"), None).await.unwrap().body.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(read == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_nobody_has_put_together_is_not_waited_for() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |head, _| match head.starts_with("HEAD /blobs/large") {
        true => Fate::Denied,
        false => Fate::Pass,
    });
    let engine = proxy.open(&server).await;
    let denied = write(&engine, "large", &content(13 << 20)).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    assert_eq!(proxy.count("POST /blobs/large?uploadId"), 0);
    assert_eq!(proxy.count("HEAD /blobs/large"), 1, "before its parts would be put together");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_two_parts_are_sent_in_one_request() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |_, _| Fate::Pass);
    let engine = proxy.open(&server).await;
    let opening = proxy.requests.lock().unwrap().len();
    let bytes = content(12 << 20);
    let mut writer = engine.writer(&key("step")).await.unwrap();
    for at in (0..bytes.len()).step_by(300_000) {
        writer.write(vec![bytes.slice(at..bytes.len().min(at + 300_000))]).await.unwrap();
    }
    writer.finish().await.unwrap();
    let requests = proxy.requests.lock().unwrap()[opening..].to_vec();
    assert!(matches!(&requests[..], [one] if one.starts_with("PUT /blobs/step HTTP")), "{requests:?}");
    let read = engine.read(&key("step"), None).await.unwrap().body.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(read == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for() {
    let Some(server) = s3() else { return };
    let proxy = Proxy::new(&server, |_, number| match number % 3 {
        0 => Fate::Pass,
        _ => Fate::Busy,
    });
    let engine = proxy.open(&server).await;
    write(&engine, "busy", &content(100)).await.unwrap();
    assert_eq!(engine.stat(&key("busy")).await.unwrap().size, 100);
    assert_eq!(engine.list("", None, 10).await.unwrap().len(), 1);
    engine.delete(&key("busy")).await.unwrap();
    assert_eq!(engine.stat(&key("busy")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_denied_once_is_tried_again() {
    let Some(server) = s3() else { return };
    // Each request the first time that it comes.
    let seen = Mutex::new(HashSet::new());
    let proxy = Proxy::new(&server, move |head, _| {
        let write = head.starts_with("PUT") || head.starts_with("POST");
        let first = || seen.lock().unwrap().insert(head.lines().next().unwrap().to_owned());
        match write && (head.contains("/always") || first()) {
            true => Fate::Denied,
            false => Fate::Pass,
        }
    });
    let engine = proxy.open(&server).await;
    write(&engine, "small", &content(1_000)).await.unwrap();
    write(&engine, "large", &content(13 << 20)).await.unwrap();
    assert_eq!(server.keys(), ["large", "small"]);
    assert_eq!(write(&engine, "always", &content(10)).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(proxy.count("PUT /blobs/always"), 2);
}
