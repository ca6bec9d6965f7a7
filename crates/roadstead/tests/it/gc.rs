//! `roadstead gc` against a running server, as an operator types it.

use std::path::Path;
use std::process::{Command, Output};

use roadstead_testkit::{Image, Launch, Seed};
use serde_json::Value;

/// A collector that does nothing by itself while a test runs, and lets blobs go after a second.
fn launch() -> Launch {
    crate::scale::launch().set("ROADSTEAD_GC__GRACE", "1s").set("ROADSTEAD_GC__INTERVAL", "7d")
}

pub(crate) fn roadstead(directory: &Path, words: &[&str]) -> Output {
    command_of(directory, words).output().unwrap()
}

pub(crate) fn command_of(directory: &Path, words: &[&str]) -> Command {
    let mut command = crate::scale::program();
    command.args(words).arg("--data-dir").arg(directory);
    command
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn objects(directory: &Path) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found += if path.is_dir() { objects(&path) } else { 1 };
    }
    found
}

#[test]
fn what_a_dry_run_tells_the_collection_removes() {
    let server = launch().start();
    let client = server.client();
    let (kept, deleted) = (Image::generate(Seed(1), &[1_000]), Image::generate(Seed(2), &[2_000, 3_000]));
    client.push_image("team/app", "kept", &kept).unwrap();
    client.push_image("team/app", "deleted", &deleted).unwrap();
    let blobs = server.directory().join("blobs/blobs");
    assert_eq!(objects(&blobs), 5);
    let status = client.call("DELETE", &format!("/v2/team/app/manifests/{}", deleted.digest())).unwrap().status;
    assert_eq!(status, 202);

    // The grace, and what the clock is watched for: the command waits for the one, the loop for the other.
    let told = loop {
        let told = lines(&roadstead(server.directory(), &["gc", "--dry-run", "--json"]));
        if told.len() == 4 {
            break told;
        }
        std::thread::yield_now();
    };
    let end = told.last().unwrap();
    assert_eq!((&end["event"], &end["dry_run"], &end["blobs"]), (&"end".into(), &true.into(), &3.into()));
    let sizes: u64 = told[..3].iter().map(|candidate| candidate["size"].as_u64().unwrap()).sum();
    assert_eq!(end["bytes"], sizes);
    assert_eq!(objects(&blobs), 5, "a dry run removes nothing");

    let done = lines(&roadstead(server.directory(), &["gc", "--json"]));
    let end = done.last().unwrap();
    assert_eq!((&end["event"], &end["blobs"], &end["bytes"]), (&"end".into(), &3.into(), &sizes.into()));
    assert_eq!((&end["objects"], &end["waiting_objects"]), (&3.into(), &0.into()));
    assert_eq!(objects(&blobs), 2);
    client.pull_image("team/app", "kept").unwrap();

    let again = roadstead(server.directory(), &["gc"]);
    assert!(again.status.success());
    assert_eq!(String::from_utf8_lossy(&again.stdout), "removed 0 blobs of 0 bytes, deleted 0 objects\n");
}

#[test]
fn manifests_without_a_tag_go_only_by_policy() {
    let (image, other) = (Image::generate(Seed(1), &[1_000]), Image::generate(Seed(2), &[1_000]));
    let server = launch().start();
    server.client().push_image("team/app", "latest", &image).unwrap();
    server.client().push_image("team/app", "latest", &other).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let told = lines(&roadstead(server.directory(), &["gc", "--json"]));
    assert_eq!(told.last().unwrap()["manifests"], 0);
    server.client().manifest("team/app", &image.digest()).unwrap();

    let server = launch().set("ROADSTEAD_GC__UNTAGGED", "1s").start_on(server.kill9());
    let told = lines(&roadstead(server.directory(), &["gc", "--dry-run", "--json"]));
    assert_eq!((&told[0]["event"], &told[0]["digest"]), (&"manifest".into(), &image.digest().into()));
    assert_eq!((&told[0]["repository"], &told.last().unwrap()["manifests"]), (&"team/app".into(), &1.into()));
    let told = roadstead(server.directory(), &["gc"]);
    assert!(String::from_utf8_lossy(&told.stdout).starts_with("removed 1 manifests, "), "{told:?}");
    let gone = server.client().call("GET", &format!("/v2/team/app/manifests/{}", image.digest())).unwrap();
    assert_eq!(gone.status, 404);
    server.client().pull_image("team/app", "latest").unwrap();
}

#[test]
fn without_an_instance_it_says_how_to_name_one() {
    let directory = tempfile::tempdir().unwrap();
    let output = roadstead(directory.path(), &["gc"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("admin.sock") && told.contains("--data-dir"), "{told}");
    let output = roadstead(directory.path(), &["gc", "--json"]);
    let last: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &last["event"]), (Some(1), &"failed".into()), "{last}");
}

/// A script that reads a cut list takes it for the whole.
#[test]
fn a_list_that_cannot_be_written_is_a_failure() {
    let server = launch().start();
    for words in [&["gc", "--dry-run"][..], &["gc", "--dry-run", "--json"], &["gc", "--json"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = command_of(server.directory(), words).stdout(full).status().unwrap();
        assert_eq!(status.code(), Some(1), "{words:?}");
    }
}

/// The address of a socket takes 107 bytes, directories may be longer.
#[test]
fn a_long_path_is_no_hindrance_and_the_socket_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("d".repeat(120));
    let server = launch().set("ROADSTEAD_DATA_DIR", data.to_str().unwrap());
    let server = server.set("ROADSTEAD_METADATA__RAFT__DIRECTORY", data.join("metadata").to_str().unwrap()).start();
    let mode = std::fs::metadata(data.join("metadata/admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(roadstead(&data, &["gc", "--dry-run"]).status.success(), "{}", server.output());
}
