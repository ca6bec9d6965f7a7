//! The filesystem engine: objects as files under a root directory, local or on NFS, shared by any number of processes.
//!
//! An object with key `a/b` is the file `<root>/a/b`, byte for byte. Invariants:
//!
//! - A file under its key is whole: bytes go to `<root>/tmp/` first, are made durable there, and appear under the key
//!   by one exclusive link. Staged objects that grow in place ([`crate::Extend`]) are the stated exception.
//! - What was answered is durable: the file, its directory entry, and every directory on the way, also one that
//!   another process made and may not have synced.
//! - A crash leaves only files in `<root>/tmp/` (removed by [`Sweep`]) and staged objects.
//!
//! Every call that may block runs on threads of the engine's own ([`threads`]), in as few hops as possible: publishing a small object is
//! one, and so is reading one that is not in the kernel's memory; one that is needs none. Deliberately absent: chown, locks, extended attributes, sidecar files.
//!
//! This is the one place of the workspace that may use `std::fs`; everything else stores through an engine.
#![allow(clippy::disallowed_methods, reason = "the filesystem engine is where std::fs belongs")]

mod append;
mod buffers;
mod compose;
mod directories;
mod durable;
mod failure;
mod listing;
mod private;
mod probe;
mod progress;
mod publish;
mod reading;
mod staged;
mod temporary;
#[cfg(test)]
mod tests;
mod threads;
mod write_behind;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Engine, Error, ErrorKind, Extend, Listed, ObjectKey, ObjectRead, ObjectStat, Part, Sweep, Swept, Writer};
use buffers::Buffers;
use directories::Directories;
use failure::failed;
use parking_lot::Mutex;
use progress::{Running, Traffic};
use staged::StagedObjects;
use threads::Lane;

/// An engine whose objects are files under one root directory. Clones share its state.
#[derive(Clone)]
pub struct Filesystem {
    store: Arc<Store>,
}

/// The blocking half: every method may block.
struct Store {
    root: PathBuf,
    directories: Directories,
    staged: StagedObjects,
    buffers: Arc<Buffers>,
    /// Always, but in tests of what happens when the kernel has nothing in memory.
    asks_for_cached: bool,
    probing: AtomicBool,
    /// Folders in which no file could be made for want of permission; the probe tries each until one can.
    refused: Mutex<BTreeSet<PathBuf>>,
    traffic: Traffic,
}

impl Filesystem {
    /// Opens the store under `root`, making the directory, durably, when it is missing. Blocks, briefly.
    ///
    /// Whose store it is is not looked at: see [`crate::Identity`].
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::open_with(root, progress::STANDSTILL)
    }

    fn open_with(root: &Path, patience: Duration) -> Result<Self, Error> {
        directories::create_root(root)?;
        let root = fs::canonicalize(root).map_err(failed("find the storage root", root))?;
        let traffic = Traffic::with_patience(patience);
        let directories = Directories::open(root.clone(), traffic.clone())?;
        Ok(Self {
            store: Arc::new(Store {
                root,
                directories,
                staged: StagedObjects::default(),
                buffers: Arc::default(),
                asks_for_cached: true,
                probing: AtomicBool::new(false),
                refused: Mutex::default(),
                traffic,
            }),
        })
    }

    /// The root directory, absolute.
    pub fn root(&self) -> &Path {
        &self.store.root
    }

    /// The names of everything in the root but the directories that this engine and filesystems themselves make.
    pub(crate) async fn entries(&self) -> Result<Vec<String>, Error> {
        self.read_blocking(|store, _| store.entries()).await
    }

    /// Removes the directory of temporary files when it is empty: for a root that other software fills.
    pub(crate) async fn tidy(&self) {
        // When somebody uses it, it stays.
        let _ = self.run(Lane::Write, |store| Ok(fs::remove_dir(store.root.join(temporary::DIRECTORY)).is_ok())).await;
    }

    async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        act: impl FnOnce(&Arc<Store>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        blocking(lane, move || act(&store)).await
    }

    /// Reads. `act` is told of the read under way that it is, and says when a part of it is done.
    async fn read_blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Arc<Store>, &Running) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        // One that waits for a thread waits for the disk: those that have the threads do.
        let running = self.store.traffic.reads.begin();
        self.run(Lane::Read, move |store| act(store, &running)).await
    }

    /// Writes. `act` is told of the write under way that it is, and says when a part of it is done.
    async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Arc<Store>, &Running) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run(Lane::Write, move |store| act(store, &store.traffic.writes.begin())).await
    }

    /// To be asked before something new begins or something old is removed, and before a thread is asked for: those
    /// that write may all be waiting. What is under way waits with them, and ends well.
    fn check_progress(&self) -> Result<(), Error> {
        self.store.traffic.writes.check(&self.store.root)
    }
}

/// Runs `act` on a thread of its lane. It starts at once, whether or not the future is polled.
fn blocking<T: Send + 'static>(
    lane: Lane,
    act: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> impl Future<Output = Result<T, Error>> + Send + 'static {
    let task = threads::spawn(lane, act);
    async move {
        task.await.unwrap_or_else(|error| {
            let kind = if error.is_cancelled() { ErrorKind::Unavailable } else { ErrorKind::Other };
            Err(Error::new(kind, "a storage operation did not run to its end").with_source(error))
        })
    }
}

impl Store {
    /// The file of `key`. Names that this engine or NFS itself uses are no object keys here.
    fn path(&self, key: &ObjectKey) -> Result<PathBuf, Error> {
        let mut components = key.as_str().split('/');
        if components.next() == Some(temporary::DIRECTORY) || key.as_str().split('/').any(listing::is_nfs_own) {
            return Err(Error::new(ErrorKind::Other, format!("key {key} is reserved by the filesystem engine")));
        }
        Ok(self.root.join(key.as_str()))
    }

    /// Why there is no object: `NotFound`, unless the whole root is gone, which says nothing about its objects.
    fn absent(&self, key: &ObjectKey) -> Error {
        self.directories.check_root().err().unwrap_or_else(|| Error::not_found(key))
    }

    fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let path = self.path(key)?;
        self.staged.take_over(&path);
        match fs::remove_file(&path) {
            Ok(()) => {}
            // No such object: already gone, or the key is a directory of other keys, or lies below an object. Unless
            // another root stands there, which never had it.
            Err(error) if failure::is_absent(&error) || path.is_dir() => self.directories.check_root()?,
            Err(error) => return Err(failed("delete", &path)(error)),
        }
        self.directories.settle_removal(&path)
    }

    fn put_small(&self, key: &ObjectKey, bytes: &Bytes, only_if_absent: bool) -> Result<(), Error> {
        use std::io::Write;

        let path = self.path(key)?;
        let (temporary, mut file) = self.temporary()?;
        file.write_all(bytes).map_err(failed("write", temporary.path()))?;
        durable::sync_file(&file, temporary.path())?;
        drop(file);
        if only_if_absent { self.publish(temporary, key, &path) } else { self.replace(temporary, &path) }
    }
}

#[async_trait]
impl Engine for Filesystem {
    fn kind(&self) -> &'static str {
        "filesystem"
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        if let Some(found) = self.store.stat_cached(key) {
            return Ok(found);
        }
        let key = key.clone();
        self.read_blocking(move |store, _| store.stat(&key)).await
    }

    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        if let Some(opened) = self.store.open_cached(key, range.clone()) {
            return Ok(opened.into_read());
        }
        let key = key.clone();
        let opened = self.read_blocking(move |store, _| store.open_object(key, range)).await?;
        Ok(opened.into_read())
    }

    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(writer::NewObject::new(self.store.clone(), key.clone())?))
    }

    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        let (parts, key) = (parts.to_vec(), key.clone());
        self.write(move |store, running| store.compose(&parts, &key, running)).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        // Whoever cleans up does so in the course of an answer, and comes again.
        self.check_progress()?;
        let key = key.clone();
        self.write(move |store, _| store.delete(&key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.read_blocking(move |store, running| store.list(&prefix, after.as_ref(), limit, running)).await
    }

    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error> {
        self.check_progress()?;
        let key = key.clone();
        self.write(move |store, _| store.put_small(&key, &bytes, only_if_absent)).await
    }

    async fn probe(&self) -> Result<(), Error> {
        self.run(Lane::Probe, |store| store.probe()).await
    }

    fn extend(&self) -> Option<&dyn Extend> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }
}

#[async_trait]
impl Sweep for Filesystem {
    /// Removes stale temporary files. Ages are taken by the clock of the filesystem, so that a file server with
    /// another idea of the time does no harm.
    async fn remove_stale(&self, unused_for: Duration) -> Result<Swept, Error> {
        self.write(move |store, running| store.sweep(unused_for, running)).await
    }
}

#[async_trait]
impl Extend for Filesystem {
    async fn append(&self, key: &ObjectKey, length: u64) -> Result<Box<dyn Writer>, Error> {
        if length == 0 {
            self.check_progress()?;
        }
        let key = key.clone();
        let growing =
            self.write(move |store, running| append::Growing::open(store.clone(), &key, length, running)).await?;
        Ok(Box::new(growing))
    }
}

impl fmt::Debug for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filesystem").field("root", &self.store.root).finish()
    }
}
