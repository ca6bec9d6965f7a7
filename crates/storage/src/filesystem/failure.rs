//! From system errors to the kinds callers decide by.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::{Error, ErrorKind};

/// Turns a system error into one that names what was tried on which path. For use with `map_err`.
///
/// A missing file is `Unavailable`: where absence is an answer (a read, a delete), it was handled before. What is
/// left is a directory that disappeared under a write, which says nothing about any object.
pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| {
        let kind = match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => ErrorKind::Full,
            Some(Errno::ACCESS | Errno::PERM) => ErrorKind::Denied,
            Some(Errno::ROFS) => ErrorKind::ReadOnly,
            Some(
                Errno::STALE
                | Errno::IO
                | Errno::MFILE
                | Errno::NFILE
                | Errno::NOENT
                | Errno::NOMEM
                | Errno::TIMEDOUT
                | Errno::AGAIN,
            ) => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        };
        Error::new(kind, format!("cannot {operation} {}", path.display())).with_source(error)
    }
}

/// Whether the error says that there is no such file; also when a directory of its path is a file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR))
}

/// Whether the error says that this filesystem, or this file, takes no further hard link.
pub(super) fn cannot_link(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::XDEV))
}
