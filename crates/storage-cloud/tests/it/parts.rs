//! Objects in parts: what is left of those that never became one, and what joining costs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use roadstead_storage::{Engine, ErrorKind, ObjectKey, Part};
use roadstead_storage_cloud::{S3, S3Options, Secret};
use roadstead_testkit::servers::{S3Server, minio, s3};

use crate::conformance::options;

const MIB: usize = 1 << 20;

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

fn content(seed: u8, length: usize) -> Bytes {
    (0..length).map(|at| (at / 251 + at) as u8 ^ seed).collect()
}

async fn opened() -> Option<(S3Server, S3)> {
    Some(opened_on(s3()?).await)
}

async fn opened_on(server: S3Server) -> (S3Server, S3) {
    let options = S3Options { part_size: 5 * MIB, ..options(&server) };
    let engine = S3::open_bucket(&options).await.unwrap();
    (server, engine)
}

async fn write(engine: &S3, to: &str, bytes: &Bytes) {
    let mut writer = engine.writer(&key(to)).await.unwrap();
    writer.write(vec![bytes.clone()]).await.unwrap();
    writer.finish().await.unwrap();
}

async fn read(engine: &S3, from: &str) -> Vec<u8> {
    engine.read(&key(from), None).await.unwrap().body.try_collect::<Vec<_>>().await.unwrap().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_leaves_no_parts() {
    for server in [s3(), minio()] {
        let Some(server) = server else { return };
        given_up(opened_on(server).await).await;
    }
}

async fn given_up((server, engine): (S3Server, S3)) {
    let begin = async |name: &str| {
        let mut writer = engine.writer(&key(name)).await.unwrap();
        writer.write(vec![content(1, 17 * MIB)]).await.unwrap();
        writer
    };
    let aborted = begin("aborted").await;
    assert!(!server.unfinished().is_empty(), "it is sent in parts");
    aborted.abort().await.unwrap();
    drop(begin("dropped").await);
    // One that comes second is told so, and its parts go.
    let second = begin("taken").await;
    write(&engine, "taken", &content(2, 10)).await;
    assert_eq!(second.finish().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    engine.settled().await;
    assert_eq!(server.unfinished(), [""; 0]);
    assert_eq!(server.keys(), ["taken"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_are_open_keep_no_other_from_its_end() {
    let Some(server) = s3() else { return };
    let options = S3Options { part_size: 5 * MIB, requests: 1, ..options(&server) };
    let engine = S3::open_bucket(&options).await.unwrap();
    let bytes = content(3, 13 * MIB);
    let all = async {
        let mut open = Vec::new();
        for number in 0..3 {
            let mut writer = engine.writer(&key(&format!("open/{number}"))).await.unwrap();
            writer.write(vec![bytes.clone()]).await.unwrap();
            open.push(writer);
        }
        for writer in open {
            assert_eq!(writer.finish().await.unwrap().size, bytes.len() as u64);
        }
    };
    // Only so that one that waits for itself fails.
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("all come to their end");
    assert!(read(&engine, "open/2").await == bytes);
}

/// An engine whose uploads hold in memory as little as can be; how many bytes that is.
async fn with_little_memory(server: &S3Server) -> (S3, usize) {
    let cores = thread::available_parallelism().unwrap().get();
    let options = S3Options { part_size: 5 * MIB, memory: 0, ..options(server) };
    (S3::open_bucket(&options).await.unwrap(), IN_ONE.max(5 * MIB * cores))
}

/// What is sent in one request when parts are of 5 MiB.
const IN_ONE: usize = 12 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_wait_for_their_end_hold_what_is_counted() {
    let Some(server) = s3() else { return };
    let memory = 1_000 * MIB;
    let engine = S3::open_bucket(&S3Options { part_size: 5 * MIB, memory, ..options(&server) }).await.unwrap();
    // Not even, as counted.
    let chunk = content(6, MIB).slice(..MIB - 5);
    let mut open = Vec::new();
    'all: loop {
        let mut writer = engine.writer(&key(&format!("held/{}", open.len()))).await.unwrap();
        for _ in 0..IN_ONE / MIB {
            match futures::FutureExt::now_or_never(writer.write(vec![chunk.clone()])) {
                Some(held) => held.unwrap(),
                None => break 'all,
            }
        }
        open.push(writer);
        tokio::task::yield_now().await;
    }
    let held = open.len() * IN_ONE;
    assert!(held <= memory && held > memory - 4 * IN_ONE, "{} uploads hold {held} bytes of {memory}", open.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_hold_no_more_memory_than_there_is() {
    let Some(server) = s3() else { return };
    let (engine, most) = with_little_memory(&server).await;
    let bytes = content(4, 4 * MIB);
    let mut open = Vec::new();
    let mut waiting = loop {
        let mut writer = engine.writer(&key(&format!("held/{}", open.len()))).await.unwrap();
        // Less than a part: nothing is sent yet.
        let held = futures::FutureExt::now_or_never(writer.write(vec![bytes.clone()]));
        match held {
            Some(held) => held.unwrap(),
            None => break writer,
        }
        open.push(writer);
        assert!(open.len() * bytes.len() <= most, "{} uploads hold {} bytes each", open.len(), bytes.len());
    };
    assert!(!open.is_empty());
    let again = tokio::spawn(async move {
        waiting.write(vec![content(5, 6 * MIB)]).await.unwrap();
        waiting.finish().await.unwrap().size
    });
    for writer in open {
        writer.finish().await.unwrap();
    }
    assert_eq!(again.await.unwrap(), 6 * MIB as u64, "it gets on when others have ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_uploads_come_to_their_end_in_little_memory() {
    let Some(server) = s3() else { return };
    let (engine, _) = with_little_memory(&server).await;
    let upload = async |number: u8| {
        let mut writer = engine.writer(&key(&format!("many/{number}"))).await.unwrap();
        let bytes = content(number, 17 * MIB);
        for at in (0..bytes.len()).step_by(MIB) {
            writer.write(vec![bytes.slice(at..bytes.len().min(at + MIB))]).await.unwrap();
            // The others come as far.
            tokio::task::yield_now().await;
        }
        assert_eq!(writer.finish().await.unwrap().size, bytes.len() as u64);
    };
    let all = futures::future::join_all((0..8).map(upload));
    // Only so that some that wait for each other fail.
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("all come to their end");
    assert!(read(&engine, "many/7").await == content(7, 17 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_all_sizes_are_joined_with_their_lengths() {
    let Some((server, engine)) = opened().await else { return };
    // Larger than a part may be small, smaller, and longer than what counts.
    let sizes =
        [(12 * MIB, 12 * MIB), (100, 100), (6 * MIB, 6 * MIB - 3), (3 * MIB, 2 * MIB), (8 * MIB, 8 * MIB), (1, 1)];
    let (mut parts, mut whole) = (Vec::new(), Vec::new());
    for (number, (size, counts)) in sizes.into_iter().enumerate() {
        let (name, bytes) = (format!("uploads/{number}"), content(number as u8, size));
        write(&engine, &name, &bytes).await;
        whole.extend_from_slice(&bytes[..counts]);
        parts.push(Part { key: key(&name), length: counts as u64, sealed: true });
    }
    engine.compose(&parts, &key("whole")).await.unwrap();
    assert!(read(&engine, "whole").await == whole, "the bytes are those of the parts");
    assert_eq!(engine.stat(&key("whole")).await.unwrap().size, whole.len() as u64);
    // A part that is one object and counts whole, and one of which only the head counts.
    engine.compose(&parts[..1], &key("copied")).await.unwrap();
    engine.compose(&parts[2..3], &key("head")).await.unwrap();
    assert!(read(&engine, "copied").await == whole[..12 * MIB], "copied");
    assert!(read(&engine, "head").await == content(2, 6 * MIB)[..6 * MIB - 3], "head");
    engine.settled().await;
    assert_eq!(server.unfinished(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lists_no_unfinished_uploads_is_not_swept() {
    let Some((_server, engine)) = opened().await else { return };
    let engine: Arc<dyn Engine> = Arc::new(engine);
    let swept = engine.sweep().unwrap().remove_stale(Duration::ZERO).await.unwrap();
    assert_eq!(swept.files, 0);
}

/// A server with unfinished uploads on two pages, at noon of its clock. Answers its address and what it was asked.
fn with_unfinished_uploads() -> (String, Arc<Mutex<Vec<String>>>) {
    let upload = |key: &str, id: &str, at: &str| {
        format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{at}</Initiated></Upload>")
    };
    let page = |uploads: String, more: &str| {
        format!("<?xml version=\"1.0\"?><ListMultipartUploadsResult>{more}{uploads}</ListMultipartUploadsResult>")
    };
    let first =
        upload("r/blobs/old", "a+1", "2026-11-20T12:00:00.000Z") + &upload("r/blobs/new", "b", "2026-11-22T11:59:00Z");
    let marks = "<IsTruncated>true</IsTruncated><NextKeyMarker>r/blobs/new</NextKeyMarker><NextUploadIdMarker>b</NextUploadIdMarker>";
    let second = upload("r/uploads/old", "c", "2026-11-21T11:00:00.000Z")
        + &upload("elsewhere/old", "d", "2020-01-01T00:00:00Z");
    let (first, second) = (page(first, marks), page(second, "<IsTruncated>false</IsTruncated>"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            let signed = lines
                .take_while(|line| !line.is_empty())
                .any(|line| line.starts_with("authorization: AWS4-HMAC-SHA256"));
            let (status, body) = match request.as_str() {
                _ if !signed => ("403 Forbidden", ""),
                it if it.starts_with("DELETE") => ("204 No Content", ""),
                it if it.contains("key-marker=r%2Fblobs%2Fnew") && it.contains("upload-id-marker=b") => {
                    ("200 OK", &*second)
                }
                it if it.contains("uploads=") => ("200 OK", &*first),
                // The first look at the bucket.
                _ => ("200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
            };
            seen.lock().unwrap().push(request);
            let head = format!("HTTP/1.1 {status}\r\ndate: Sun, 22 Nov 2026 12:00:00 GMT\r\nconnection: close\r\n");
            let _ = connection.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    (endpoint, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_unfinished_uploads_below_our_root_are_given_up() {
    let (endpoint, asked) = with_unfinished_uploads();
    let credentials = Some((Secret::new("AK"), Secret::new("SK")));
    let options =
        S3Options { endpoint: Some(endpoint), credentials, root: "/r/".into(), ..S3Options::new("b", "us-east-1") };
    let engine = S3::open_bucket(&options).await.unwrap();
    let swept = engine.sweep().unwrap().remove_stale(Duration::from_secs(86_400)).await.unwrap();
    assert_eq!(swept.files, 2);
    let mut given_up = asked.lock().unwrap().clone();
    given_up.retain(|request| request.starts_with("DELETE"));
    assert_eq!(
        given_up,
        ["DELETE /b/r/blobs/old?uploadId=a%2B1 HTTP/1.1", "DELETE /b/r/uploads/old?uploadId=c HTTP/1.1"]
    );
}
