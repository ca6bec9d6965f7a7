//! The conformance suite on the filesystem engine, and what only this engine promises.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use tempfile::TempDir;

use super::*;
use crate::suite::Subject;

/// A store in a directory of its own, which must hold no temporary file at the end.
struct Scratch {
    directory: TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn open(&self) -> Filesystem {
        Filesystem::open(self.directory.path()).unwrap()
    }
}

#[async_trait]
impl Subject for Scratch {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(Scratch::open(self))
    }

    fn leftovers(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.directory.path().join(temporary::DIRECTORY)) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

crate::conformance!(Scratch::new());
