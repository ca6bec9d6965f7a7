//! Publishing: the one step by which an object comes to be under its key.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Store;
use super::durable::published;
use super::failure::{cannot_link, failed};
use super::temporary::Temporary;
use crate::{Error, ErrorKind, ObjectKey};

impl Store {
    /// Publishes a synced temporary file as `key`, durably, unless something is there.
    pub(super) fn publish(&self, temporary: Temporary, key: &ObjectKey, path: &Path) -> Result<(), Error> {
        match self.link(temporary.path(), key, path) {
            Err(Refused::Unsupported) => {
                self.rename(temporary.path(), key, path)?;
                temporary.moved();
            }
            Err(Refused::Failed(error)) if error.kind() == ErrorKind::AlreadyExists => {
                // A lost answer of a file server, repeated by the kernel: what is there is our own file.
                if !same_file(temporary.path(), path) {
                    return Err(error);
                }
            }
            Err(Refused::Failed(error)) => return Err(error),
            Ok(()) => {}
        }
        self.directories.settle(path)
        // The temporary name goes when dropped, only now: until then a crash leaves at least one name.
    }

    /// Puts a synced temporary file in the place of whatever stands at `path`, durably.
    pub(super) fn replace(&self, temporary: Temporary, path: &Path) -> Result<(), Error> {
        self.directories.check_root()?;
        self.directories
            .with_parents(path, || published(path, fs::rename(temporary.path(), path)))
            .map_err(|error| self.note_refusal(path, failed("replace", path)(error)))?;
        temporary.moved();
        self.directories.settle(path)
    }

    /// Gives the synced file `from` the further name `path`. Does not settle it when it succeeds.
    pub(super) fn link(&self, from: &Path, key: &ObjectKey, path: &Path) -> Result<(), Refused> {
        // The directories on the way are made where the object belongs, or nowhere.
        self.directories.check_root().map_err(Refused::Failed)?;
        match self.directories.with_parents(path, || published(path, fs::hard_link(from, path))) {
            Ok(()) => Ok(()),
            Err(error) if cannot_link(&error) => Err(Refused::Unsupported),
            Err(error) => Err(Refused::Failed(self.not_published(key, path, error))),
        }
    }

    /// The way of filesystems without hard links.
    pub(super) fn rename(&self, from: &Path, key: &ObjectKey, path: &Path) -> Result<(), Error> {
        self.directories.check_root()?;
        let exclusive = || match renameat_with(CWD, from, CWD, path, RenameFlags::NOREPLACE) {
            // Not even an exclusive rename. Between look and rename another process may publish the same key; keys
            // are never used for two contents, so either file is right.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !path.exists() => fs::rename(from, path),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(Errno::EXIST.into()),
            done => done.map_err(io::Error::from),
        };
        let exclusive = || published(path, exclusive());
        self.directories.with_parents(path, exclusive).map_err(|error| self.not_published(key, path, error))
    }

    fn not_published(&self, key: &ObjectKey, path: &Path, error: io::Error) -> Error {
        match Errno::from_io_error(&error) {
            Some(Errno::EXIST) if path.is_dir() => {
                let context = format!("cannot publish {key}: it is a directory of other objects");
                Error::new(ErrorKind::Other, context).with_source(error)
            }
            // The caller may take it for published: what it relies on must survive a crash as well.
            Some(Errno::EXIST) => match self.directories.settle(path) {
                Ok(()) => Error::already_exists(key),
                Err(error) => error,
            },
            Some(Errno::NOTDIR) => {
                let context = format!("cannot publish {key}: one of its directories is an object");
                Error::new(ErrorKind::Other, context).with_source(error)
            }
            Some(Errno::XDEV) => {
                let context = format!("cannot publish {key}: the storage root must be one filesystem, with its tmp/");
                Error::new(ErrorKind::Other, context).with_source(error)
            }
            _ => self.note_refusal(path, failed("publish", path)(error)),
        }
    }
}

/// Why a file got no further name.
pub(super) enum Refused {
    /// Hard links do not work here: another way may.
    Unsupported,
    /// No way will do.
    Failed(Error),
}

fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}
