//! The addresses of the cluster's members, as they stand in the Raft log for ever.
//!
//! Raft stores each member's address in its log, and hiqlite can neither change one later nor authenticate its peers.
//! So what is stored is not where a member is, but a loopback name for it: member N of the cluster is
//! `127.x.y.N`, with x, y and two ports drawn once per cluster. hiqlite listens there on its own host; on the other
//! hosts a forwarder listens at the same name and carries the traffic, over mutual TLS, to wherever member N really
//! is. Nothing here is ever reachable from another host. Reasons and measurements: `docs/adr/0002-peer-addresses.md`.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The member every cluster begins with.
pub(crate) const FIRST: u64 = 1;

/// The naming scheme of one cluster: the content of `peers.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peers {
    /// The second and third byte of every member's address.
    pub(crate) network: [u8; 2],
    /// The port of Raft traffic.
    pub(crate) raft_port: u16,
    /// The port of hiqlite's client traffic.
    pub(crate) api_port: u16,
}

/// Where hiqlite listens on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) host: Ipv4Addr,
    pub(crate) raft_port: u16,
    pub(crate) api_port: u16,
}

/// Below the range that Linux and others take ports for outgoing connections from.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many pairs of ports are tried before one is left to the system.
const TRIES: u16 = 16;

impl Peers {
    /// Draws the names of a new cluster: from its id, and with ports that are free here now.
    pub(crate) fn draw(cluster: Uuid) -> Self {
        // The last bytes of a UUIDv7 are random.
        let [.., a, b, c, d] = *cluster.as_bytes();
        let pairs = (PORTS.end - PORTS.start) / 2;
        let first = u16::from_be_bytes([c, d]) % pairs;
        // 127.0.y.N is left alone: 127.0.0.1 and 127.0.0.53 have owners.
        let network = [a % 254 + 1, b];
        let candidate = |turn: u16| {
            let raft_port = PORTS.start + 2 * ((first + turn) % pairs);
            Peers { network, raft_port, api_port: raft_port + 1 }
        };
        let usable = |peers: &Peers| peers.wanted().free() || peers.plain().free();
        (0..TRIES).map(candidate).find(usable).unwrap_or_else(|| candidate(0))
    }

    /// The host name of member `id`.
    fn host(&self, id: u64) -> Ipv4Addr {
        // Ids are never reused, so the last byte wraps; members 254 apart are never both alive.
        let [x, y] = self.network;
        Ipv4Addr::new(127, x, y, ((id - 1) % 254 + 1) as u8)
    }

    /// Where member `id` is reached for Raft traffic.
    pub(crate) fn raft(&self, id: u64) -> SocketAddrV4 {
        SocketAddrV4::new(self.host(id), self.raft_port)
    }

    /// Where member `id` is reached for client traffic.
    pub(crate) fn api(&self, id: u64) -> SocketAddrV4 {
        SocketAddrV4::new(self.host(id), self.api_port)
    }

    fn wanted(&self) -> Listen {
        Listen { host: self.host(FIRST), raft_port: self.raft_port, api_port: self.api_port }
    }

    fn plain(&self) -> Listen {
        Listen { host: Ipv4Addr::LOCALHOST, ..self.wanted() }
    }

    /// Where the first member listens: at its own name, or, when that is taken or the host has only 127.0.0.1 (as
    /// macOS has), at any free loopback ports. A node alone is dialled by nobody, so it starts all the same.
    pub(crate) fn listen(&self) -> std::io::Result<Listen> {
        if let Some(free) = [self.wanted(), self.plain()].into_iter().find(Listen::free) {
            return Ok(free);
        }
        let (raft, api) = (bind(Ipv4Addr::LOCALHOST, 0)?, bind(Ipv4Addr::LOCALHOST, 0)?);
        let listen = Listen {
            host: Ipv4Addr::LOCALHOST,
            raft_port: raft.local_addr()?.port(),
            api_port: api.local_addr()?.port(),
        };
        tracing::warn!(wanted = %self.raft(FIRST), raft_port = listen.raft_port, api_port = listen.api_port,
            "metadata listens on other loopback ports because its own are taken");
        Ok(listen)
    }
}

impl Listen {
    fn free(&self) -> bool {
        bind(self.host, self.raft_port).and_then(|_raft| bind(self.host, self.api_port)).is_ok()
    }
}

fn bind(host: Ipv4Addr, port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((host, port))
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
