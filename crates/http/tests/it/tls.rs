//! TLS at the listener, the listener beside it, and proxies that say for whom they connect.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as Socket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures::channel::mpsc;
use roadstead_http::{
    App, Authority, ClientAuth, Ended, Health, Metrics, Oldest, Plain, Proxies, Server, Settings, Source, Stop, Tls,
    TlsOptions,
};
use roadstead_registry::SystemClock;
use roadstead_testkit::{Client, Issuer, Pair, Request, Response, ThreadLog, Tls as Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

const NAME: &str = "registry.example.com";
/// The beginning of a handshake.
const HELLO: &[u8] = &[22, 3, 1, 0, 200, 1, 0, 0];

struct Running {
    addr: SocketAddr,
    plain: Option<SocketAddr>,
    stop: mpsc::UnboundedSender<Stop>,
    ended: JoinHandle<Ended>,
}

fn api() -> Router {
    let large = || async { vec![7_u8; 3 << 20] };
    let echo = |body: axum::body::Bytes| async move { body };
    let chunk = || Ok::<_, std::io::Error>(axum::body::Bytes::from_static(&[7; 65_536]));
    let endless = move || async move { axum::body::Body::from_stream(futures::stream::repeat_with(chunk)) };
    Router::new()
        .route("/endless", get(endless))
        .route("/hello", get(|| async { "hello" }))
        .route("/large", get(large))
        .route("/echo", axum::routing::post(echo).layer(axum::extract::DefaultBodyLimit::disable()))
}

impl Running {
    async fn start(options: Option<TlsOptions>, change: impl FnOnce(&mut Settings)) -> Self {
        crate::observed::log();
        let mut settings = Settings::new(([127, 0, 0, 1], 0).into());
        if let Some(options) = options {
            settings.tls = Some(Tls::open(options, Arc::new(SystemClock::new())).await.unwrap());
        }
        change(&mut settings);
        let app = App::new(Health::new(Vec::new()), Metrics::new("1.2.3"), api());
        let bound = Server::new(settings, app).bind().await.unwrap();
        let (addr, plain) = (bound.local_addr(), bound.plain_addr());
        let (stop, stops) = mpsc::unbounded();
        Self { addr, plain, stop, ended: tokio::spawn(bound.run(stops)) }
    }

    /// One request by a client that trusts `trust`, or speaks no TLS.
    async fn get(&self, trust: Option<&Trust>, path: &str) -> Result<Response, String> {
        request(self.addr, trust, path).await
    }
}

/// The metrics of a server with TLS at which a handshake has failed.
pub(crate) async fn metrics() -> String {
    let (options, authority) = made();
    let server = Running::start(Some(options), |_| {}).await;
    assert!(server.get(Some(&Trust::trusting(&authority, "other")), "/").await.is_err());
    let answer = server.get(Some(&Trust::trusting(&authority, NAME)), "/metrics").await;
    String::from_utf8(answer.unwrap().body).unwrap()
}

async fn request(addr: SocketAddr, trust: Option<&Trust>, path: &str) -> Result<Response, String> {
    let client = trust.map_or(Client::new(addr), |trust| Client::new(addr).over(trust));
    let path = path.to_owned();
    spawn_blocking(move || client.call("GET", &path)).await.unwrap().map_err(|error| error.to_string())
}

fn options(source: Source) -> TlsOptions {
    let (oldest, clients) = (Oldest::default(), ClientAuth::default());
    TlsOptions { source, oldest, clients, strict: Duration::from_secs(60), host: None }
}

fn files(directory: &Path, pair: &Pair) -> TlsOptions {
    let (certificate, key) = pair.write(directory);
    options(Source::Files { certificate, key })
}

fn made() -> (TlsOptions, String) {
    let kept = Authority::make(1_780_000_000_000).unwrap();
    let authority = Authority::read(&kept).unwrap();
    let certificate = authority.certificate().to_owned();
    (options(Source::Made { authority: Box::new(authority), names: vec![NAME.into()] }), certificate)
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served_and_no_other() {
    let (directory, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("one"));
    let server = Running::start(Some(files(directory.path(), &issuer.server(&[NAME]))), |_| {}).await;
    let trust = Trust::trusting(&issuer.certificate(), NAME);
    for trust in [&trust, &Trust::old(&issuer.certificate(), NAME)] {
        let answer = server.get(Some(trust), "/hello").await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
        assert_eq!(server.get(Some(trust), "/large").await.unwrap().body, vec![7; 3 << 20]);
    }
    for (trust, why) in [
        (Trust::trusting(&Issuer::new("two").certificate(), NAME), "UnknownIssuer"),
        (Trust::trusting(&issuer.certificate(), "other.example.com"), "not valid for name"),
    ] {
        let error = server.get(Some(&trust), "/hello").await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let answer = server.get(Some(&trust), "/ca").await.unwrap();
    assert_eq!(answer.status, 404, "the certificate is the operator's own");
    let metrics = server.get(Some(&trust), "/metrics").await.unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("roadstead_http_connections_not_opened_total{reason=\"handshake\"} 2\n"), "{metrics}");
    assert!(metrics.contains("\nroadstead_tls_certificate_not_after_seconds "), "{metrics}");
}

#[tokio::test]
async fn answers_over_tls_tell_browsers_to_be_careful() {
    let (options, authority) = made();
    let server = Running::start(Some(options), |_| {}).await;
    let trust = Trust::trusting(&authority, NAME);
    for path in ["/hello", "/nothing", "/health", "/ca"] {
        let answer = server.get(Some(&trust), path).await.unwrap();
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=60"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"), "{path}");
    }
    let plain = Running::start(None, |_| {}).await;
    let answer = plain.get(None, "/hello").await.unwrap();
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, None));
}

#[tokio::test]
async fn old_versions_are_refused() {
    let (options, authority) = made();
    let server = Running::start(Some(TlsOptions { oldest: Oldest::Tls13, ..options }), |_| {}).await;
    assert_eq!(server.get(Some(&Trust::trusting(&authority, NAME)), "/hello").await.unwrap().status, 200);
    let error = server.get(Some(&Trust::old(&authority, NAME)), "/hello").await.unwrap_err();
    assert!(error.contains("ProtocolVersion"), "{error}");
    // A hello of TLS 1.1: version, random, no session, one suite of that time, no compression.
    let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[9; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
    let (options, _) = made();
    let server = Running::start(Some(options), |_| {}).await;
    let mut client = TcpStream::connect(server.addr).await.unwrap();
    client.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer[0], answer[5]), (21, 2), "a fatal alert: {answer:?}");
}

#[tokio::test]
async fn clients_show_certificates_where_they_must() {
    let (directory, issuer) = (tempfile::tempdir().unwrap(), Issuer::new("clients"));
    let file = directory.path().join("clients.pem");
    std::fs::write(&file, issuer.certificate()).unwrap();
    for optional in [false, true] {
        let (mut options, authority) = made();
        options.clients = ClientAuth { authorities: vec![file.clone()], optional };
        let server = Running::start(Some(options), |_| {}).await;
        let showing = |pair: &Pair| Trust::showing(&authority, NAME, pair);
        assert_eq!(server.get(Some(&showing(&issuer.client("ci"))), "/hello").await.unwrap().status, 200);
        assert!(server.get(Some(&showing(&Issuer::new("clients").client("ci"))), "/hello").await.is_err());
        let without = server.get(Some(&Trust::trusting(&authority, NAME)), "/hello").await;
        assert_eq!(without.is_ok(), optional, "{without:?}");
    }
}

#[tokio::test]
async fn whoever_speaks_http_is_told() {
    let (options, _) = made();
    let server = Running::start(Some(options), |_| {}).await;
    let answer = server.get(None, "/hello").await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("HTTP request to an HTTPS server"));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_ends_in_seconds_and_keeps_nobody_out() {
    let (options, authority) = made();
    let server = Running::start(Some(options), |_| {}).await;
    for (said, seconds) in [(&HELLO[..0], 15), (&HELLO[..1], 15), (HELLO, 15)] {
        let clock = crate::wire::HeldClock::hold();
        let mut client = TcpStream::connect(server.addr).await.unwrap();
        client.write_all(said).await.unwrap();
        drop(clock);
        let begun = Instant::now();
        assert!(!matches!(client.read(&mut [0; 100]).await, Ok(1..)), "{said:?}");
        assert_eq!(begun.elapsed().as_secs(), seconds, "{said:?}");
    }
    let _stalled: Vec<_> = futures::future::join_all((0..50).map(|_| TcpStream::connect(server.addr))).await;
    let _clock = crate::wire::HeldClock::hold();
    assert_eq!(server.get(Some(&Trust::trusting(&authority, NAME)), "/hello").await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up_over_tls_too() {
    let (options, authority) = made();
    let server = Running::start(Some(options), |_| {}).await;
    let clock = crate::wire::HeldClock::hold();
    let mut stream = crate::wire::tls(server.addr, &authority, NAME, &[]).await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 100]).await.unwrap();
    drop(clock);
    let trust = Trust::trusting(&authority, NAME);
    let given_up = async {
        loop {
            let metrics = server.get(Some(&trust), "/metrics").await.unwrap();
            if String::from_utf8_lossy(&metrics.body).contains("given_up_total{reason=\"slow_reader\"} 1") {
                return;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(80), given_up).await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_gives_way_to_who_does() {
    let (options, authority) = made();
    let server = Running::start(Some(options), |settings| settings.max_connections = 8).await;
    let _silent = futures::future::join_all((0..20).map(|_| TcpStream::connect(server.addr))).await;
    let begun = Instant::now();
    assert_eq!(server.get(Some(&Trust::trusting(&authority, NAME)), "/hello").await.unwrap().status, 200);
    assert!(begun.elapsed() < Duration::from_secs(10), "they had to be waited for: {:?}", begun.elapsed());
}

#[tokio::test]
async fn bodies_of_any_size_pass_and_a_connection_that_rested_goes_on() {
    let (options, authority) = made();
    let server = Running::start(Some(options), |_| {}).await;
    let client = Client::new(server.addr).over(&Trust::trusting(&authority, NAME));
    spawn_blocking(move || {
        for size in [0, 1, 16_384, 16_385, 5 << 20] {
            let sent: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let request = Request::new("POST", "/echo");
            let answer = client.send(&request, roadstead_testkit::Body::Bytes(&sent)).unwrap();
            assert!(answer.body == sent, "{size}");
        }
        // Longer than it takes to rest.
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(client.call("GET", "/large").unwrap().body.len(), 3 << 20);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn http2_is_agreed_on() {
    let (options, authority) = made();
    let server = Running::start(Some(options), |_| {}).await;
    let stream = crate::wire::tls(server.addr, &authority, NAME, &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = crate::wire::http2_over(stream).await;
    let driver = tokio::spawn(connection);
    let request = crate::wire::http2_get(server.addr, "/large");
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(crate::wire::collect(response).await.len(), 3 << 20);
    driver.abort();
    let stream = crate::wire::tls(server.addr, &authority, NAME, &[b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_drain_ends_both_listeners() {
    let (options, authority) = made();
    let beside = Plain { addr: ([127, 0, 0, 1], 0).into(), port: None };
    let server = Running::start(Some(options), |settings| settings.plain = Some(beside)).await;
    let trust = Trust::trusting(&authority, NAME);
    assert_eq!(server.get(Some(&trust), "/hello").await.unwrap().status, 200);
    let (mut silent, plain) = (TcpStream::connect(server.addr).await.unwrap(), server.plain.unwrap());
    let mut resting = TcpStream::connect(plain).await.unwrap();
    server.stop.unbounded_send(Stop::Promptly).unwrap();
    let begun = Instant::now();
    assert_eq!(server.ended.await.unwrap(), Ended::Drained);
    assert!(begun.elapsed() < Duration::from_millis(900), "who says nothing is not waited for: {:?}", begun.elapsed());
    for client in [&mut silent, &mut resting] {
        assert!(!matches!(client.read(&mut [0; 10]).await, Ok(1..)));
    }
}

#[tokio::test]
async fn beside_tls_clients_are_sent_there_and_health_is_answered() {
    let (options, authority) = made();
    let beside = Plain { addr: ([127, 0, 0, 1], 0).into(), port: Some(443) };
    let server = Running::start(Some(options), |settings| settings.plain = Some(beside)).await;
    let plain = server.plain.unwrap();
    for path in ["/health", "/load_balancer_status", "/_ping"] {
        let answer = request(plain, None, path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!((88..=90).contains(&answer.json()["CertificateDaysLeft"].as_i64().unwrap()), "{path}");
    }
    for addr in [None, Some(plain)] {
        let answer = match addr {
            None => server.get(Some(&Trust::trusting(&authority, NAME)), "/ca").await.unwrap(),
            Some(plain) => request(plain, None, "/ca").await.unwrap(),
        };
        assert_eq!((answer.status, String::from_utf8(answer.body).unwrap()), (200, authority.clone()));
    }
    for path in ["/", "/v2/", "/hello?a=b", "/metrics", "/v2/a/blobs/uploads/"] {
        let answer = request(plain, None, path).await.unwrap();
        let expected = format!("https://127.0.0.1{path}");
        assert_eq!((answer.status, answer.header("location")), (308, Some(expected.as_str())));
        assert_eq!(answer.header("strict-transport-security"), None);
    }
}

/// Sends a header and a request, and answers all that comes back.
async fn by_proxy(addr: SocketAddr, header: &[u8], path: &str) -> String {
    let mut client = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.write_all(&[header, request.as_bytes()].concat()).await.unwrap();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer).await;
    answer
}

fn local() -> Proxies {
    Proxies::new(["127.0.0.0/8".parse().unwrap()])
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_connects() {
    let server = Running::start(None, |settings| settings.proxies = local()).await;
    let v2 = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 8, 10, 0, 0, 1, 0, 99, 1, 0xbb]].concat();
    for (header, logged) in [(&b"PROXY TCP4 192.0.2.7 10.0.0.1 99 443\r\n"[..], "192.0.2.7:99"), (&v2, "192.0.2.8:99")]
    {
        assert!(by_proxy(server.addr, header, "/hello").await.starts_with("HTTP/1.1 200 "));
        assert!(ThreadLog::text().contains(&format!("\"remote\":\"{logged}\"")), "{}", ThreadLog::text());
    }
    assert!(by_proxy(server.addr, b"PROXY UNKNOWN\r\n", "/hello").await.starts_with("HTTP/1.1 200 "));
    // Without a header: health, and nothing else.
    for (path, status) in
        [("/health", "200"), ("/_ping", "200"), ("/hello", "403"), ("/metrics", "403"), ("/ca", "403")]
    {
        let answer = by_proxy(server.addr, b"", path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    assert_eq!(by_proxy(server.addr, b"PROXY TCP4 nonsense\r\n", "/hello").await, "");
    let metrics = by_proxy(server.addr, b"PROXY UNKNOWN\r\n", "/metrics").await;
    assert!(metrics.contains("roadstead_http_connections_not_opened_total{reason=\"proxy_header\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn nobody_else_does() {
    let server =
        Running::start(None, |settings| settings.proxies = Proxies::new(["10.0.0.0/8".parse().unwrap()])).await;
    assert!(by_proxy(server.addr, b"", "/hello").await.starts_with("HTTP/1.1 200 "));
    let answer = by_proxy(server.addr, b"PROXY TCP4 192.0.2.7 10.0.0.1 99 443\r\n", "/hello").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(!ThreadLog::text().contains("192.0.2.7"));
}

#[tokio::test(start_paused = true)]
async fn half_a_header_ends_in_seconds() {
    let server = Running::start(None, |settings| settings.proxies = local()).await;
    for said in [&b""[..], b"PROXY TCP4 192.", b"\r\n\r\n\0\r\nQUIT\n\x21"] {
        let clock = crate::wire::HeldClock::hold();
        let mut client = TcpStream::connect(server.addr).await.unwrap();
        client.write_all(said).await.unwrap();
        drop(clock);
        let begun = Instant::now();
        assert!(!matches!(client.read(&mut [0; 100]).await, Ok(1..)));
        assert_eq!(begun.elapsed().as_secs(), 15, "{said:?}");
    }
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let (options, authority) = made();
    let server = Running::start(Some(options), |settings| settings.proxies = local()).await;
    let (addr, trust) = (server.addr, Trust::trusting(&authority, NAME));
    let by_proxy = spawn_blocking(move || {
        let mut socket = Socket::connect(addr).unwrap();
        socket.write_all(b"PROXY TCP4 192.0.2.77 10.0.0.1 99 443\r\n").unwrap();
        let mut stream = trust.handshake(socket).unwrap();
        stream.write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(by_proxy.await.unwrap().starts_with("HTTP/1.1 200 "));
    assert!(ThreadLog::text().contains("\"remote\":\"192.0.2.77:99\""));
    let trust = Trust::trusting(&authority, NAME);
    assert_eq!(server.get(Some(&trust), "/health").await.unwrap().status, 200);
    assert_eq!(server.get(Some(&trust), "/hello").await.unwrap().status, 403);
}
