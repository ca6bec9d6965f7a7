//! Composing an object from staged parts: linked when one sealed part is the object, copied otherwise.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::Store;
use super::directories::Mark;
use super::durable::sync_file;
use super::failure::{failed, is_absent};
use super::progress::Running;
use super::publish::Refused;
use crate::{Error, ObjectKey, Part};

/// Takes less than the patience with a disk that is merely slow.
const SLICE: u64 = 32 * 1024 * 1024;

impl Store {
    pub(super) fn compose(&self, parts: &[Part], key: &ObjectKey, running: &Running) -> Result<(), Error> {
        let path = self.path(key)?;
        if let [part] = parts
            && part.sealed
        {
            match self.link_part(part, key, &path) {
                Err(Refused::Unsupported) => {}
                Err(Refused::Failed(error)) => return Err(error),
                Ok(()) => return self.directories.settle(&path),
            }
        }
        let (temporary, mut file) = self.temporary()?;
        for part in parts {
            self.copy_part(part, &mut file, temporary.path(), running)?;
        }
        sync_file(&file, temporary.path())?;
        drop(file);
        self.publish(temporary, key, &path)
    }

    /// Publishes the part itself, cut to its length: the usual case of an upload, whose bytes are then written once.
    fn link_part(&self, part: &Part, key: &ObjectKey, path: &Path) -> Result<(), Refused> {
        let part_path = self.path(&part.key).map_err(Refused::Failed)?;
        self.cut_part(part, &part_path).map_err(Refused::Failed)?;
        self.link(&part_path, key, path)
    }

    /// Makes the part exactly its length, and durable.
    fn cut_part(&self, part: &Part, path: &Path) -> Result<(), Error> {
        let file = self.open_part(part, path)?;
        let metadata = file.metadata().map_err(failed("examine", path))?;
        if self.staged.is_synced(path, Mark::of(&metadata), part.length) && metadata.len() == part.length {
            return Ok(());
        }
        if metadata.len() > part.length {
            let writable = File::options().write(true).open(path).map_err(failed("open", path))?;
            writable.set_len(part.length).map_err(failed("truncate", path))?;
        }
        sync_file(&file, path)
    }

    fn copy_part(&self, part: &Part, into: &mut File, into_path: &Path, running: &Running) -> Result<(), Error> {
        let path = self.path(&part.key)?;
        let file = self.open_part(part, &path)?;
        let copied = copy(&file, part.length, into, into_path, running)?;
        if copied < part.length { Err(Error::too_short(&part.key, copied, part.length)) } else { Ok(()) }
    }

    /// Opens a part for reading and checks that it has the bytes that count.
    fn open_part(&self, part: &Part, path: &Path) -> Result<File, Error> {
        let file = match File::open(path) {
            Err(error) if is_absent(&error) => return Err(self.absent(&part.key)),
            file => file.map_err(failed("open", path))?,
        };
        let metadata: fs::Metadata = file.metadata().map_err(failed("examine", path))?;
        if !metadata.is_file() {
            return Err(Error::not_found(&part.key));
        }
        if metadata.len() < part.length {
            return Err(Error::too_short(&part.key, metadata.len(), part.length));
        }
        Ok(file)
    }
}

/// Copies up to `length` bytes, in slices that are made durable one after the other, so that it shows that a long one
/// gets on. Answers how many there were. What comes after the last full slice is left to the caller's sync.
pub(super) fn copy(
    from: &File,
    length: u64,
    into: &mut File,
    into_path: &Path,
    running: &Running,
) -> Result<u64, Error> {
    let mut copied = 0;
    while copied < length {
        let slice = SLICE.min(length - copied);
        // The standard library copies within the kernel, or shares the extents, where the filesystem can.
        let got = io::copy(&mut from.take(slice), into).map_err(failed("copy to", into_path))?;
        copied += got;
        if got < SLICE {
            break;
        }
        sync_file(into, into_path)?;
        running.moved();
    }
    Ok(copied)
}
