//! MinIO, one of the S3 servers that people run.
#![allow(clippy::disallowed_methods, reason = "the directory is that of another server")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::address::near_address;
use super::find;
use super::keeper::Kept;
use super::s3::{BUCKET, KEYS, Kind, S3Server, data};
use crate::Client;

/// One that does not answer in this time does not start.
const START: Duration = Duration::from_secs(60);

/// Starts MinIO over one directory. `None`, after saying so, when it is not installed.
pub fn minio() -> Option<S3Server> {
    minio_below(&std::env::temp_dir())
}

/// The same on the disk of `place`, a directory that has to be there until the server is dropped.
pub fn minio_below(place: &Path) -> Option<S3Server> {
    let program = find("minio")?;
    let mut kept = Kept::below(place, "minio");
    // A directory that is there when it starts is a bucket to it.
    std::fs::create_dir_all(data(&kept).join(BUCKET)).expect("a bucket");
    let begin = Instant::now();
    while begin.elapsed() < START {
        let addr = near_address();
        let mut command = Command::new(&program);
        command.args(["server", "--quiet", "--address", &addr.to_string(), "--certs-dir"]);
        command.arg(kept.directory().join("certificates")).arg(data(&kept)).env("HOME", kept.directory());
        command.env("MINIO_ROOT_USER", KEYS.0).env("MINIO_ROOT_PASSWORD", KEYS.1).env("MINIO_CI_CD", "1");
        command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
        let process = kept.start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        while process.try_wait().expect("the state of a child").is_none() && begin.elapsed() < START {
            if answers(addr) {
                return Some(S3Server::new(kept, Kind::Minio, addr));
            }
            sleep(Duration::from_millis(20));
        }
        // Another process may have taken a port that was free.
    }
    panic!("MinIO does not start");
}

/// Whether it refuses who asks without a signature. One that is not ready yet says so instead.
fn answers(addr: SocketAddr) -> bool {
    let asked = Client::new(addr).call("GET", &format!("/{BUCKET}?list-type=2"));
    asked.is_ok_and(|answer| answer.status == 403)
}
