//! Addresses that stay free while nobody listens there.
//!
//! A port of 127.0.0.1 that a server leaves may be given to any connection that is made from there, and is then taken for
//! a minute after the connection has ended: a server that is stopped and started again does not get it back. Connections
//! within this machine come from 127.0.0.1, so that no port of its other addresses is given to one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Hosts of one process; after that many addresses they come again, with other ports.
const HOSTS: u32 = 64;

/// An address below 127.0.0.0/8 whose host is that of no other process, with a port that is free.
pub fn free_address() -> SocketAddr {
    listener().local_addr().expect("an address")
}

/// An address of 127.0.0.1, for a server that is not started again: where the registry is, as some clients follow a redirect
/// to no other address of this machine.
pub(super) fn near_address() -> SocketAddr {
    near().local_addr().expect("an address")
}

/// A listener at such an address.
pub(super) fn near() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
}

/// A listener at an address of its own.
pub(super) fn listener() -> TcpListener {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = process::id().to_be_bytes();
    let number = 64 + NUMBER.fetch_add(1, Ordering::Relaxed) % HOSTS;
    let host = Ipv4Addr::new(127, u8::try_from(number).unwrap_or(64), high, low.clamp(1, 254));
    TcpListener::bind((host, 0)).expect("a free port")
}
