//! What operators see of requests: ids, the access log, metrics.

use std::sync::Once;

use axum::Router;
use axum::routing::get;
use roadstead_testkit::ThreadLog;
use serde_json::Value;

use crate::wire::Running;

/// Logs as JSON. One subscriber for the process, there before anything logs: one for each test would come too late for
/// events that another test has already met without.
pub(crate) fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().json().with_writer(|| ThreadLog).init());
}

/// The lines of the access log.
fn access_log() -> Vec<Value> {
    let lines = ThreadLog::text();
    lines.lines().map(|l| serde_json::from_str(l).unwrap()).filter(|l: &Value| l["target"] == "access").collect()
}

async fn server() -> Running {
    let never = get(std::future::pending::<&'static str>);
    let api = Router::new().route("/hello", get(|| async { "hello" })).route("/never", never);
    Running::start(api, |_| {}).await
}

#[tokio::test]
async fn a_request_leaves_one_line_with_its_id() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send("GET /hello?secret=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: test/1\r\nX-Request-Id: abc-1\r\n\r\n").await;
    assert_eq!(client.answer().await.header("x-request-id"), Some("abc-1"));
    let lines = access_log();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let fields = &line["fields"];
    assert_eq!(line["span"]["request_id"], "abc-1");
    assert_eq!((&fields["method"], &fields["path"]), (&"GET".into(), &"/hello".into()));
    assert_eq!((&fields["status"], &fields["bytes"]), (&200.into(), &5.into()));
    assert_eq!(fields["user_agent"], "test/1");
    assert!(fields["duration_ms"].is_number() && fields["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(fields.get("aborted").is_none());
}

#[tokio::test]
async fn the_log_names_upload_sessions_without_their_signature() {
    let server = server().await;
    let (name, rest) = ("AQEBmsI3VTp7ZbFM2SqUfwqY", "0123456789abcdefghijkl");
    for path in [format!("/v2/a/b/blobs/uploads/{name}{rest}"), format!("/v2/blobs/uploads/blobs/uploads/{name}{rest}")]
    {
        server.get(&path).await;
    }
    server.get("/v2/a/b/blobs/uploads/").await;
    let paths: Vec<_> = access_log().iter().map(|l| l["fields"]["path"].as_str().unwrap().to_owned()).collect();
    let expected = [
        format!("/v2/a/b/blobs/uploads/{name}..."),
        format!("/v2/blobs/uploads/blobs/uploads/{name}..."),
        "/v2/a/b/blobs/uploads/".to_owned(),
    ];
    assert_eq!(paths, expected);
}

#[tokio::test]
async fn a_client_that_leaves_is_logged_as_such() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send("GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await;
    while !server.get("/metrics").await.text().contains("\nroadstead_http_requests_in_flight 2\n") {
        tokio::task::yield_now().await;
    }
    drop(client);
    while !access_log().iter().any(|l| l["fields"]["path"] == "/never") {
        tokio::task::yield_now().await;
    }
    let lines = access_log();
    let line = lines.iter().find(|l| l["fields"]["path"] == "/never").unwrap();
    assert_eq!((&line["fields"]["status"], &line["fields"]["aborted"]), (&499.into(), &true.into()));
}

#[tokio::test]
async fn metrics_are_text_with_fixed_labels() {
    let server = server().await;
    assert_eq!(server.get("/hello").await.status, 200);
    assert_eq!(server.get("/nothing").await.status, 404);
    let answer = server.get("/metrics").await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "roadstead_build_info{version=\"1.2.3\"} 1",
        "roadstead_http_requests_total{route=\"other\",method=\"GET\",status=\"200\"} 1",
        "roadstead_http_requests_total{route=\"other\",method=\"GET\",status=\"404\"} 1",
        "roadstead_http_response_bytes_total{route=\"other\"} 5",
        "roadstead_http_request_duration_seconds_count{route=\"other\"} 2",
        "roadstead_http_connections_accepted_total 3",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes ") && text.contains("\nprocess_cpu_seconds_total "));
    assert!(!text.contains("nothing"), "a path is no label");
}

#[tokio::test]
async fn health_answers_on_each_of_its_paths() {
    let server = server().await;
    for path in ["/load_balancer_status", "/_ping", "/health", "/health/instance"] {
        let answer = server.get(path).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &body["Healthy"], &body["Error"]), (200, &true.into(), &"".into()), "{path}");
    }
    let mut client = server.connect().await;
    client.send("GET /_ping HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.header("content-type").unwrap().starts_with("text/html") && answer.text().contains("<table>"));
}
