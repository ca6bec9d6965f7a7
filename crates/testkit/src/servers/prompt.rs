//! A proxy that acknowledges at once what a server sends.
//!
//! A server that answers in several small writes, and has not set `TCP_NODELAY`, sends each only when the one before was
//! acknowledged; the kernel of whoever receives them holds that back for 40 ms in case there is something to send along.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use rustix::net::sockopt::set_tcp_quickack;

use super::address;

/// Listens on a port of its own, and passes on to `server` and back for as long as the process lives. Where it listens.
pub(super) fn in_front_of(server: SocketAddr) -> SocketAddr {
    let listener = address::near();
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A server that is away ends the connection.
            let Ok(server) = TcpStream::connect(server) else { continue };
            let (from, to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            thread::spawn(move || forward(from, to));
            thread::spawn(move || forward(server, client));
        }
    });
    address
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        // It holds only until something is sent.
        let _ = set_tcp_quickack(&from, true);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
