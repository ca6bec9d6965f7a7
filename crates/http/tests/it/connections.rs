//! What a connection may do, and how long it may take.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use crate::wire::{HeldClock, Running, collect, http2, http2_get, http2_with_window};

fn hello() -> Router {
    Router::new().route("/hello", get(|| async { "hello" }))
}

async fn server() -> Running {
    Running::start(hello(), |_| {}).await
}

const GET: &str = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send(&format!("{GET}GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n{GET}")).await;
    let answers = [client.answer().await, client.answer().await, client.answer().await];
    assert_eq!(answers.each_ref().map(|a| a.status), [200, 404, 200]);
    assert_eq!((answers[0].text(), answers[2].text()), ("hello", "hello"));
}

#[tokio::test]
async fn http2_with_prior_knowledge_shares_the_port() {
    let server = server().await;
    let (mut sender, connection) = http2(server.addr).await;
    let driver = tokio::spawn(connection);
    let both = futures::future::join_all([0, 1].map(|_| sender.send_request(http2_get(server.addr, "/hello")))).await;
    for response in both {
        let response = response.unwrap();
        assert_eq!((response.status(), response.version()), (http::StatusCode::OK, http::Version::HTTP_2));
        assert_eq!(collect(response).await, "hello");
    }
    driver.abort();
}

#[tokio::test]
async fn malformed_http_is_answered_and_the_connection_closed() {
    let server = server().await;
    for (bad, status) in [
        ("GET /hello HTTP/1.1\r\nHost x\r\n\r\n", 400),
        ("GET /hello HTTP/3.7\r\n\r\n", 400),
        ("G@T /hello HTTP/1.1\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\n\r\n", 400),
        ("POST /hello HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        ("POST /hello HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (&format!("GET /hello HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101)), 431),
        (&format!("GET /hello HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(33_000)), 431),
        (&format!("GET /{} HTTP/1.1\r\n\r\n", "b".repeat(33_000)), 431),
    ] {
        let mut client = server.connect().await;
        client.send(bad).await;
        assert_eq!(client.answer().await.status, status, "{}", &bad[..bad.len().min(60)]);
        assert!(client.is_closed().await, "{}", &bad[..bad.len().min(60)]);
    }
    assert_eq!(server.get("/hello").await.status, 200);
}

#[tokio::test]
async fn a_request_of_http_1_1_names_one_host() {
    let server = server().await;
    for hosts in ["", "Host: x\r\nHost: x\r\n", "Host: x\r\nhost: y\r\n"] {
        let mut client = server.connect().await;
        client.send(&format!("GET /hello HTTP/1.1\r\n{hosts}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{hosts}");
        assert!(answer.text().contains("Host"), "{}", answer.text());
        assert!(client.is_closed().await, "{hosts}");
    }
    for fine in ["GET /hello HTTP/1.0\r\n\r\n", "GET /hello HTTP/1.1\r\nHost:\r\n\r\n"] {
        let mut client = server.connect().await;
        client.send(fine).await;
        assert_eq!(client.answer().await.status, 200, "{fine}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_ends_the_connection_in_seconds() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send("GET /hello HTTP/1.1\r\n").await;
    let begun = Instant::now();
    assert!(client.is_closed().await);
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_is_kept_for_minutes() {
    let server = server().await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(119)).await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let begun = Instant::now();
    assert!(client.is_closed().await);
    assert_eq!(begun.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_that_rests_is_closed_too() {
    let server = server().await;
    let (mut sender, connection) = http2(server.addr).await;
    let driver = tokio::spawn(connection);
    assert_eq!(sender.send_request(http2_get(server.addr, "/hello")).await.unwrap().status(), 200);
    let begun = Instant::now();
    let _ = driver.await.unwrap();
    assert!((119..=121).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up() {
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[7; 65_536])));
    let body = move || async { axum::body::Body::from_stream(endless) };
    let server = Running::start(Router::new().route("/endless", get(body)), |_| {}).await;
    let mut client = server.connect().await;
    client.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.head().await.unwrap().status, 200);
    let given_up = async {
        while !server.get("/metrics").await.text().contains("given_up_total{reason=\"slow_reader\"} 1") {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    timeout(Duration::from_secs(120), given_up).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_http2_stream_without_a_window_is_given_up_and_its_connection_lives() {
    let chunk = || Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[7; 65_536]));
    let large = move || async move { axum::body::Body::from_stream(futures::stream::repeat_with(chunk).take(16)) };
    let whole = || async { vec![7_u8; 1 << 20] };
    let api = hello().route("/stream", get(large)).route("/whole", get(whole));
    let server = Running::start(api, |_| {}).await;
    let (mut sender, connection) = http2_with_window(server.addr, 1).await;
    let driver = tokio::spawn(connection);
    let begun = Instant::now();
    let mut stalled = Vec::new();
    let clock = HeldClock::hold();
    for path in ["/stream", "/whole"] {
        stalled.push(sender.send_request(http2_get(server.addr, path)).await.unwrap().into_body());
    }
    drop(clock);
    // Nobody reads them; each has been sent the one byte that its window allows.
    let given_up = async {
        while !server.get("/metrics").await.text().contains("\nroadstead_http_requests_in_flight 1\n") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(120), given_up).await.unwrap();
    assert!((60..=62).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let metrics = server.get("/metrics").await;
    assert!(metrics.text().contains("given_up_total{reason=\"slow_stream\"} 2"), "{}", metrics.text());
    let _clock = HeldClock::hold();
    let response = sender.send_request(http2_get(server.addr, "/hello")).await.unwrap();
    assert_eq!(collect(response).await, "hello");
    for body in stalled {
        assert!(body.collect().await.is_err(), "it must not look like the end");
    }
    driver.abort();
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_gets_the_place_of_who_rests_longest() {
    let server = Running::start(hello(), |s| s.max_connections = 2).await;
    let mut longest = server.connect().await;
    longest.send(GET).await;
    assert_eq!(longest.answer().await.status, 200);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut silent = server.connect().await;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let mut newcomer = server.connect().await;
    newcomer.send("GET /load_balancer_status HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = timeout(Duration::from_secs(5), newcomer.late_head()).await.expect("it is kept out").unwrap();
    assert_eq!(answer.status, 200);
    assert!(longest.is_closed().await);
    silent.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let metrics = silent.answer().await;
    for line in ["connections_without_room_total 1\n", "given_up_total{reason=\"gave_way\"} 1\n"] {
        assert!(metrics.text().contains(line), "{line} not in\n{}", metrics.text());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_being_served_keeps_the_place_and_newcomers_wait() {
    let echo = Router::new().route("/echo", axum::routing::post(|body: bytes::Bytes| async { body }));
    let server = Running::start(hello().merge(echo), |s| s.max_connections = 1).await;
    let mut first = server.connect().await;
    first.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(first.head().await.unwrap().status, 100);
    let mut second = server.connect().await;
    second.send(GET).await;
    assert!(timeout(Duration::from_secs(300), second.late_head()).await.is_err());
    first.send("ok").await;
    assert_eq!(first.answer().await.text(), "ok");
    assert_eq!(second.late_head().await.unwrap().status, 200);
    assert!(first.is_closed().await, "it gave way once it was served");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rested_goes_on_where_it_was() {
    let server = server().await;
    let mut client = server.connect().await;
    // The beginning of the second request comes with the first; the rest of it after the connection has rested.
    client.send(&format!("{GET}GET /hel")).await;
    assert_eq!(client.answer().await.text(), "hello");
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.send("lo HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "hello");
    // Byte by byte.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for byte in GET.chars() {
        client.send(&byte.to_string()).await;
    }
    assert_eq!(client.answer().await.text(), "hello");
    // A head that began while the connection rested must end as soon as any other.
    client.send(&format!("{GET}G")).await;
    assert_eq!(client.answer().await.text(), "hello");
    let begun = Instant::now();
    assert!(client.is_closed().await);
    assert!((15..=16).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_nobody_read_is_never_taken_for_a_request() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 404);
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.try_send(GET.as_bytes()).await;
    assert!(client.try_answer().await.is_none(), "a request was read out of a body");
}

#[tokio::test]
async fn a_handler_that_panics_costs_one_answer_and_nobody_elses_connection() {
    let panics = get(|| async {
        if true {
            panic!("as the test wants")
        }
    });
    let server = Running::start(hello().route("/panics", panics), |_| {}).await;
    let mut client = server.connect().await;
    client.send(&format!("GET /panics HTTP/1.1\r\nHost: x\r\nX-Request-Id: id-7\r\n\r\n{GET}")).await;
    let answer = client.answer().await;
    assert!(answer.status == 500 && answer.text().contains("id-7") && !answer.text().contains("wants"), "{answer:?}");
    assert_eq!(client.answer().await.text(), "hello");
}
