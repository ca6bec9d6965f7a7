//! The conformance suite on the filesystem engine, and what only this engine promises.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crash;
mod denied;
mod durability;
mod hanging;
mod in_memory;
mod keeping;
mod mounts;
mod vanished;

use std::time::Instant;

use futures::TryStreamExt;
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

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }
}

/// Fails when temporary files are left under `root`.
fn assert_nothing_temporary(root: &Path) {
    assert_eq!(temporary_files(root), [""; 0], "left behind in {}", root.display());
}

/// Those that stay: what was dropped is removed by threads of the engine's own, which nothing waits for.
fn temporary_files(root: &Path) -> Vec<String> {
    let list = || {
        let Ok(entries) = fs::read_dir(root.join(temporary::DIRECTORY)) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let files = list();
        if files.is_empty() || Instant::now() > end {
            return files;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

async fn write(engine: &dyn Engine, to: &str, bytes: impl Into<Bytes>) -> Result<ObjectStat, Error> {
    let mut writer = engine.writer(&key(to)).await?;
    writer.write(vec![bytes.into()]).await?;
    writer.finish().await
}

async fn read(engine: &dyn Engine, from: &str) -> Result<Vec<u8>, Error> {
    let body = engine.read(&key(from), None).await?.body;
    Ok(body.try_collect::<Vec<Bytes>>().await?.concat())
}

#[async_trait]
impl Subject for Scratch {
    async fn open(&self) -> Arc<dyn Engine> {
        Arc::new(Scratch::open(self))
    }

    fn leftovers(&self) -> Vec<String> {
        temporary_files(self.directory.path())
    }
}

crate::conformance!(Scratch::new());

/// The same for objects that are not in the kernel's memory: every read goes to a blocking thread.
mod uncached {
    use super::*;

    struct Uncached(Scratch);

    #[async_trait]
    impl Subject for Uncached {
        async fn open(&self) -> Arc<dyn Engine> {
            let mut engine = self.0.open();
            Arc::get_mut(&mut engine.store).unwrap().asks_for_cached = false;
            Arc::new(engine)
        }

        fn leftovers(&self) -> Vec<String> {
            Subject::leftovers(&self.0)
        }
    }

    crate::conformance!(Uncached(Scratch::new()));
}

#[tokio::test]
async fn whatever_is_done_to_a_file_shows_in_its_version() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    let written = write(&engine, "a/file", "bytes").await.unwrap();
    let path = scratch.path("a/file");
    let times = fs::metadata(&path).unwrap();
    let opened = fs::File::options().write(true).open(&path).unwrap();
    let mut seen = vec![written.version.unwrap()];
    let mut look = async |what| {
        let version = engine.stat(&key("a/file")).await.unwrap().version.unwrap();
        assert!(!seen.contains(&version), "{what}");
        seen.push(version);
    };
    opened.set_modified(times.modified().unwrap() + Duration::from_nanos(1)).unwrap();
    look("touched").await;
    opened.set_len(4).unwrap();
    opened.set_modified(times.modified().unwrap()).unwrap();
    look("of another length").await;
    fs::copy(&path, scratch.path("a/copy")).unwrap();
    fs::rename(scratch.path("a/copy"), &path).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(times.modified().unwrap()).unwrap();
    look("another file").await;
}

#[tokio::test]
async fn something_else_than_a_file_is_no_object_and_holds_nobody_up() {
    let scratch = Scratch::new();
    let engine = scratch.open();
    write(&engine, "a/file", "bytes").await.unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.path("a/pipe"), rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(read(&engine, "a/pipe").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(engine.stat(&key("a/pipe")).await.unwrap_err().kind(), ErrorKind::NotFound);
}
