//! A proxy that ends a connection at a chosen byte of what the server answers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

/// A proxy in front of a server. It lives as long as the process.
#[derive(Debug)]
pub struct Cutting {
    address: SocketAddr,
    user: String,
    path: String,
    /// Bytes that may still come.
    left: Arc<AtomicI64>,
}

impl Cutting {
    /// In front of the server that `url` (`scheme://user@host:port/path`) names.
    pub fn in_front_of(url: &str) -> Self {
        let (user, rest) = url.split_once('@').expect("a URL with a user");
        let (server, path) = rest.split_once('/').expect("a URL with a path");
        let server: SocketAddr = server.parse().expect("an address");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let counted = left.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is away ends the connection.
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (from, to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let unlimited = Arc::new(AtomicI64::new(i64::MAX));
                thread::spawn(move || forward(from, to, &unlimited));
                let counted = counted.clone();
                thread::spawn(move || forward(server, client, &counted));
            }
        });
        Self { address, user: user.to_owned(), path: path.to_owned(), left }
    }

    /// The URL that leads through it.
    pub fn url(&self) -> String {
        format!("{}@{}/{}", self.user, self.address, self.path)
    }

    /// Cuts one connection once `bytes` more have come, and no other after that.
    pub fn cut_after(&self, bytes: u32) {
        self.left.store(bytes.into(), Ordering::SeqCst);
    }

    /// Whether a cut is still to come.
    pub fn is_whole(&self) -> bool {
        self.left.load(Ordering::SeqCst) < i64::from(u32::MAX)
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let _ = to.set_nodelay(true);
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let before = left.fetch_sub(length as i64, Ordering::SeqCst);
        let passed = length.min(usize::try_from(before).unwrap_or(0));
        let written = to.write_all(&buffer[..passed]);
        if passed < length {
            left.store(i64::MAX, Ordering::SeqCst);
        }
        if passed < length || written.is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
