//! Temporary files: `<root>/tmp/<random>`, where every object's bytes are written first.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::Store;
use super::failure::{failed, is_absent};
use super::private::{create_directory, new_file};
use super::progress::Running;
use crate::{Error, Swept};

/// The directory of temporary files under the root. No object key starts with it.
pub(super) const DIRECTORY: &str = "tmp";

/// A temporary file that disappears when dropped.
pub(super) struct Temporary {
    path: PathBuf,
    moved: bool,
}

impl Temporary {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file was renamed: there is nothing left to remove.
    pub(super) fn moved(mut self) {
        self.moved = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.moved {
            // Whatever stands in the way of removing it, the sweep comes by again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Store {
    /// A new temporary file, open for reading and writing. Its name cannot be guessed or collide.
    pub(super) fn temporary(&self) -> Result<(Temporary, File), Error> {
        let directory = self.root.join(DIRECTORY);
        let path = directory.join(Uuid::new_v4().simple().to_string());
        let create = || new_file().read(true).open(&path);
        // Another store that is mounted here may have such a directory, too.
        self.directories.check_root()?;
        let file = match create() {
            // The first one ever, or somebody tidied up. Not made durable: nothing in it needs to survive.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match create_directory(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => create(),
            },
            done => done,
        };
        let file = file.map_err(|error| self.note_refusal(&path, failed("create temporary file", &path)(error)))?;
        Ok((Temporary { path, moved: false }, file))
    }

    pub(super) fn sweep(&self, unused_for: Duration, running: &Running) -> Result<Swept, Error> {
        let directory = self.root.join(DIRECTORY);
        let mut swept = Swept::default();
        let entries = match fs::read_dir(&directory) {
            Err(error) if is_absent(&error) => return Ok(swept),
            entries => entries.map_err(failed("list", &directory))?,
        };
        let now = self.now()?;
        for entry in entries {
            running.moved();
            let entry = entry.map_err(failed("list", &directory))?;
            // A file that disappears meanwhile was finished by its writer, or swept by another process.
            let Ok(metadata) = entry.metadata() else { continue };
            let stale = metadata.modified().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > unused_for));
            if stale && metadata.is_file() && fs::remove_file(entry.path()).is_ok() {
                swept.files += 1;
                swept.bytes += metadata.len();
            }
        }
        Ok(swept)
    }

    /// The time of the filesystem, which on NFS is the server's.
    fn now(&self) -> Result<SystemTime, Error> {
        let (temporary, file) = self.temporary()?;
        file.metadata().and_then(|metadata| metadata.modified()).map_err(failed("examine", temporary.path()))
    }
}
