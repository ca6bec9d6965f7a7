#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use uuid::Uuid;

use super::*;

#[test]
fn what_an_acknowledgement_rests_on_is_set() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::lock(root.path()).unwrap();
    let options = Options::new(root.path());
    let peers = Peers::draw(Uuid::now_v7());
    let secrets = directory.secrets().unwrap();
    let config = config(&directory, &options, &peers, &peers.listen().unwrap(), secrets, 10_000).unwrap();
    config.is_valid().unwrap();
    assert_eq!(config.wal_sync, LogSync::Immediate);
    assert!(config.wal_size as usize > 2 * roadstead_metadata::BATCH_BYTES, "a batch must fit into one log file");
    for host in [&config.listen_addr_api, &config.listen_addr_raft] {
        assert!(host.starts_with("127."), "{host}");
    }
}

#[test]
fn snapshots_of_a_large_database_are_rarer() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::lock(root.path()).unwrap();
    let (options, database) = (Options::new(root.path()), directory.database());
    let (peers, secrets) = (Peers::draw(Uuid::now_v7()), directory.secrets().unwrap());
    let bytes = |mib: u64| mib << 20;
    assert_eq!(entries_per_snapshot(&options, &database, bytes(256)), 10_000);
    assert_eq!(entries_per_snapshot(&options, &database, bytes(20)), 1_706, "little memory");
    std::fs::create_dir_all(database.parent().unwrap()).unwrap();
    for (megabytes, entries) in [(1, 10_000), (625, 10_000), (1_000, 16_000), (3_000, 20_000)] {
        std::fs::File::create(&database).unwrap().set_len(megabytes << 20).unwrap();
        assert_eq!(entries_per_snapshot(&options, &database, bytes(256)), entries);
        assert_eq!(entries_per_snapshot(&options, &database, bytes(20)), 1_706);
    }
    let config = config(&directory, &options, &peers, &peers.listen().unwrap(), secrets, 20_000).unwrap();
    assert!(matches!(config.raft_config.snapshot_policy, SnapshotPolicy::LogsSinceLast(20_000)));
}

/// Answers `states` one after the other and then the last for ever.
async fn caught_up(states: &[State]) -> CatchUp {
    let looks = std::cell::Cell::new(0);
    let state = || {
        let look = looks.replace(looks.get() + 1);
        async move { Ok(states[look.min(states.len() - 1)]) }
    };
    // All looks together take longer than this.
    catch_up(state, 10 * LOOK).await
}

#[tokio::test]
async fn a_replay_may_take_as_long_as_it_goes_on() {
    let state = |applied| State { led: true, applied, last: Some(50), written: 7 };
    let all: Vec<State> = (0..=50).map(|applied| state(Some(applied))).collect();
    assert_eq!(caught_up(&all).await, CatchUp::Done);
    let stuck = caught_up(&all[..20]).await;
    assert_eq!(stuck, CatchUp::Late("19 of 50 log entries applied".to_owned()));
    // One entry that makes an index.
    let writing = (0..30).map(|step| State { written: step, ..state(Some(19)) });
    let all: Vec<State> = writing.chain([state(Some(50))]).collect();
    assert_eq!(caught_up(&all).await, CatchUp::Done);
    let leaderless = caught_up(&[State { led: false, applied: Some(50), last: Some(50), written: 7 }]).await;
    assert!(matches!(leaderless, CatchUp::Late(_)), "{leaderless:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hiqlite_cannot_read_is_damage() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { disk_reserve: 0, ..Options::new(root.path()) };
    crate::RaftSql::open(options.clone()).await.unwrap().shutdown().await;
    let file = root.path().join("raft/logs/meta.hql");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let refused = crate::RaftSql::open(options).await.unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}
