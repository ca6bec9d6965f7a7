//! One flipped byte in what metadata is made of: the start refuses, or everything acknowledged is still there.
//! Never silently less.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use roadstead_testkit::{Image, Ledger, Seed};
use tempfile::TempDir;

use crate::scale;

/// A directory with acknowledged images, whose process is gone.
struct Installation {
    directory: Arc<TempDir>,
    ledger: Ledger,
}

impl Installation {
    fn make(seed: Seed, retags: u64, killed: bool) -> Self {
        let server = scale::launch().start();
        let (client, ledger) = (server.client(), Ledger::default());
        for number in 0..20 {
            let image = Image::generate(seed.derive(number), &[500, 5_000]);
            client.push_image("flip/app", &format!("v{number}"), &image).unwrap();
            ledger.acknowledge("flip/app", &format!("v{number}"), &image.digest());
        }
        let image = Image::generate(seed.derive(0), &[500, 5_000]);
        for _ in 0..retags {
            client.push_manifest("flip/app", "again", Image::MANIFEST, &image.manifest).unwrap();
        }
        let directory = if killed { server.kill9() } else { server.terminate().1 };
        Self { directory, ledger }
    }

    /// A copy to break.
    fn copy(&self) -> Arc<TempDir> {
        let copy = tempfile::tempdir().unwrap();
        let source = format!("{}/.", self.directory.path().display());
        let status = Command::new("cp").args(["-a", &source]).arg(copy.path()).status().unwrap();
        assert!(status.success());
        Arc::new(copy)
    }

    /// Flips bytes of each file that `is` picks, one per copy, and holds every start to the rule.
    fn flip_everywhere(&self, seed: Seed, what: &str, is: impl Fn(&Path) -> bool) {
        let files: Vec<PathBuf> = files(&self.directory.path().join("metadata/raft"));
        let picked: Vec<&PathBuf> = files.iter().filter(|file| is(file)).collect();
        assert!(!picked.is_empty(), "no {what} among {files:#?}");
        let flips = if scale::full() { 20 } else { 4 };
        let (mut refused, mut whole) = (0, 0);
        for number in 0..flips {
            let file = picked[seed.derive(number).below(picked.len() as u64) as usize];
            let copy = self.copy();
            let broken = copy.path().join(file.strip_prefix(self.directory.path()).unwrap());
            let at = flip(&broken, seed.derive(number).derive(1));
            match scale::launch().try_start_on(copy) {
                Err((status, output)) => {
                    let explained = matches!(status.code(), Some(1 | 3)) && output.contains("error: ");
                    assert!(explained, "byte {at} of {}: {status}\n{output}", broken.display());
                    refused += 1;
                }
                Ok(server) => {
                    let lost = self.ledger.verify_all(&server.client());
                    assert!(lost.is_empty(), "byte {at} of {}: started with less: {lost:#?}", broken.display());
                    whole += 1;
                }
            }
        }
        println!("{what}: {refused} starts refused, {whole} with everything there");
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Inverts one byte among those that are in use; answers which.
fn flip(file: &Path, seed: Seed) -> u64 {
    let mut bytes = fs::read(file).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let at = used[seed.below(used.len() as u64) as usize];
    bytes[at] = !bytes[at];
    fs::write(file, bytes).unwrap();
    at as u64
}

fn part_of(file: &Path, directory: &str) -> bool {
    file.components().any(|part| part.as_os_str() == directory)
}

#[test]
fn a_flipped_byte_in_the_log_is_never_silently_less() {
    let seed = scale::seed();
    let installation = Installation::make(seed, 0, true);
    installation.flip_everywhere(seed, "log", |file| part_of(file, "logs"));
}

#[test]
fn a_flipped_byte_in_the_database_is_never_silently_less() {
    let seed = scale::seed();
    let installation = Installation::make(seed, 0, false);
    installation.flip_everywhere(seed, "database", |file| part_of(file, "db"));
}

#[test]
fn a_flipped_byte_in_a_snapshot_is_never_silently_less() {
    let seed = scale::seed();
    // A snapshot is made every 10,000 entries.
    if !scale::full() {
        println!("SKIPPED snapshot: needs ROADSTEAD_TEST_FULL");
        return;
    }
    let installation = Installation::make(seed, 10_500, true);
    installation.flip_everywhere(seed, "snapshot", |file| part_of(file, "snapshots"));
}
