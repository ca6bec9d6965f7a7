//! Clients that lie, stop in the middle, or do nothing: clear answers, bounded memory, nothing stored.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;

use roadstead_testkit::{Body, Content, Image, Request, Seed, Server, digest};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::scale;

/// Sends bytes as they are and reads whatever comes until the server closes.
fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    // A reset is an answer too: the server had heard enough.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Bytes of published blobs on disk.
fn published(directory: &Path) -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => walk(&entry.path(), found),
                _ => found.push(entry.path().display().to_string()),
            }
        }
    }
    let mut found = Vec::new();
    walk(&directory.join("blobs/blobs"), &mut found);
    found
}

#[test]
fn a_body_that_ends_early_stores_nothing() {
    let server = scale::launch().start();
    let client = server.client();
    let bytes = Content::new(Seed(1), 1_000).to_vec();
    let digest = digest(&bytes);
    let upload = client.begin("bad").unwrap();
    let separator = if upload.location.contains('?') { '&' } else { '?' };
    let head = |method: &str, target: &str, length: usize| {
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    };
    for target in
        [format!("{}{separator}digest={digest}", upload.location), format!("/v2/bad/blobs/uploads/?digest={digest}")]
    {
        let method = if target.contains("uploads/?") { "POST" } else { "PUT" };
        let mut request = head(method, &target, 1_000);
        request.extend(&bytes[..500]);
        let answer = raw(&server, &request);
        assert!(!answer.contains(" 201 "), "{answer}");
    }
    assert!(!client.has_blob("bad", &digest).unwrap());
    assert_eq!(published(server.directory()), Vec::<String>::new());
    // What is published is found where it is looked for.
    client.push_blob("bad", &bytes).unwrap();
    assert_eq!(published(server.directory()).len(), 1);
}

#[test]
fn a_length_that_is_too_small_is_found_by_the_digest() {
    let server = scale::launch().start();
    let bytes = Content::new(Seed(1), 1_000).to_vec();
    let request = format!(
        "POST /v2/bad/blobs/uploads/?digest={} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400\r\n\r\n",
        digest(&bytes)
    );
    let answer = raw(&server, &[request.as_bytes(), &bytes].concat());
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("DIGEST_INVALID"), "{answer}");
    assert_eq!(published(server.directory()), Vec::<String>::new());
}

#[test]
fn requests_that_are_none_are_refused() {
    let server = scale::launch().start();
    for request in [
        "GARBAGE\r\n\r\n",
        "GET /v2/ HTTP/9.9\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "PUT /v2/bad/manifests/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let answer = raw(&server, request.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?}: {answer}");
    }
    let long = format!("GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(200_000));
    let answer = raw(&server, long.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(server.client().call("GET", "/v2/").unwrap().status, 200);
}

#[test]
fn a_request_inside_of_a_body_is_never_carried_out() {
    let server = scale::launch().start();
    server.client().push_image("smuggle", "stays", &Image::generate(Seed(1), &[10])).unwrap();
    let inner = "DELETE /v2/smuggle/manifests/stays HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = inner.len();
    for head in [
        // Two framings: whoever goes by the length ends the body after `inner`, whoever goes by the chunks before it.
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n", length + 5),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n\r\n"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n\r\n"),
        format!("Content-Length: {length}\r\n\r\n"),
    ] {
        let request = format!("POST /v2/smuggle/blobs/uploads/ HTTP/1.1\r\nHost: localhost\r\n{head}{inner}");
        let answer = raw(&server, request.as_bytes());
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{head:?}: {answer}");
        assert_eq!(server.client().call("GET", "/v2/smuggle/manifests/stays").unwrap().status, 200, "{head:?}");
    }
}

#[test]
fn manifests_too_large_or_too_deep_are_refused() {
    let server = scale::launch().start();
    let client = server.client();
    let put = |body: Body<'_>| {
        let request = Request::new("PUT", "/v2/bad/manifests/latest").header("Content-Type", Image::MANIFEST);
        client.send(&request, body).unwrap()
    };
    let large = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "a".repeat(5 << 20)).into_bytes();
    assert_eq!(put(Body::Bytes(&large)).status, 413);
    assert_eq!(put(Body::Chunked(&mut large.as_slice())).status, 413);
    for deep in [
        "[".repeat(1 << 20),
        "{\"a\":".repeat(200_000),
        format!("{{\"x\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let answer = put(Body::Bytes(deep.as_bytes()));
        assert_eq!((answer.status, answer.error_code().as_deref()), (400, Some("MANIFEST_INVALID")));
    }
    assert_eq!(client.call("GET", "/v2/bad/manifests/latest").unwrap().status, 404);
    assert_eq!(published(server.directory()), Vec::<String>::new());
}

#[test]
fn idle_connections_leave_descriptors_for_pushes_and_pulls() {
    let few = ["sh", "-c", "ulimit -n 500; exec \"$@\"", "sh"];
    let server = scale::launch().under(&few).start();
    // Until it has looked at everything once, it says that it is starting.
    while server.client().call("GET", "/load_balancer_status").unwrap().status != 200 {
        thread::yield_now();
    }
    let mut connections = Vec::new();
    for number in 0..600 {
        connections.push(TcpStream::connect(server.addr()).unwrap());
        if number % 50 == 0 {
            assert_eq!(server.client().call("GET", "/load_balancer_status").unwrap().status, 200, "after {number}");
        }
    }
    let client = server.client();
    for number in 0..5 {
        let image = Image::generate(Seed(number), &[10_000, 500_000]);
        client.push_image("few", "latest", &image).unwrap();
        assert_eq!(client.pull_image("few", "latest").unwrap(), image.digest());
    }
    drop(connections);
}

#[test]
fn idle_connections_hold_nobody_up() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let idle = if scale::full() { 10_000 } else { 500 };
    let allowed = limit.current.unwrap_or(u64::MAX);
    assert!(allowed > idle + 500, "this machine allows {allowed} open files, the test needs {idle} and some");

    let seed = scale::seed();
    let server = scale::launch().start();
    let before = server.resident();
    let mut connections = Vec::new();
    for number in 0..idle {
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        if number % 2 == 0 {
            // Half of them have begun a request and do not go on.
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHo").unwrap();
        }
        connections.push(stream);
    }
    thread::scope(|scope| {
        for who in 0..8 {
            let client = server.client();
            scope.spawn(move || {
                for number in 0..10 {
                    let image = Image::generate(seed.derive(who).derive(number), &[10_000, 500_000]);
                    client.push_image(&format!("idle/{who}"), "latest", &image).unwrap();
                    assert_eq!(client.pull_image(&format!("idle/{who}"), "latest").unwrap(), image.digest());
                }
            });
        }
    });
    let (after, peak) = (server.resident(), server.peak());
    println!(
        "{idle} idle connections: {} MB before, {} MB after, {} MB at the peak",
        before >> 20,
        after >> 20,
        peak >> 20
    );
    assert!(peak < 256 << 20, "{} MB", peak >> 20);
    drop(connections);
}
