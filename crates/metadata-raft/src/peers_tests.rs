#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn names_are_loopback_names_of_nobody_else(cluster in any::<u128>(), id in 1u64..1000) {
        let peers = Peers::draw(Uuid::from_u128(cluster));
        let (raft, api) = (peers.raft(id), peers.api(id));
        prop_assert!(raft.ip().is_loopback());
        prop_assert_eq!(raft.ip(), api.ip());
        let [_, x, _, n] = raft.ip().octets();
        prop_assert!((1..=254).contains(&x) && (1..=254).contains(&n));
        prop_assert!(PORTS.contains(&raft.port()) && PORTS.contains(&api.port()) && raft.port() != api.port());
    }
}

#[test]
fn members_of_one_cluster_differ_and_keep_their_names() {
    let peers = Peers::draw(Uuid::now_v7());
    let names: std::collections::HashSet<_> = (1..=254).map(|id| peers.raft(id)).collect();
    assert_eq!(names.len(), 254);
    assert_eq!(peers.raft(1).ip().octets()[3], 1);
    assert_eq!(peers.raft(255), peers.raft(1));
}

#[test]
fn a_taken_name_is_left_for_another_loopback_port() {
    let peers = Peers::draw(Uuid::now_v7());
    let at_home = peers.listen().unwrap();
    let _name = bind(at_home.host, at_home.raft_port).unwrap();
    let elsewhere = peers.listen().unwrap();
    assert_ne!(elsewhere, at_home);
    let _plain = bind(Ipv4Addr::LOCALHOST, peers.api_port).unwrap();
    let anywhere = peers.listen().unwrap();
    assert_ne!(anywhere, elsewhere);
    assert!(anywhere.host.is_loopback() && anywhere.free());
}
