//! Ending: nobody who is being served is cut off, unless for too long.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use roadstead_http::{Ended, Stop};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::wire::{Client, Running, http2, http2_get};

/// `/slow` says on `begun` that it runs and answers when `release` says so.
struct Slow {
    begun: Arc<Notify>,
    release: Arc<Notify>,
}

impl Slow {
    async fn server() -> (Self, Running) {
        let slow = Self { begun: Arc::default(), release: Arc::default() };
        let (begun, release) = (Arc::clone(&slow.begun), Arc::clone(&slow.release));
        let handler = move || async move {
            begun.notify_one();
            release.notified().await;
            "done"
        };
        let api = Router::new().route("/slow", get(handler)).route("/hello", get(|| async { "hello" }));
        (slow, Running::start(api, |_| {}).await)
    }

    async fn begin(&self, client: &mut Client) {
        client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        self.begun.notified().await;
    }
}

#[tokio::test(start_paused = true)]
async fn health_turns_first_then_the_listener_closes_then_what_runs_finishes() {
    let (slow, server) = Slow::server().await;
    let mut busy = server.connect().await;
    slow.begin(&mut busy).await;
    let mut idle = server.connect().await;
    idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(idle.answer().await.header("connection"), None);

    let begun = Instant::now();
    server.stop(Stop::Drain);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(server.health.is_draining());
    // Load balancers learn of it while requests are still served, on new connections too.
    let answer = server.get("/load_balancer_status").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert!(answer.text().contains("\"State\":\"draining\""), "{}", answer.text());
    let answer = server.get("/hello").await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));

    assert!(idle.is_closed().await, "idle connections close when the delay is over");
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert!(TcpStream::connect(server.addr).await.is_err(), "nobody listens any more");

    slow.release.notify_one();
    let answer = busy.answer().await;
    assert_eq!((answer.text(), answer.header("connection")), ("done", Some("close")));
    assert_eq!(server.ended().await, Ended::Drained);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_is_cut_off_at_the_deadline() {
    let (slow, server) = Slow::server().await;
    let mut busy = server.connect().await;
    slow.begin(&mut busy).await;
    let begun = Instant::now();
    server.stop(Stop::Drain);
    assert_eq!(server.ended().await, Ended::Deadline(1));
    assert_eq!(begun.elapsed().as_secs(), 17);
    assert!(busy.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_ends_at_once_in_either_phase() {
    for wait in [1, 6] {
        let (slow, server) = Slow::server().await;
        let mut busy = server.connect().await;
        slow.begin(&mut busy).await;
        server.stop(Stop::Drain);
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let begun = Instant::now();
        server.stop(Stop::Drain);
        assert_eq!(server.ended().await, Ended::AtOnce(1));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_terminal_nobody_waits_for_load_balancers() {
    let (_slow, server) = Slow::server().await;
    let begun = Instant::now();
    server.stop(Stop::Promptly);
    assert_eq!(server.ended().await, Ended::Drained);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn http2_streams_finish_and_the_connection_goes_away() {
    let (slow, server) = Slow::server().await;
    let (mut sender, connection) = http2(server.addr).await;
    let driver = tokio::spawn(connection);
    let request = tokio::spawn(sender.send_request(http2_get(server.addr, "/slow")));
    slow.begun.notified().await;
    server.stop(Stop::Promptly);
    while TcpStream::connect(server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    slow.release.notify_one();
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
    assert!(driver.await.unwrap().is_ok(), "told to go away, not reset");
    assert_eq!(server.ended().await, Ended::Drained);
}
