#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::durable::take;
use crate::{Options, RaftSql};

#[test]
fn a_replaced_file_is_whole_and_durable_before_it_has_its_name() {
    let root = tempfile::tempdir().unwrap();
    replace(&root.path().join("file.json"), b"content").unwrap();
    assert_eq!(take(root.path()), ["sync file.json", "publish file.json", "sync ."]);
    assert_eq!(fs::read(root.path().join("file.json")).unwrap(), b"content");
}

#[test]
fn every_new_directory_is_durable() {
    let root = tempfile::tempdir().unwrap();
    make_directory(&root.path().join("a/b")).unwrap();
    assert_eq!(take(root.path()), ["make a", "sync .", "make a/b", "sync a"]);
    make_directory(&root.path().join("a/b")).unwrap();
    assert_eq!(take(root.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_first_start_makes_is_durable() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("metadata");
    let sql = RaftSql::open(Options { disk_reserve: 0, ..Options::new(&directory) }).await.unwrap();
    let events = take(root.path());
    sql.shutdown().await;
    let made =
        ["make metadata", "sync .", "publish metadata/peers.json", "sync metadata", "publish metadata/secrets.json"];
    let raft = ["make metadata/raft", "sync metadata", "sync metadata/raft", "sync metadata/raft/logs"];
    let state = ["sync metadata/raft/state_machine", "sync metadata/raft/state_machine/db"];
    let mut rest = events.iter();
    for wanted in made.iter().chain(&raft).chain(&state) {
        assert!(rest.any(|event| event == wanted), "{wanted} is missing, or too early: {events:?}");
    }
}
