//! A proxy in front of an S3 server that breaks what a test plans.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use roadstead_storage_cloud::{S3, S3Options};
use roadstead_testkit::servers::S3Server;

use crate::conformance::options;

/// What happens to a connection, by the head of its first request.
type Plan = dyn Fn(&str, usize) -> Fate + Send + Sync;

#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Pass,
    /// So many bytes of the answer come through.
    Cut(usize),
    /// So many come through, and no more.
    Stop(usize),
    /// The server gets the request, and its answer is lost.
    Forget,
    /// The same, and the server gets it only in so long.
    Late(Duration),
    /// It is answered 404 in place of the server: there is no such upload.
    Gone,
    /// It is answered 503 in place of the server.
    Busy,
    /// It is answered 403 in place of the server.
    Denied,
    /// It is answered with the whole object, of so many bytes, whatever part of it is wanted.
    Whole(usize),
}

/// A proxy in front of `server`, one connection for each request.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn new(server: &S3Server, plan: impl Fn(&str, usize) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let upstream: SocketAddr = server.endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let (plan, requests) = (Arc::<Plan>::from(Box::new(plan) as Box<Plan>), Arc::new(Mutex::new(Vec::new())));
        let seen = requests.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (plan, seen) = (plan.clone(), seen.clone());
                thread::spawn(move || drop(serve(connection.unwrap(), upstream, &*plan, &seen)));
            }
        });
        Self { addr, requests }
    }

    /// Of the server, but through this.
    pub(crate) fn options(&self, server: &S3Server) -> S3Options {
        S3Options { endpoint: Some(format!("http://{}", self.addr)), part_size: 5 << 20, ..options(server) }
    }

    pub(crate) async fn open(&self, server: &S3Server) -> S3 {
        S3::open_bucket(&self.options(server)).await.unwrap()
    }

    /// Requests for the bytes of an object, as the first byte that each asks for.
    pub(crate) fn windows(&self, name: &str) -> Vec<u64> {
        let start = |head: &String| {
            let line = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
            line.map_or(0, |range| range.split('-').next().unwrap().parse().unwrap())
        };
        let requests = self.requests.lock().unwrap();
        let of = requests.iter().filter(|head| head.starts_with(&format!("GET /blobs/{name}")));
        let mut starts: Vec<u64> = of.map(start).collect();
        starts.sort_unstable();
        starts
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|head| head.starts_with(what)).count()
    }
}

/// What a server says that cannot answer now.
const BUSY: &str = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message>\
                    <Resource>/b</Resource><RequestId>1</RequestId></Error>";

/// What it says of an upload that has come to its end.
const GONE: &str = "<?xml version=\"1.0\"?><Error><Code>NoSuchUpload</Code><Message>The specified upload does not exist.\
                    </Message><Resource>/b</Resource><RequestId>1</RequestId></Error>";

/// Reads one request, which says `connection: close` to the server, and does with its answer what is planned.
fn serve(mut client: TcpStream, upstream: SocketAddr, plan: &Plan, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(text.clone());
        seen.len()
    };
    let length = text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body)?;
    let fate = plan(&text, number);
    if matches!(fate, Fate::Busy) {
        let said = if text.starts_with("HEAD") { "" } else { BUSY };
        let head = format!("HTTP/1.1 503 Slow Down\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", said.len());
        return client.write_all(format!("{head}{said}").as_bytes());
    }
    if matches!(fate, Fate::Denied) {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    if matches!(fate, Fate::Gone) {
        let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", GONE.len());
        return client.write_all(format!("{head}{GONE}").as_bytes());
    }
    if let Fate::Late(pause) = fate {
        client.shutdown(Shutdown::Both)?;
        thread::sleep(pause);
    }
    if let Fate::Whole(length) = fate {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\netag: \"1\"\r\nconnection: close\r\n\r\n");
        client.write_all(head.as_bytes())?;
        return client.write_all(&content(length));
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(text.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match fate {
        Fate::Cut(bytes) => client.write_all(&answer[..bytes.min(answer.len())]),
        Fate::Stop(bytes) => {
            client.write_all(&answer[..bytes.min(answer.len())])?;
            // Until nobody waits for it any more.
            client.read(&mut byte).map(drop)
        }
        Fate::Forget | Fate::Late(_) => Ok(()),
        _ => client.write_all(&answer),
    }
}

pub(crate) fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at / 251 + at) as u8).collect()
}
