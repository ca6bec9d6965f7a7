//! The calls on which durability rests, in one place, so that tests can see that they happen, and in which order.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes the bytes of a file durable, and its length.
pub(crate) fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    file.sync_data()?;
    note("sync", path);
    Ok(())
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    note("sync", path);
    Ok(())
}

/// Makes the entry of `path` in its directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Gives a file that is whole and durable another name, durably.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    note("publish", to);
    sync_parent(to)
}

/// Removes a file, durably. One that is not there is no fault.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    note("remove", path);
    sync_parent(path)
}

/// Makes a directory that only its owner may enter, and its parents. Each that is new is made durable.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        make_directory(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Somebody else made it at the same moment.
        Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    note("make", path);
    sync_parent(path)
}

#[cfg(not(test))]
fn note(_event: &'static str, _path: &Path) {}

#[cfg(test)]
pub(crate) use journal::{note, take};

#[cfg(test)]
mod journal {
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    static JOURNAL: Mutex<Vec<(&str, PathBuf)>> = Mutex::new(Vec::new());

    pub(crate) fn note(event: &'static str, path: &Path) {
        JOURNAL.lock().unwrap_or_else(PoisonError::into_inner).push((event, path.to_owned()));
    }

    /// What happened to and below `root` since the last time, as `sync a/b`; `sync .` is `root` itself.
    pub(crate) fn take(root: &Path) -> Vec<String> {
        let mut events = Vec::new();
        JOURNAL.lock().unwrap_or_else(PoisonError::into_inner).retain(|(event, path)| {
            let Ok(path) = path.strip_prefix(root) else { return true };
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            events.push(format!("{event} {}", path.display()));
            false
        });
        events
    }
}
