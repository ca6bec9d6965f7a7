//! Less memory than metadata.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use roadstead_testkit::{Client, Content, Image, Seed, digest};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Needs, Stand, inside, stand::launch};
use crate::gc::command_of;
use crate::scale;

const REPOSITORY: &str = "failures/memory";
const CLIENTS: usize = 4;

/// A control group of its own for a server: what it may use, page cache and all.
pub(super) struct Group(PathBuf);

impl Group {
    /// Makes a group with a limit, in whichever generation of control groups this machine has.
    pub(super) fn make(limit: u64) -> std::io::Result<Self> {
        let groups = Path::new("/sys/fs/cgroup");
        let name = format!("roadstead-test-{}", std::process::id());
        let first = groups.join("memory");
        let group = Self(if first.is_dir() { first.join(name) } else { groups.join(name) });
        fs::create_dir(&group.0)?;
        let file = if first.is_dir() { "memory.limit_in_bytes" } else { "memory.max" };
        group.set(file, limit)?;
        for (file, limit) in [("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", limit)] {
            // Neither is everywhere.
            _ = group.set(file, limit);
        }
        Ok(group)
    }

    fn set(&self, file: &str, limit: u64) -> std::io::Result<()> {
        fs::OpenOptions::new()
            .write(true)
            .open(self.0.join(file))
            .and_then(|_| fs::write(self.0.join(file), limit.to_string()))
    }

    /// A shell that enters the group and becomes what follows.
    fn enter(&self) -> [String; 4] {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn less_than_metadata() {
    inside("memory::less_than_metadata", Needs::Group, |root| {
        // In megabytes, then manifests and the bytes of each that cannot be compressed. Larger ones become blobs.
        let (limit, count, bytes) = if scale::full() { (160, 9_500, 20_000) } else { (96, 2_400, 45_000) };
        let group = Group::make(limit << 20).unwrap();
        let (metadata, enter) = (root.join("m"), group.enter());
        let launch = launch(&root.join("b"), &metadata);
        let stand = Stand::launch(launch.under(&enter.each_ref().map(String::as_str)));
        let begun = Instant::now();
        push_until_killed(&stand, count, bytes);
        let pushed = begun.elapsed();
        let size = fs::metadata(metadata.join("raft/state_machine/db/metadata.db")).unwrap().len() >> 20;
        assert!(size > limit, "{size} MB of metadata");
        let begun = Instant::now();
        let stand = stand.kill_and_start();
        let (started, peak) = (begun.elapsed(), stand.server.peak() >> 20);
        println!(
            "failures: memory: {count} manifests, {size} MB, under a limit of {limit} MB: pushed in {pushed:.1?}, after \
             kill -9 back in {started:.1?}, peak {peak} MB",
        );
        stand.assert_pulls();
        let listed = stand.client().call("GET", &format!("/v2/{REPOSITORY}/tags/list?n=1000")).unwrap();
        assert_eq!(listed.json()["tags"].as_array().map(Vec::len), Some(1_000));
        for words in [&["scrub", "--rate", "1GiB"][..], &["gc", "--dry-run"]] {
            let mut command = command_of(stand.server.directory(), words);
            command.env("ROADSTEAD_METADATA__RAFT__DIRECTORY", &metadata);
            command.env("ROADSTEAD_STORAGE__FILESYSTEM__ROOTDIRECTORY", root.join("b"));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{words:?}: {output:?}");
        }
        stand.assert_recovers();
        drop(stand.server);
    });
}

/// Pushes manifests, each of which takes so many bytes when it is compressed, and kills the server once so many are
/// acknowledged.
fn push_until_killed(stand: &Stand, count: u64, bytes: u64) {
    let config = stand.client().push_blob(REPOSITORY, b"{}").unwrap();
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2});
    let (next, addr, ledger) = (AtomicU64::new(0), stand.server.addr(), &stand.ledger);
    thread::scope(|scope| {
        let (acknowledged, acknowledgements) = mpsc::channel();
        for _ in 0..CLIENTS {
            let (config, next, acknowledged) = (&config, &next, acknowledged.clone());
            scope.spawn(move || {
                let client = Client::new(addr);
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let (tag, manifest) = (format!("t{number}"), manifest(config, number, bytes));
                    if client.push_manifest(REPOSITORY, &tag, Image::MANIFEST, &manifest).is_err() {
                        return;
                    }
                    ledger.acknowledge(REPOSITORY, &tag, &digest(&manifest));
                    _ = acknowledged.send(());
                }
            });
        }
        drop(acknowledged);
        let seen = acknowledgements.iter().take(usize::try_from(count).unwrap()).count() as u64;
        assert_eq!(seen, count, "{}", stand.server.output());
        stand.server.signal(Signal::KILL);
    });
}

fn manifest(config: &Value, number: u64, bytes: u64) -> Vec<u8> {
    let annotations = json!({"n": noise(number, bytes)});
    let manifest = json!({"schemaVersion": 2, "mediaType": Image::MANIFEST, "config": config, "layers": [],
        "annotations": annotations});
    manifest.to_string().into_bytes()
}

/// Text of which so many bytes are left when it is compressed: of six bits to a byte.
fn noise(number: u64, bytes: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random = Content::new(Seed(7_000_000 + number), bytes * 4 / 3).to_vec();
    random.into_iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect()
}
