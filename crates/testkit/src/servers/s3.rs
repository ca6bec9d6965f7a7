//! S3 servers over a temporary directory: `s3s-fs`, small and quick, and MinIO ([`minio`](super::minio())), which
//! many people run. Both check signatures.
//!
//! `s3s-fs` keeps objects as files, so that a key is a directory when others lie below it, and it does not decide between
//! two writers of one key that race.
#![allow(clippy::disallowed_methods, reason = "the directory is that of another server")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::keeper::Kept;
use super::{find, free_address, prompt};

/// What the bucket is called.
pub(super) const BUCKET: &str = "blobs";
/// Keys of eight characters and more, with some that have to be encoded.
pub(super) const KEYS: (&str, &str) = ("TESTACCESSKEY", "test/secret+key");

/// A running S3 server with one empty bucket. Dropped, it is stopped and what it kept is gone.
#[derive(Debug)]
pub struct S3Server {
    pub(super) kept: Kept,
    pub(super) kind: Kind,
    /// `http://host:port`.
    pub endpoint: String,
    /// The bucket.
    pub bucket: &'static str,
    /// The access key.
    pub access_key: &'static str,
    /// The secret key.
    pub secret_key: &'static str,
}

/// How a server keeps what it is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// An object is a file.
    Files,
    /// An object is a directory with a description in it.
    Minio,
}

/// Starts an S3 server. `None`, after saying so, when `s3s-fs` is not installed.
pub fn s3() -> Option<S3Server> {
    let program = find("s3s-fs")?;
    let mut kept = Kept::new("s3");
    let root = data(&kept);
    std::fs::create_dir_all(root.join(BUCKET)).expect("a bucket");
    // Another process may take a port that was free.
    for _ in 0..10 {
        let addr = free_address();
        let mut command = Command::new(&program);
        command.args(["--host", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
        command.args(["--access-key", KEYS.0, "--secret-key", KEYS.1]).arg(&root);
        let process = kept.start(command.env("RUST_LOG", "s3s_fs=info").stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        if lines.any(|line| line.is_ok_and(|line| line.contains("server is running"))) {
            thread::spawn(move || lines.for_each(drop));
            let addr = prompt::in_front_of(addr);
            return Some(S3Server::new(kept, Kind::Files, addr));
        }
        // It closed its output: it ends.
    }
    panic!("s3s-fs does not find a free port");
}

/// Where a server keeps its buckets.
pub(super) fn data(kept: &Kept) -> PathBuf {
    kept.directory().join("data")
}

impl S3Server {
    pub(super) fn new(kept: Kept, kind: Kind, addr: SocketAddr) -> Self {
        let endpoint = format!("http://{addr}");
        Self { kept, kind, endpoint, bucket: BUCKET, access_key: KEYS.0, secret_key: KEYS.1 }
    }

    /// Where it keeps everything.
    pub fn directory(&self) -> &Path {
        self.kept.directory()
    }

    /// What makes the registry keep its blobs here.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ROADSTEAD_STORAGE__S3__BUCKET", self.bucket.to_owned()),
            ("ROADSTEAD_STORAGE__S3__REGIONENDPOINT", self.endpoint.clone()),
            ("ROADSTEAD_STORAGE__S3__ACCESSKEY", self.access_key.to_owned()),
            ("ROADSTEAD_STORAGE__S3__SECRETKEY", self.secret_key.to_owned()),
        ]
    }

    /// What belongs to multipart uploads that neither ended nor were given up.
    pub fn unfinished(&self) -> Vec<String> {
        let root = data(&self.kept);
        match self.kind {
            // Its own temporary files (`.tmp`) are of requests that were cut off, and so is a part without its upload:
            // it stores one that was under way when the upload was given up.
            Kind::Files => names(&root).filter(|name| name.starts_with(".upload-")).collect(),
            Kind::Minio => {
                let uploads = root.join(".minio.sys/multipart");
                // A directory for each key, which stays.
                names(&uploads).flat_map(|key| names(&uploads.join(key))).collect()
            }
        }
    }

    /// The keys of all objects, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        self.below(&data(&self.kept).join(self.bucket), "", &mut keys);
        keys.sort();
        keys
    }

    fn below(&self, directory: &Path, prefix: &str, keys: &mut Vec<String>) {
        for name in names(directory) {
            let path = directory.join(&name);
            match (path.is_dir(), self.kind) {
                (true, _) => self.below(&path, &format!("{prefix}{name}/"), keys),
                (false, Kind::Files) => keys.push(format!("{prefix}{name}")),
                (false, Kind::Minio) if name == "xl.meta" => keys.push(prefix.trim_end_matches('/').to_owned()),
                (false, Kind::Minio) => {}
            }
        }
    }
}

/// What is in a directory of the server; nothing when it is not there.
fn names(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}
