//! A log that cannot be written: the registry serves on, and stops in order.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use roadstead_testkit::{Client, Image, Seed};
use rustix::process::{Pid, Signal, kill_process};

/// Starts a server whose log goes to `stderr`, at a level that logs every request.
fn start(stderr: Stdio) -> (Child, Client, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut child = crate::scale::program()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .env("ROADSTEAD_HTTP__DRAIN_DELAY", "0s")
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addr = lines.find_map(|line| Some(line.unwrap().strip_prefix("listening on http://")?.parse().unwrap()));
    (child, Client::new(addr.unwrap()), directory)
}

/// More requests than a pipe holds lines of.
fn serves_and_stops(mut child: Child, client: &Client) {
    for _ in 0..600 {
        assert_eq!(client.call("GET", "/v2/").unwrap().status, 200);
    }
    client.push_image("log", "latest", &Image::generate(Seed(2), &[1_000])).unwrap();
    assert_eq!(client.call("GET", "/load_balancer_status").unwrap().status, 200);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn whose_reader_is_gone() {
    let (mut child, client, _directory) = start(Stdio::piped());
    drop(child.stderr.take());
    serves_and_stops(child, &client);
}

#[test]
fn whose_reader_does_not_read() {
    let (mut child, client, _directory) = start(Stdio::piped());
    let _unread = child.stderr.take();
    serves_and_stops(child, &client);
}

#[test]
fn whose_disk_is_full() {
    let (child, client, _directory) = start(File::options().write(true).open("/dev/full").unwrap().into());
    serves_and_stops(child, &client);
}
