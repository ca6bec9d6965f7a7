//! A running server and clients for it: raw sockets for what a proper client would never send, hyper for HTTP/2.

use std::future::Future;
use std::net::SocketAddr;
use std::str::FromStr;

use axum::Router;
use bytes::Bytes;
use futures::channel::mpsc;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use roadstead_http::{App, Ended, Health, Metrics, Server, Settings, Stop};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Keeps a stopped clock from moving on by itself. Tokio advances it when nothing is left to do, and does not know of
/// bytes that are still on their way through the system.
pub(crate) struct HeldClock {
    _release: std::sync::mpsc::Sender<()>,
}

impl HeldClock {
    pub(crate) fn hold() -> Self {
        let (release, released) = std::sync::mpsc::channel();
        // Work on a thread holds the clock; this work ends when the guard is dropped.
        tokio::task::spawn_blocking(move || released.recv());
        Self { _release: release }
    }
}

/// A server that serves in the background.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) health: Health,
    stop: mpsc::UnboundedSender<Stop>,
    ended: JoinHandle<Ended>,
}

impl Running {
    /// Serves `api` with the default settings after `change`.
    pub(crate) async fn start(api: Router, change: impl FnOnce(&mut Settings)) -> Self {
        crate::observed::log();
        let mut settings = Settings::new(SocketAddr::from_str("127.0.0.1:0").unwrap());
        change(&mut settings);
        let health = Health::new(Vec::new());
        let app = App::new(health.clone(), Metrics::new("1.2.3"), api);
        let bound = Server::new(settings, app).bind().await.unwrap();
        let addr = bound.local_addr();
        let (stop, stops) = mpsc::unbounded();
        Self { addr, health, stop, ended: tokio::spawn(bound.run(stops)) }
    }

    /// Serves what `change` makes of an app of `api`.
    pub(crate) async fn over(api: Router, change: impl FnOnce(App) -> App) -> Self {
        let health = Health::new(Vec::new());
        let app = change(App::new(health.clone(), Metrics::new("1.2.3"), api));
        let settings = Settings::new(SocketAddr::from_str("127.0.0.1:0").unwrap());
        let bound = Server::new(settings, app).bind().await.unwrap();
        let addr = bound.local_addr();
        let (stop, stops) = mpsc::unbounded();
        Self { addr, health, stop, ended: tokio::spawn(bound.run(stops)) }
    }

    pub(crate) fn stop(&self, stop: Stop) {
        self.stop.unbounded_send(stop).unwrap();
    }

    pub(crate) async fn ended(self) -> Ended {
        self.ended.await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Client {
        let _clock = HeldClock::hold();
        let stream = TcpStream::connect(self.addr).await.unwrap();
        // Tests stop the clock; what is sent must not wait in the system for real time to pass.
        stream.set_nodelay(true).unwrap();
        Client { stream, read: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        client.answer().await
    }
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One HTTP/1.1 connection, of which every byte is under control.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends as much as the server takes before it closes.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads until `done` finds the end of something in what was read; `None` when the server closed before.
    async fn read_until(&mut self, done: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = done(&self.read) {
                return Some(self.read.drain(..end).collect());
            }
            // A reset is an end too: the server closes while the client still sends.
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The head of the next answer, which needs no time to pass; `None` when the connection ended instead.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        let _clock = HeldClock::hold();
        self.late_head().await
    }

    /// The same for an answer that comes only after a time.
    pub(crate) async fn late_head(&mut self) -> Option<Answer> {
        let end_of_head = |read: &[u8]| read.windows(4).position(|w| w == b"\r\n\r\n").map(|p| p + 4);
        let head = String::from_utf8(self.read_until(end_of_head).await?).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Some(Answer { status, headers: lines.map(header).collect(), body: Vec::new() })
    }

    /// The next answer with its body, which must have a length.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("the connection ended without an answer")
    }

    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        let _clock = HeldClock::hold();
        let length = answer.header("content-length").map_or(0, |l| l.parse().unwrap());
        answer.body = self.read_until(|read| (read.len() >= length).then_some(length)).await?;
        Some(answer)
    }

    /// Whether the server closes the connection in order, without another byte and without a reset.
    pub(crate) async fn ends_cleanly(&mut self) -> bool {
        self.read.is_empty() && matches!(self.stream.read_buf(&mut self.read).await, Ok(0))
    }

    /// Whether the server closes the connection after the body of the answer whose head was read.
    pub(crate) async fn ends_after_its_body(&mut self) -> bool {
        self.stream.read_to_end(&mut self.read).await.is_ok()
    }

    /// Whether the server closes the connection, without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && matches!(self.stream.read_buf(&mut self.read).await, Ok(0) | Err(_))
    }
}

/// An HTTP/2 connection with prior knowledge.
pub(crate) async fn http2(
    addr: SocketAddr,
) -> (hyper::client::conn::http2::SendRequest<Full<Bytes>>, impl Future<Output = hyper::Result<()>>) {
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap()
}

/// The same by a client that grants each stream a window of so many bytes.
pub(crate) async fn http2_with_window(
    addr: SocketAddr,
    window: u32,
) -> (hyper::client::conn::http2::SendRequest<Full<Bytes>>, impl Future<Output = hyper::Result<()>>) {
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).handshake(io).await.unwrap()
}

/// A GET over HTTP/2.
pub(crate) fn http2_get(addr: SocketAddr, path: &str) -> http::Request<Full<Bytes>> {
    http::Request::get(format!("http://{addr}{path}")).body(Full::default()).unwrap()
}

/// Any request over HTTP/2.
pub(crate) fn http2_request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    body: &'static [u8],
) -> http::Request<Full<Bytes>> {
    let request = http::Request::builder().method(method).uri(format!("http://{addr}{path}"));
    request.body(Full::new(Bytes::from_static(body))).unwrap()
}

/// All of an HTTP/2 answer's body.
pub(crate) async fn collect(response: http::Response<hyper::body::Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

/// A connection over TLS by a client that offers these protocols.
pub(crate) async fn tls(
    addr: SocketAddr,
    authority: &str,
    name: &str,
    protocols: &[&[u8]],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = name.to_owned().try_into().unwrap();
    connector.connect(name, TcpStream::connect(addr).await.unwrap()).await.unwrap()
}

/// HTTP/2 on a connection that is there.
pub(crate) async fn http2_over(
    stream: tokio_rustls::client::TlsStream<TcpStream>,
) -> (hyper::client::conn::http2::SendRequest<Full<Bytes>>, impl Future<Output = hyper::Result<()>>) {
    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
}
