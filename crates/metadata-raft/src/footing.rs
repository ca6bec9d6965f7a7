//! Whether the directory that hiqlite writes to is still there, and takes writes.
//!
//! hiqlite keeps its files open and asks for nothing until it needs a new one; what it then does not get stops its core
//! for good. A directory that was moved away or lost its permissions, or a filesystem that turned read-only, is therefore
//! looked for before each group of commits: what is refused here can be committed later, when it is back. And after it,
//! since what was synced into a directory that was removed meanwhile is gone with it.
//!
//! Files that are open take writes although they have no name any more, and filesystems use inode numbers again, so a
//! directory that was removed and restored may look like the one it was. What cannot be used again is the number of a
//! file that is still open: the handle held here must be the file at its path.

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
    /// The directory and what hiqlite has open in it, with device and number at the start.
    opened: Vec<(PathBuf, (u64, u64))>,
    /// Where hiqlite will make files.
    folders: Vec<PathBuf>,
    /// A file whose first bytes may be written again at any time.
    pulse: Pulse,
}

/// A file that is held open, and what it begins with.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) bytes: Vec<u8>,
}

impl Pulse {
    /// Whether what is written through the handle goes to the file at the path.
    fn is_at_its_path(&self) -> io::Result<bool> {
        let held = self.file.metadata()?;
        Ok(held.nlink() > 0 && identity(&self.path)? == (held.dev(), held.ino()))
    }
}

impl Footing {
    /// Stands on `directory`, in whose `folders` files are made, and on `database`, which must stay the same file. The
    /// files of the log come and go: theirs is among the folders.
    pub(crate) fn new(
        directory: &Path,
        folders: Vec<PathBuf>,
        database: PathBuf,
        pulse: Pulse,
    ) -> Result<Self, OpenError> {
        let held = [directory.to_owned(), database].into_iter().chain(folders.iter().cloned());
        let opened = held
            .map(|path| Ok((path.clone(), identity(&path).map_err(OpenError::io("examine", &path))?)))
            .collect::<Result<_, OpenError>>()?;
        Ok(Self { directory: directory.to_owned(), opened, folders, pulse })
    }

    /// Why nothing may be written now, for operators. Looks only.
    pub(crate) fn look(&self) -> Result<(), String> {
        self.find()?;
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

    /// Whether everything that is open here is what stands under its name.
    pub(crate) fn find(&self) -> Result<(), String> {
        let directory = self.directory.display();
        let same = |found: io::Result<bool>, path: &Path| match found {
            Ok(true) => Ok(()),
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(format!("{} in the metadata directory cannot be examined: {e}", path.display()))
            }
            _ => Err(format!(
                "metadata directory {directory} is not the one it was at the start: was it unmounted, moved, mounted \
                 over, or restored? Put it back in its place, or start again on the right one"
            )),
        };
        for (path, opened) in &self.opened {
            same(identity(path).map(|found| found == *opened), path)?;
        }
        same(self.pulse.is_at_its_path(), &self.pulse.path)
    }

    /// As [`Footing::look`], and whether a write is taken: a filesystem that found an error may look as it always did.
    pub(crate) fn try_writing(&self) -> Result<(), String> {
        self.look()?;
        match self.pulse.file.write_all_at(&self.pulse.bytes, 0) {
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

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

type Waiter = oneshot::Sender<Result<(), String>>;
/// What is asked of a footing.
type Question = fn(&Footing) -> Result<(), String>;

/// A thread that tries the footing, so that a disk that hangs holds up nobody but those who wait for it.
#[derive(Debug)]
pub(crate) struct Trier {
    waiting: mpsc::Sender<(Question, Waiter)>,
}

impl Trier {
    /// Starts the thread, which ends when this is dropped and the disk answers.
    pub(crate) fn start(footing: Arc<Footing>) -> Result<Self, OpenError> {
        let (waiting, queue) = mpsc::channel::<(Question, Waiter)>();
        let run = move || {
            while let Ok((question, waiter)) = queue.recv() {
                // A waiter that gave up needs no answer.
                let _ = waiter.send(question(&footing));
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
        self.ask(Footing::try_writing).await
    }

    /// Answers as [`Footing::find`], whenever the disk does.
    pub(crate) async fn find(&self) -> Result<(), String> {
        self.ask(Footing::find).await
    }

    async fn ask(&self, question: Question) -> Result<(), String> {
        let (waiter, answer) = oneshot::channel();
        // Without the thread nobody knows, and hiqlite will find out.
        match self.waiting.send((question, waiter)) {
            Ok(()) => answer.await.unwrap_or(Ok(())),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "footing_tests.rs"]
mod tests;
