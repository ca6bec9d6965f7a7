//! What the registries of a stage stand on: the machine's own disk, or the servers of others that a fleet shares.

use std::path::Path;

use roadstead_testkit::Launch;
use roadstead_testkit::servers::{KNOWN, Known, S3Server, database, minio};

use crate::stage::Failure;

/// One of the two.
pub(crate) struct Ground {
    /// What it is called in what a stage prints.
    pub(crate) name: &'static str,
    /// The bucket, of which each registry gets a part.
    bucket: Option<S3Server>,
}

/// The servers of the second one, as they are named in [`KNOWN`].
const SERVERS: [&str; 2] = ["postgres", "minio"];

impl Ground {
    /// Everything in a directory: metadata in hiqlite, blobs in files.
    pub(crate) fn disk() -> Self {
        Self { name: "disk", bucket: None }
    }

    /// Metadata in PostgreSQL, blobs in a bucket of MinIO; or what is not installed, and how it is.
    pub(crate) fn servers() -> Result<Self, String> {
        let absent: Vec<_> = absent().filter(|known| SERVERS.contains(&known.name)).map(told).collect();
        match absent.is_empty() {
            true => Ok(Self { name: "PostgreSQL + S3", bucket: minio() }),
            false => Err(absent.join(", ")),
        }
    }

    /// How to start a registry on it that has nothing in it. `part` is unlike that of any other.
    pub(crate) fn launch(&self, binary: &Path, part: &str) -> Result<Launch, Failure> {
        let launch = Launch::new(binary);
        let Some(bucket) = &self.bucket else { return Ok(launch) };
        let database = database().ok_or_else(|| Failure::new("PostgreSQL is not installed any more"))?;
        let launch = launch.set_all(database.variables()).set_all(bucket.variables());
        Ok(launch.set("ROADSTEAD_STORAGE__S3__ROOTDIRECTORY", part))
    }

    /// Whether blobs can be pulled from the store itself.
    pub(crate) fn redirects(&self) -> bool {
        self.bucket.is_some()
    }
}

/// The servers that this machine does not have.
pub(crate) fn absent() -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().filter(|known| known.path().is_none())
}

/// Its name, and how to install it.
pub(crate) fn told(known: &Known) -> String {
    format!("{} ({})", known.name, known.install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_installs_what_people_are_told_to_install() {
        let gate = include_str!("../../../.ci/run");
        for known in KNOWN {
            let (_, what) = known.install.split_once("install ").unwrap_or_default();
            let words: Vec<_> = what.split([' ', '@']).filter(|word| !word.starts_with('-')).collect();
            assert!(!words.is_empty(), "{}", told(known));
            assert!(words.iter().all(|word| gate.contains(word)), "{} is not what .ci/run installs", told(known));
        }
    }
}
