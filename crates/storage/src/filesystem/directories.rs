//! Directories: made on the way to an object, made durable, removed when empty.
//!
//! An object is durable only when every directory entry from the root down to it is. A directory that stands there
//! already may have been made by another process a moment ago and not be durable yet, so "it exists" proves nothing.
//! What proves it is that this process synced its parent while this very directory stood in it: that is remembered,
//! by path and by identity of the directory, since another process may remove and remake it at any time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::failure::{failed, is_absent};
use crate::Error;

/// How many directories are remembered as durable; when full, all are forgotten and learned again.
const REMEMBERED: usize = 8192;

/// Which directory it is. Inode numbers are used again soon after a removal, hence also the time of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Mark {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), born: metadata.created().ok() }
    }
}

pub(super) struct Directories {
    root: PathBuf,
    durable: Mutex<HashMap<PathBuf, Mark>>,
    /// Every directory synced, in order.
    #[cfg(test)]
    pub(super) synced: Mutex<Vec<PathBuf>>,
}

impl Directories {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            durable: Mutex::default(),
            #[cfg(test)]
            synced: Mutex::default(),
        }
    }

    /// Runs `make`, which makes an entry at `path`, after making the directories that it needs. A delete in another
    /// process may remove an empty directory in between; then both are done again.
    pub(super) fn with_parents<T>(&self, path: &Path, mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        // Each turn needs another process to win the race again.
        for _ in 0..100 {
            self.create(parent(path))?;
            match make() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.forget(parent(path)),
                done => return done,
            }
        }
        make()
    }

    /// Makes `directory` and those above it; never the root, whose absence means that it is not mounted.
    fn create(&self, directory: &Path) -> io::Result<()> {
        if directory == self.root || self.durable.lock().contains_key(directory) {
            return Ok(());
        }
        loop {
            match fs::create_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound && parent(directory) != self.root => {
                    self.forget(parent(directory));
                    self.create(parent(directory))?;
                }
                done => return done,
            }
        }
    }

    fn forget(&self, directory: &Path) {
        self.durable.lock().remove(directory);
    }

    /// Makes durable the entry `path`, just made, and with it every directory on the way from the root.
    pub(super) fn settle(&self, path: &Path) -> Result<(), Error> {
        let mut learned = Vec::new();
        let mut directory = parent(path);
        loop {
            // Absent: the entry was deleted again in the meantime, and its directory with it.
            if let Some(mark) = self.sync(directory)? {
                if directory == self.root || self.durable.lock().get(directory) == Some(&mark) {
                    break;
                }
                learned.push((directory.to_owned(), mark));
            } else if directory == self.root {
                break;
            }
            directory = parent(directory);
        }
        let mut durable = self.durable.lock();
        if durable.len() + learned.len() > REMEMBERED {
            durable.clear();
        }
        // Without a time of birth a directory cannot be told from its successor: it is synced every time.
        durable.extend(learned.into_iter().filter(|(_, mark)| mark.born.is_some()));
        Ok(())
    }

    /// Makes durable that `path` is gone, and removes the directories which that left empty.
    pub(super) fn settle_removal(&self, path: &Path) -> Result<(), Error> {
        let mut directory = parent(path);
        // Tidiness only: fails when it is not empty, and whatever else it fails for is no reason not to have deleted.
        while directory != self.root && fs::remove_dir(directory).is_ok() {
            self.forget(directory);
            directory = parent(directory);
        }
        while self.sync(directory)?.is_none() && directory != self.root {
            directory = parent(directory);
        }
        Ok(())
    }

    /// Makes the entries of `directory` durable. `None` when there is no such directory.
    fn sync(&self, directory: &Path) -> Result<Option<Mark>, Error> {
        let file = match File::open(directory) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed("open directory", directory)(error)),
        };
        let mark = Mark::of(&file.metadata().map_err(failed("examine directory", directory))?);
        sync_open(&file).map_err(failed("sync directory", directory))?;
        #[cfg(test)]
        self.synced.lock().push(directory.to_owned());
        Ok(Some(mark))
    }
}

/// Some network and user-space filesystems have no notion of syncing a directory and say `EINVAL`: nothing to do there.
fn sync_open(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        done => done,
    }
}

/// The directory that holds `path`. Only asked of paths below the root.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Makes a storage root and the directories above it, each durable in its parent.
pub(super) fn create_root(root: &Path) -> Result<(), Error> {
    if root.is_dir() {
        return Ok(());
    }
    let above = match root.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    if above != root {
        create_root(above)?;
    }
    match fs::create_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && root.is_dir() => {}
        done => done.map_err(failed("make the storage root", root))?,
    }
    let above_file = File::open(above).map_err(failed("open directory", above))?;
    sync_open(&above_file).map_err(failed("sync directory", above))
}
