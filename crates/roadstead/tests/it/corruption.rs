//! One flipped byte in what metadata is made of: the start refuses, or everything acknowledged is still there.
//! Never silently less. And one in a blob: nobody who pulls it gets all of its bytes.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use roadstead_testkit::{Content, Image, Ledger, Seed, Server};
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

/// The status of a pull of a blob, and how many bytes came before the connection ended.
fn pull(server: &Server, digest: &str) -> (String, u64) {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    let request = format!("GET /v2/flip/blob/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
    (String::from_utf8_lossy(&answer[9..12]).into_owned(), (answer.len() - head) as u64)
}

/// The file of a blob: of several copies the one that was pushed last.
pub(crate) fn file_of(server: &Server, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    let found = files(&server.directory().join("blobs/blobs"));
    found.into_iter().rfind(|file| file.to_string_lossy().contains(hex)).expect("the blob's file")
}

pub(crate) fn flip_at(file: &Path, at: u64) {
    use std::os::unix::fs::FileExt as _;
    let opened = File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    opened.read_exact_at(&mut byte, at).unwrap();
    opened.write_all_at(&[!byte[0]], at).unwrap();
}

#[test]
fn a_damaged_blob_never_looks_whole() {
    let seed = scale::seed();
    let mut server = scale::launch().start();
    for (number, size) in [1, 50_000, 200_000, 20 << 20].into_iter().enumerate() {
        let bytes = Content::new(seed.derive(number as u64), size).to_vec();
        // Each push heals what was damaged before: its copy takes the place of the other.
        let push = |server: &Server| server.client().push_blob("flip/blob", &bytes).unwrap();
        let whole = ("200".to_owned(), size);
        for at in [0, size / 2, size - 1] {
            let digest = push(&server);
            assert_eq!(pull(&server, &digest), whole);
            flip_at(&file_of(&server, &digest), at);
            // A process that has seen the bytes when they were right, and one that has not.
            for _ in 0..2 {
                let (status, got) = pull(&server, &digest);
                let broken = status == "200" && got < size && size > 64 << 10;
                assert!(broken || status == "500", "byte {at} of {size}: {status}, {got} bytes");
                server = server.restart();
            }
        }
        let digest = push(&server);
        let open = || File::options().write(true).open(file_of(&server, &digest)).unwrap();
        open().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(pull(&server, &digest), whole, "touched, but equal");
        open().set_len(size - 1).unwrap();
        assert_eq!(pull(&server, &digest).0, "500", "cut short");
        push(&server);
        fs::remove_file(file_of(&server, &digest)).unwrap();
        assert_eq!(pull(&server, &digest).0, "500", "deleted");
    }
}

#[test]
fn a_blob_cut_short_while_it_is_pulled_never_looks_whole() {
    let (seed, size) = (scale::seed(), 64 << 20);
    let server = scale::launch().start();
    let digest = server.client().push_reader("flip/blob", || Content::new(seed, size)).unwrap();
    let file = file_of(&server, &digest);
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    let request = format!("GET /v2/flip/blob/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut some = [0; 1000];
    stream.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    // What waits between the two is far less than what is cut off.
    File::options().write(true).open(&file).unwrap().set_len(size - (16 << 20)).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!((rest.len() as u64) < size - 1000, "{} bytes", rest.len());
    let _ = server.terminate();
}
