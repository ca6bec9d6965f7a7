//! Servers of others that tests need: one function each that starts a fresh one on a free port, or tells that the
//! machine does not have it.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod address;
mod cutting;
mod haproxy;
mod keeper;
mod late;
mod link;
mod minio;
mod pgbouncer;
mod postgres;
mod prompt;
mod s3;

pub use address::free_address;
pub use cutting::Cutting;
pub use haproxy::{Haproxy, haproxy};
pub use late::Late;
pub use link::{Link, Speaks, Trouble};
pub use minio::{minio, minio_below};
pub use pgbouncer::{PgBouncer, pgbouncer};
pub use postgres::{Database, Postgres, database};
pub use s3::{S3Server, s3};

use std::path::PathBuf;

/// A server of others.
#[derive(Debug)]
pub struct Known {
    /// What it is called here.
    pub name: &'static str,
    /// The program that it is.
    program: &'static str,
    /// What installs it, for a person.
    pub install: &'static str,
}

/// All that tests start. The gate installs them in these versions.
pub const KNOWN: &[Known] = &[
    Known { name: "postgres", program: "initdb", install: "apt-get install postgresql" },
    Known { name: "pgbouncer", program: "pgbouncer", install: "apt-get install pgbouncer" },
    Known { name: "haproxy", program: "haproxy", install: "apt-get install haproxy" },
    Known {
        name: "s3s-fs",
        program: "s3s-fs",
        install: "cargo install --locked s3s-fs --version 0.14.1 --features binary",
    },
    Known {
        name: "minio",
        program: "minio",
        install: "go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    },
];

impl Known {
    /// Where its program is: on the path, where the gate or Go install what they are told to, or where Debian hides it.
    /// Behind a link, beside the others that it belongs to.
    pub fn path(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(home.as_ref()?.join(".cache")));
        let places = std::env::split_paths(&path)
            .chain(cache.map(|cache| cache.join("roadstead-gate/bin")))
            .chain(home.map(|home| home.join("go/bin")))
            .chain([PathBuf::from("/usr/sbin")])
            .chain(postgres::newest());
        places.map(|place| place.join(self.program)).find(|file| file.is_file())?.canonicalize().ok()
    }
}

/// Where the program of the server `name` is. Without it a test is skipped, and says so; with `CI=true` it fails.
fn find(name: &str) -> Option<PathBuf> {
    let known = KNOWN.iter().find(|known| known.name == name).expect("a server that is known");
    let found = known.path();
    if found.is_none() {
        let forbidden = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!forbidden, "{name} is not installed; {}", known.install);
        eprintln!("skipped: {name} is not installed; {}", known.install);
    }
    found
}
