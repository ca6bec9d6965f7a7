//! A proxy that delivers what a server answers a while later, so that round trips can be counted by the time they take.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A proxy in front of a server. It lives as long as the process.
#[derive(Debug)]
pub struct Late {
    address: SocketAddr,
    user: String,
    path: String,
}

impl Late {
    /// In front of the server that `url` (`scheme://user@host:port/path`) names: each of its answers takes `by` longer.
    pub fn in_front_of(url: &str, by: Duration) -> Self {
        let (user, rest) = url.split_once('@').expect("a URL with a user");
        let (server, path) = rest.split_once('/').expect("a URL with a path");
        let server: SocketAddr = server.parse().expect("an address");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is away ends the connection.
                if let Ok(server) = TcpStream::connect(server) {
                    join(client, server, by);
                }
            }
        });
        Self { address, user: user.to_owned(), path: path.to_owned() }
    }

    /// The URL that leads through it.
    pub fn url(&self) -> String {
        format!("{}@{}/{}", self.user, self.address, self.path)
    }
}

fn join(client: TcpStream, server: TcpStream, by: Duration) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (to_server, to_client) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
    forward(client, to_server, Duration::ZERO);
    forward(server, to_client, by);
}

fn forward(mut from: TcpStream, mut to: TcpStream, by: Duration) {
    let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = [0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if send.send((Instant::now() + by, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receive {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
