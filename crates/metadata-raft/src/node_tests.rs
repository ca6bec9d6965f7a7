#![allow(clippy::unwrap_used, clippy::expect_used)]

use uuid::Uuid;

use super::*;

#[test]
fn what_an_acknowledgement_rests_on_is_set() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::lock(root.path()).unwrap();
    let options = Options::new(root.path());
    let peers = Peers::draw(Uuid::now_v7());
    let secrets = directory.secrets().unwrap();
    let config = config(&directory, &options, &peers, &peers.listen().unwrap(), secrets).unwrap();
    config.is_valid().unwrap();
    assert_eq!(config.wal_sync, LogSync::Immediate);
    assert!(config.wal_size as usize > 2 * roadstead_metadata::BATCH_BYTES, "a batch must fit into one log file");
    for host in [&config.listen_addr_api, &config.listen_addr_raft] {
        assert!(host.starts_with("127."), "{host}");
    }
}
