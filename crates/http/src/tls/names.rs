//! What a made certificate is for: what was asked for, and every way in which somebody reaches this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// More than a machine has; a certificate must fit into a handshake.
const MOST: usize = 100;

/// `given` first, then `localhost`, the name of the machine and its addresses, each once.
pub(super) fn all(given: &[String]) -> Vec<String> {
    let mut names = given.to_vec();
    names.push("localhost".into());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if is_host(&machine) {
        names.push(machine);
    }
    names.extend([IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].map(|address| address.to_string()));
    names.extend(addresses());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.to_ascii_lowercase()));
    names.truncate(MOST);
    names
}

/// Addresses that others may use; a link-local one means something else on every link.
fn addresses() -> Vec<String> {
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the addresses of this machine are not known: its certificate is not for them");
        Vec::new()
    });
    let mut addresses: Vec<_> = found
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    // The order of the system is not always the same.
    addresses.sort_unstable();
    addresses.iter().map(IpAddr::to_string).collect()
}

/// Whether a name can stand in a certificate; those of machines may have anything.
fn is_host(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}
