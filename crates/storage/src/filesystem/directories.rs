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
use std::sync::OnceLock;
use std::time::SystemTime;

use super::durable::sync_directory;
use super::failure::{failed, is_absent};
use super::private::create_directory;
use super::progress::Traffic;
use crate::identity::IDENTITY_KEY;
use crate::{Error, ErrorKind};
use parking_lot::Mutex;

/// How many directories are remembered as durable; when full, all are forgotten and learned again.
const REMEMBERED: usize = 8192;

/// Which file or directory it is. Inode numbers are used again soon after a removal, hence also the time of birth.
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

    /// Whether no later file can have the same mark.
    pub(super) fn is_unique(self) -> bool {
        self.born.is_some()
    }
}

pub(super) struct Directories {
    root: PathBuf,
    /// The root as it was at open, to notice that something else was mounted there, or nothing.
    opened: Mutex<Mark>,
    /// What its `roadstead.json` says, once it is known: whoever brings the same is the same store.
    identity: OnceLock<Vec<u8>>,
    durable: Mutex<HashMap<PathBuf, Mark>>,
    /// What still waits for a root that was there before says nothing about the one that is.
    traffic: Traffic,
}

impl Directories {
    pub(super) fn open(root: PathBuf, traffic: Traffic) -> Result<Self, Error> {
        let opened = Mark::of(&fs::metadata(&root).map_err(failed("open the storage root", &root))?);
        let identity = fs::read(root.join(IDENTITY_KEY)).map(OnceLock::from).unwrap_or_default();
        Ok(Self { root, opened: Mutex::new(opened), identity, durable: Mutex::default(), traffic })
    }

    /// `Unavailable` when the root is not the directory that was opened.
    pub(super) fn check_root(&self) -> Result<(), Error> {
        let metadata = fs::metadata(&self.root).map_err(failed("examine the storage root", &self.root))?;
        self.check(Mark::of(&metadata))
    }

    /// Keeps what the store's `roadstead.json` says, when it did not have one at open.
    pub(super) fn remember(&self, identity: Vec<u8>) {
        self.identity.get_or_init(|| identity);
    }

    fn check(&self, root: Mark) -> Result<(), Error> {
        if root == *self.opened.lock() {
            return Ok(());
        }
        // The same store under another device number, as after it was mounted again: a start would take it, too.
        if let Some(known) = self.identity.get()
            && fs::read(self.root.join(IDENTITY_KEY)).is_ok_and(|found| found == *known)
        {
            *self.opened.lock() = root;
            self.traffic.renew();
            return Ok(());
        }
        let context =
            format!("{} is not the directory it was at start: was it unmounted or mounted over?", self.root.display());
        Err(Error::new(ErrorKind::Unavailable, context))
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
            match create_directory(directory) {
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
            }
            directory = parent(directory);
        }
        let mut durable = self.durable.lock();
        if durable.len() + learned.len() > REMEMBERED {
            durable.clear();
        }
        // Without a time of birth a directory cannot be told from its successor: it is synced every time.
        durable.extend(learned.into_iter().filter(|(_, mark)| mark.is_unique()));
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

    /// Makes the entries of `directory` durable. `None` when there is no such directory, which the root never answers:
    /// without it nothing is known of what it holds.
    fn sync(&self, directory: &Path) -> Result<Option<Mark>, Error> {
        let file = match File::open(directory) {
            Ok(file) => file,
            Err(error) if is_absent(&error) && directory != self.root => return Ok(None),
            Err(error) => return Err(failed("open directory", directory)(error)),
        };
        let mark = Mark::of(&file.metadata().map_err(failed("examine directory", directory))?);
        if directory == self.root {
            // Nothing may be acknowledged that went to another filesystem.
            self.check(mark)?;
        }
        sync_directory(&file, directory)?;
        Ok(Some(mark))
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
    match create_directory(root) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && root.is_dir() => {}
        done => done.map_err(failed("make the storage root", root))?,
    }
    let above_file = File::open(above).map_err(failed("open directory", above))?;
    sync_directory(&above_file, above)
}
