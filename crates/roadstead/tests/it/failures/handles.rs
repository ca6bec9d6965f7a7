//! Too few file handles for the connections and blobs that clients want.

use std::io::Write;
use std::net::TcpStream;

use roadstead_testkit::{Client, Content, Seed};

use super::{Needs, Stand, inside, stand::launch};

const UPLOADS: u64 = 100;

/// More uploads than there are handles, none of which goes on: each holds a connection and a file.
#[test]
fn of_a_small_limit() {
    inside("handles::of_a_small_limit", Needs::Tmpfs, |root| {
        let limited = ["prlimit", "--nofile=128:128", "--"];
        let launch = launch(&root.join("b"), &root.join("m")).set("ROADSTEAD_HTTP__BODY_TIMEOUT", "3s");
        let stand = Stand::launch(launch.under(&limited));
        let addr = stand.server.addr();
        let hanging: Vec<_> =
            (0..UPLOADS).map(|number| std::thread::spawn(move || hang(&Client::new(addr), number))).collect();
        let held: Vec<TcpStream> = hanging.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert!(held.len() > 20, "only {} uploads were begun", held.len());
        println!("failures: handles: {} uploads held with 128 handles", held.len());
        // Whoever waits is served when the uploads that hang are given up.
        stand.assert_pulls();
        stand.assert_recovers();
        assert!(!stand.server.output().contains("metadata engine stopped"), "{}", stand.server.output());
    });
}

/// Begins an upload and sends half of it; `None` when there was no room for that.
fn hang(client: &Client, number: u64) -> Option<TcpStream> {
    let upload = client.begin("failures/hanging").ok()?;
    let mut stream = TcpStream::connect(client.addr()).ok()?;
    let head = format!("PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n", upload.location);
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&Content::new(Seed(number), 600_000).to_vec()).ok()?;
    Some(stream)
}
