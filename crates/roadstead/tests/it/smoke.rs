//! The main job: a fresh directory, push, pull, stop, start, pull. And the ways in which a start is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use roadstead_testkit::{Content, Image, Ledger, Seed};

use crate::scale;

#[test]
fn what_is_pushed_is_pulled_before_and_after_a_restart() {
    let seed = scale::seed();
    let server = scale::launch().start();
    let ledger = Ledger::default();
    let client = server.client();
    for number in 0..3 {
        let image = Image::generate(seed.derive(number), &[1_000, 200_000, 0]);
        client.push_image("smoke/app", &format!("v{number}"), &image).unwrap();
        ledger.acknowledge("smoke/app", &format!("v{number}"), &image.digest());
    }
    let upload = client.begin("smoke/app").unwrap();
    let content = Content::new(seed, 100_000);
    let upload = client.append(&upload, &mut content.clone(), 60_000).unwrap();
    assert_eq!(upload.offset, 60_000);
    ledger.acknowledge_upload("half", &upload);
    assert_eq!(ledger.verify_all(&client), Vec::<String>::new());
    assert_eq!(open_to_others(server.directory()), [""; 0], "blobs, metadata and what signs tokens are nobody else's");

    let (status, directory) = server.terminate();
    assert_eq!(status.code(), Some(0), "SIGTERM ends in order");
    let server = scale::launch().start_on(directory);
    let client = server.client();
    assert_eq!(ledger.verify_all(&client), Vec::<String>::new());
    let rest = content.clone().skip_to(60_000).to_vec();
    let digest = roadstead_testkit::digest(&content.to_vec());
    client.finish(&client.status(&upload).unwrap(), &digest, &rest).unwrap();
    assert_eq!(client.pull_blob("smoke/app", &digest).unwrap(), 100_000);
}

/// What others on this machine may read, write or enter of what the server made in `directory`.
fn open_to_others(directory: &Path) -> Vec<String> {
    let (mut open, mut left, mut seen) = (Vec::new(), ["blobs", "metadata"].map(|one| directory.join(one)).to_vec(), 0);
    while let Some(path) = left.pop() {
        // Files come and go meanwhile.
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        seen += 1;
        if metadata.permissions().mode() & 0o077 != 0 {
            open.push(format!("{:o} {}", metadata.permissions().mode(), path.display()));
        }
        if metadata.is_dir() {
            left.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    assert!(seen > 10, "{seen}");
    open
}

#[test]
fn it_says_where_it_listens_where_data_is_and_how_to_push() {
    let server = scale::launch().start();
    let output = server.output();
    let directory = server.directory().display().to_string();
    for part in [
        format!("listening on http://{}", server.addr()),
        format!("blobs in {directory}/blobs, metadata in {directory}/metadata"),
        format!("push with: docker push {}/NAME", server.addr()),
    ] {
        assert!(output.contains(&part), "{part:?} is not in\n{output}");
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let server = scale::launch().start();
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let (metadata, blobs) = (server.directory().join("metadata"), directory.path().join("blobs"));
    let second = scale::launch()
        .set("ROADSTEAD_METADATA__RAFT__DIRECTORY", metadata.to_str().unwrap())
        .set("ROADSTEAD_STORAGE__FILESYSTEM__ROOTDIRECTORY", blobs.to_str().unwrap());
    let (status, output) = second.try_start_on(directory).unwrap_err();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains(&format!("in use by process {}", server.pid())), "{output}");
    server.client().push_image("still/serves", "latest", &Image::generate(Seed(1), &[10])).unwrap();
}

#[test]
fn a_store_of_another_installation_is_refused() {
    let (_, first) = scale::launch().start().terminate();
    let (_, second) = scale::launch().start().terminate();
    let foreign = first.path().join("blobs");
    let launch = scale::launch().set("ROADSTEAD_STORAGE__FILESYSTEM__ROOTDIRECTORY", foreign.to_str().unwrap());
    let (status, output) = launch.try_start_on(second).unwrap_err();
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("belongs to cluster"), "{output}");
}

#[test]
fn a_metadata_directory_of_another_kind_is_refused() {
    let (_, directory) = scale::launch().start().terminate();
    let identity = directory.path().join("metadata/roadstead.json");
    let found = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, found.replace("\"writer\": 1", "\"writer\": 9")).unwrap();
    let (status, output) = scale::launch().try_start_on(directory.clone()).unwrap_err();
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("run a newer version"), "{output}");

    // Somebody else's directory.
    std::fs::remove_file(&identity).unwrap();
    let (status, output) = scale::launch().try_start_on(directory).unwrap_err();
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("start on an empty one"), "{output}");
}

#[test]
fn a_store_that_has_vanished_is_refused() {
    let (_, directory) = scale::launch().start().terminate();
    std::fs::remove_dir_all(directory.path().join("blobs")).unwrap();
    let (status, output) = scale::launch().try_start_on(directory).unwrap_err();
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("mounted"), "{output}");
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let launch = scale::launch().set("ROADSTEAD_HTTP__MAX_CONNECTIONS", "1").set("ROADSTEAD_HTTP__ADRR", "x");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let (status, output) = launch.try_start_on(directory.clone()).unwrap_err();
    assert_eq!(status.code(), Some(2), "{output}");
    assert!(output.contains("http.max_connections"), "{output}");
    assert!(output.contains("did you mean ROADSTEAD_HTTP__ADDR?"), "{output}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn version_and_reference_are_printed() {
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_roadstead")).args(arguments).output().unwrap();
    let version: serde_json::Value = serde_json::from_slice(&run(&["version", "--json"]).stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(run(&["config", "reference"]).stdout.starts_with(b"# Configuration"));
    assert_eq!(run(&["config", "check", "/absent.yml"]).status.code(), Some(2));
    assert_eq!(run(&["unknown"]).status.code(), Some(2));
}

#[test]
fn the_secret_signs_upload_sessions() {
    let with = |secret: &str| scale::launch().set("ROADSTEAD_HTTP__SECRET", secret);
    let server = with("the first of two secrets").start();
    let upload = server.client().begin("secret").unwrap();
    let (_, directory) = server.terminate();
    let server = with("the second of two secrets").start_on(directory);
    assert!(server.client().status(&upload).is_err(), "signed with another secret");
    let (_, directory) = server.terminate();
    let server = with("the first of two secrets").start_on(directory);
    assert_eq!(server.client().status(&upload).unwrap(), upload);
}
