//! Load: as many small requests as the server takes, and large bodies both ways.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::Request;

/// Threads that send requests.
const THREADS: usize = 2;
/// Connections of each of them: all have a request under way at a time.
const CONNECTIONS: usize = 32;
/// Bytes read at a time from a large body.
const BUFFER: usize = 256 << 10;

/// Sends one request over and over on many connections for so long; answers how many were answered 200.
///
/// # Errors
/// When a connection breaks, and when one of them was answered otherwise.
pub fn requests(addr: SocketAddr, request: &Request, wanted: Duration) -> io::Result<u64> {
    let Request { method, target, headers } = request;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {addr}\r\n{headers}\r\n");
    let (request, body) = (request.as_bytes(), method != "HEAD");
    let until = Instant::now() + wanted;
    let counts = thread::scope(|scope| {
        let started: Vec<_> = (0..THREADS).map(|_| scope.spawn(move || send(addr, request, body, until))).collect();
        let joined =
            started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("panicked"))));
        joined.collect::<io::Result<Vec<u64>>>()
    });
    counts.map(|counts| counts.iter().sum()).map_err(|error| named(method, target, &error))
}

/// One thread: a request on each connection, then the answer of each, until it is time.
fn send(addr: SocketAddr, request: &[u8], body: bool, until: Instant) -> io::Result<u64> {
    let mut connections = (0..CONNECTIONS).map(|_| Connection::open(addr)).collect::<io::Result<Vec<_>>>()?;
    let mut answered = 0;
    while Instant::now() < until {
        for connection in &mut connections {
            connection.stream.write_all(request)?;
        }
        for connection in &mut connections {
            connection.answer(body)?;
            answered += 1;
        }
    }
    Ok(answered)
}

fn named(method: &str, target: &str, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{method} {target}: {error}"))
}

/// GETs a body of `length` bytes on a connection of its own and throws it away.
///
/// # Errors
/// When the connection breaks, the answer is not 200, or the body has another length.
pub fn pull(addr: SocketAddr, target: &str, length: u64) -> io::Result<()> {
    let pulled = || -> io::Result<u64> {
        let mut connection = Connection::open(addr)?;
        write!(connection.stream, "GET {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
        connection.read.resize(BUFFER, 0);
        let announced = connection.head()?;
        let mut received = (connection.filled - connection.used) as u64;
        while received < announced {
            match connection.stream.read(&mut connection.read)? {
                0 => break,
                count => received += count as u64,
            }
        }
        Ok(received)
    };
    match pulled() {
        Ok(received) if received == length => Ok(()),
        Ok(received) => Err(named("GET", target, &format!("{received} of {length} bytes"))),
        Err(error) => Err(named("GET", target, &error)),
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// Bytes of `read` that came from the server.
    filled: usize,
    /// Bytes of those that have been dealt with.
    used: usize,
}

impl Connection {
    fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, read: vec![0; 16 << 10], filled: 0, used: 0 })
    }

    /// Reads an answer that must be 200, and its body if it has one.
    fn answer(&mut self, body: bool) -> io::Result<()> {
        let length = self.head()? as usize;
        if body {
            while self.filled - self.used < length {
                self.more()?;
            }
            self.used += length;
        }
        Ok(())
    }

    /// Reads a head up to its end; answers the length that it announces.
    fn head(&mut self) -> io::Result<u64> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&self.read[self.used..self.filled]).map_err(io::Error::other)? {
                httparse::Status::Partial => self.more()?,
                httparse::Status::Complete(length) => {
                    let status = response.code.unwrap_or_default();
                    if status != 200 {
                        return Err(io::Error::other(format!("answered {status}")));
                    }
                    let named = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
                    let announced = named.and_then(|h| std::str::from_utf8(h.value).ok()?.parse().ok());
                    self.used += length;
                    return announced.ok_or_else(|| io::Error::other("no Content-Length"));
                }
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        self.read.copy_within(self.used..self.filled, 0);
        (self.filled, self.used) = (self.filled - self.used, 0);
        match self.stream.read(&mut self.read[self.filled..])? {
            0 => Err(io::Error::other("closed, or its head is too long")),
            count => {
                self.filled += count;
                Ok(())
            }
        }
    }
}
