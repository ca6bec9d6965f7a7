//! Whether the directory that hiqlite writes to is still there, and takes writes.
//!
//! hiqlite keeps its files open and asks for nothing until it needs a new one; what it then does not get stops its core
//! for good. A directory that was moved away or lost its permissions, or a filesystem that turned read-only, is therefore
//! looked for before each group of commits: what is refused here can be committed later, when it is back.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use tokio::sync::oneshot;

use crate::OpenError;

/// What a node stands on.
#[derive(Debug)]
pub(crate) struct Footing {
    directory: PathBuf,
    /// Device and number of the directory at the start.
    opened: (u64, u64),
    /// Where hiqlite will make files.
    folders: Vec<PathBuf>,
    /// A file whose first bytes may be written again at any time.
    pulse: File,
    bytes: Vec<u8>,
}

impl Footing {
    /// Stands on `directory`, in whose `folders` files are made. `pulse` is a file in it that begins with `bytes`.
    pub(crate) fn new(directory: &Path, folders: Vec<PathBuf>, pulse: File, bytes: Vec<u8>) -> Result<Self, OpenError> {
        let opened = identity(directory).map_err(OpenError::io("examine", directory))?;
        Ok(Self { directory: directory.to_owned(), opened, folders, pulse, bytes })
    }

    /// Why nothing may be written now, for operators. Looks only.
    pub(crate) fn look(&self) -> Result<(), String> {
        let directory = self.directory.display();
        let moved = || {
            format!(
                "metadata directory {directory} is not the one it was at the start: was it unmounted, moved, or mounted \
                 over? Put it back in its place, or start again on the right one"
            )
        };
        match identity(&self.directory) {
            Ok(found) if found == self.opened => {}
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(format!("metadata directory {directory} cannot be examined: {e}"));
            }
            _ => return Err(moved()),
        }
        for folder in &self.folders {
            if let Err(e) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
                return Err(format!(
                    "metadata cannot write to {}: {e}. Restore its owner and permissions",
                    folder.display()
                ));
            }
        }
        match statvfs(&self.directory) {
            Ok(space) if space.f_flag.contains(StatVfsMountFlags::RDONLY) => Err(read_only(&self.directory)),
            _ => Ok(()),
        }
    }

    /// The same, and whether a write is taken: a filesystem that found an error may look as it always did.
    pub(crate) fn try_writing(&self) -> Result<(), String> {
        self.look()?;
        match self.pulse.write_all_at(&self.bytes, 0) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::ReadOnlyFilesystem => Err(read_only(&self.directory)),
            Err(e) => Err(format!("metadata cannot write to {}: {e}", self.directory.display())),
        }
    }
}

fn read_only(directory: &Path) -> String {
    format!(
        "the filesystem of {} is read-only: mount it writable; look into the kernel's log for why",
        directory.display()
    )
}

fn identity(directory: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(directory).map(|found| (found.dev(), found.ino()))
}

type Waiter = oneshot::Sender<Result<(), String>>;

/// A thread that tries the footing, so that a disk that hangs holds up nobody but those who wait for it.
#[derive(Debug)]
pub(crate) struct Trier {
    waiting: mpsc::Sender<Waiter>,
}

impl Trier {
    /// Starts the thread, which ends when this is dropped and the disk answers.
    pub(crate) fn start(footing: Arc<Footing>) -> Result<Self, OpenError> {
        let (waiting, queue) = mpsc::channel::<Waiter>();
        let run = move || {
            while let Ok(waiter) = queue.recv() {
                // A waiter that gave up needs no answer.
                let _ = waiter.send(footing.try_writing());
            }
        };
        std::thread::Builder::new()
            .name("footing".to_owned())
            .spawn(run)
            .map_err(OpenError::io("start a thread for", Path::new("footing")))?;
        Ok(Self { waiting })
    }

    /// Answers as [`Footing::try_writing`], whenever the disk does.
    pub(crate) async fn try_writing(&self) -> Result<(), String> {
        let (waiter, answer) = oneshot::channel();
        // Without the thread nobody knows, and hiqlite will find out.
        match self.waiting.send(waiter) {
            Ok(()) => answer.await.unwrap_or(Ok(())),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "footing_tests.rs"]
mod tests;
