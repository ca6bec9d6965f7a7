//! HTTP/1.1 by hand, because tests must be able to send what no proper client would: a wrong length, half a body,
//! a path that climbs. What the server answers before the whole request is sent is an answer like any other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::tls::{Stream, Tls};

/// Longer than anything a healthy server takes.
const PATIENCE: Duration = Duration::from_secs(120);
const MAX_HEAD: usize = 64 * 1024;

/// A request. The target is sent as it is; so are the headers.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Path and query, or an absolute URL of this server.
    pub target: String,
    /// In the order sent; `Host` and the length of the body are added unless given.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// A request without headers.
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self { method: method.to_owned(), target: target.into(), headers: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
    }
}

/// A request's body.
pub enum Body<'a> {
    /// None; `Content-Length: 0` for the methods that usually carry one.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes of a reader.
    Sized(&'a mut dyn Read, u64),
    /// A reader to its end, in HTTP chunks of unknown total length.
    Chunked(&'a mut dyn Read),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body; empty when it went to a sink.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `code` of the first error of an OCI error body.
    pub fn error_code(&self) -> Option<String> {
        Some(self.json().get("errors")?.get(0)?.get("code")?.as_str()?.to_owned())
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<Stream>,
}

impl Connection {
    pub(crate) fn open(addr: SocketAddr, from: Option<IpAddr>, tls: Option<&Tls>) -> io::Result<Self> {
        let stream = match from {
            Some(from) => connect_from(from, addr)?,
            None => TcpStream::connect(addr)?,
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let stream = match tls {
            Some(tls) => Stream::Tls(Box::new(tls.connect(stream)?)),
            None => Stream::Plain(stream),
        };
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    /// Whether the server still holds it open, with nothing unread on it.
    pub(crate) fn is_open(&self) -> bool {
        let stream = self.stream.get_ref().socket();
        let quiet = || -> io::Result<bool> {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            Ok(matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock))
        };
        self.stream.buffer().is_empty() && quiet().unwrap_or(false)
    }

    /// Sends a request and reads the answer. The flag says whether the connection can be used again.
    pub(crate) fn exchange(
        &mut self,
        request: &Request,
        body: Body<'_>,
        sink: Option<&mut dyn Write>,
    ) -> io::Result<(Response, bool)> {
        let sent = self.send(request, body);
        let mut response = match self.head() {
            Ok(response) => response,
            // Without an answer, that it could not be sent is the better explanation.
            Err(unanswered) => return Err(sent.err().unwrap_or(unanswered)),
        };
        let framed = self.body(&request.method, &mut response, sink)?;
        let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok((response, framed && !closes && sent.is_ok()))
    }

    fn send(&mut self, request: &Request, body: Body<'_>) -> io::Result<()> {
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
        if !request.has("host") {
            head.push_str(&format!("Host: {}\r\n", self.stream.get_ref().socket().peer_addr()?));
        }
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !request.has("content-length") && !request.has("transfer-encoding") {
            match &body {
                Body::None if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") => {
                    head.push_str("Content-Length: 0\r\n");
                }
                Body::None => {}
                Body::Bytes(bytes) => head.push_str(&format!("Content-Length: {}\r\n", bytes.len())),
                Body::Sized(_, length) => head.push_str(&format!("Content-Length: {length}\r\n")),
                Body::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
            }
        }
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        match body {
            Body::None => {}
            Body::Bytes(bytes) => stream.write_all(bytes)?,
            Body::Sized(reader, length) => {
                copy(&mut reader.take(length), stream, |stream, bytes| stream.write_all(bytes))?;
            }
            Body::Chunked(reader) => {
                copy(reader, stream, |stream, bytes| {
                    write!(stream, "{:x}\r\n", bytes.len())?;
                    stream.write_all(bytes)?;
                    stream.write_all(b"\r\n")
                })?;
                stream.write_all(b"0\r\n\r\n")?;
            }
        }
        stream.flush()
    }

    fn head(&mut self) -> io::Result<Response> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if self.stream.read_until(b'\n', &mut head)? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed without an answer"));
                }
                if head.len() > MAX_HEAD {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the answer has no end"));
                }
            }
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut parsed = httparse::Response::new(&mut headers);
            parsed.parse(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let status = parsed.code.unwrap_or_default();
            if status >= 200 {
                let headers = parsed.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect();
                return Ok(Response { status, headers, body: Vec::new() });
            }
        }
    }

    /// Reads the body; answers whether its end was marked, so that another answer can follow.
    fn body(&mut self, method: &str, response: &mut Response, sink: Option<&mut dyn Write>) -> io::Result<bool> {
        let mut kept = Vec::new();
        // What was asked for goes there; that it cannot be had is told here.
        let sink: &mut dyn Write = match sink {
            Some(sink) if response.status < 300 => sink,
            _ => &mut kept,
        };
        let chunked = response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = response.header("content-length").and_then(|value| value.parse::<u64>().ok());
        let framed = if method == "HEAD" || matches!(response.status, 204 | 304) {
            true
        } else if chunked {
            self.chunks(sink)?;
            true
        } else if let Some(length) = length {
            let received = io::copy(&mut (&mut self.stream).take(length), sink)?;
            if received < length {
                let text = format!("the body ended after {received} of {length} bytes");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            true
        } else {
            io::copy(&mut self.stream, sink)?;
            false
        };
        response.body = kept;
        Ok(framed)
    }

    fn chunks(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("not the size of a chunk: {line:?}"))
            })?;
            if io::copy(&mut (&mut self.stream).take(size), sink)? < size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            line.clear();
            self.stream.read_line(&mut line)?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

/// The system chooses the port.
fn connect_from(from: IpAddr, addr: SocketAddr) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &addr)?;
    Ok(socket.into())
}

fn copy(
    reader: &mut dyn Read,
    stream: &mut Stream,
    mut write: impl FnMut(&mut Stream, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        write(stream, &buffer[..count])?;
    }
}
