//! The conformance suite on the filesystem engine, and what only this engine promises.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::Identity;
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

#[tokio::test]
async fn a_directory_is_claimed_only_when_nothing_at_all_is_in_it() {
    let want = Identity::new(Uuid::from_u128(1), Uuid::from_u128(2));
    let scratch = Scratch::new();
    // Not a key, and so nothing that a listing of objects would show.
    fs::create_dir(scratch.directory.path().join("state machine")).unwrap();
    let error = Identity::claim_directory(&scratch.open(), &want).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Foreign);
    fs::rename(scratch.directory.path().join("state machine"), scratch.directory.path().join("lost+found")).unwrap();
    assert_eq!(Identity::claim_directory(&scratch.open(), &want).await.unwrap(), want);
    fs::write(scratch.directory.path().join("hiqlite.lock"), "").unwrap();
    assert_eq!(Identity::claim_directory(&scratch.open(), &want).await.unwrap(), want);
    assert_eq!(Identity::verify_directory(&scratch.open(), &want).await.unwrap(), want);
    assert!(!scratch.directory.path().join(temporary::DIRECTORY).exists(), "only roadstead.json was added");
}
