//! The end of a process: health turns first, what is in flight is finished, then it is over.

use std::io::{self, Read};
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
