//! The end of a process: health turns first, what is in flight is finished, then it is over.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;

use roadstead_testkit::{Body, Content, Request, Seed, digest_of};
use rustix::process::Signal;

use crate::scale;

/// A body that stops in the middle until it is told to go on.
struct Paused {
    content: Content,
    sent: u64,
    pause_at: u64,
    reached: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Read for Paused {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.sent == self.pause_at {
            self.reached.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        let left = if self.sent < self.pause_at { self.pause_at - self.sent } else { buffer.len() as u64 };
        let count = self.content.read(&mut buffer[..usize::try_from(left).unwrap_or(usize::MAX).min(1 << 16)])?;
        self.sent += count as u64;
        Ok(count)
    }
}

#[test]
fn an_upload_cut_short_by_the_deadline_stands_at_what_was_received() {
    let server = scale::launch().set("ROADSTEAD_HTTP__DRAINTIMEOUT", "2s").start();
    let client = server.client();
    // Below a step, and above one with a rest: what no step of its own has committed is what could be lost.
    let sent = [40_000, 20_000_000_usize];
    let uploads: Vec<_> = sent
        .iter()
        .map(|bytes| {
            let location = client.begin("drain").unwrap().location;
            let mut stream = TcpStream::connect(server.addr()).unwrap();
            let head = format!("PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&vec![b'x'; *bytes]).unwrap();
            (location, stream)
        })
        .collect();
    let (status, directory) = server.terminate();
    assert_eq!(status.code(), Some(0));
    let server = scale::launch().start_on(directory);
    let client = server.client();
    for ((location, mut stream), bytes) in uploads.into_iter().zip(sent) {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
        let status = client.call("GET", &location).unwrap();
        assert_eq!((status.status, status.header("range")), (204, Some(&*format!("0-{}", bytes - 1))));
    }
}

#[test]
fn a_hangup_ends_it_in_order() {
    let mut server = scale::launch().start();
    server.signal(Signal::HUP);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_push_in_flight_ends_well_after_sigterm() {
    // The delay keeps the listener open, so that health can be asked.
    let mut server = scale::launch().set("ROADSTEAD_HTTP__DRAIN_DELAY", "30s").start();
    let client = server.client();
    let upload = client.begin("drain").unwrap();
    let content = Content::new(Seed(5), 1 << 20);
    let (digest, length) = digest_of(content.clone()).unwrap();
    let ((reached, is_reached), (go, go_on)) = (mpsc::channel(), mpsc::channel());
    let pushing = thread::spawn(move || {
        let mut body = Paused { content, sent: 0, pause_at: 1 << 18, reached, go_on };
        let request = Request::new("PUT", format!("{}?digest={digest}", upload.location));
        let request = Request { target: request.target.replacen("??", "?", 1), ..request };
        client.send(&request, Body::Sized(&mut body, length))
    });
    is_reached.recv().unwrap();
    server.signal(Signal::TERM);
    let asking = server.client();
    // Draining begins with the signal, which is not answered: the first answers may be from before.
    while asking.call("GET", "/load_balancer_status").unwrap().status == 200 {
        thread::yield_now();
    }
    assert_eq!(asking.call("GET", "/load_balancer_status").unwrap().status, 503);
    assert_eq!(asking.call("GET", "/v2/").unwrap().status, 200, "requests are still served");
    go.send(()).unwrap();
    assert_eq!(pushing.join().unwrap().unwrap().status, 201);
    // A second signal ends the wait for load balancers.
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(0));
}
