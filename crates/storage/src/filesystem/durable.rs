//! The two calls on which durability rests, in one place, so that tests can see that they happen, and in which order.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::failure::failed;
use crate::Error;

/// Makes the bytes of a file durable, and its length.
pub(super) fn sync_file(file: &File, path: &Path) -> Result<(), Error> {
    file.sync_data().map_err(failed("sync", path))?;
    note("sync", path);
    Ok(())
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(directory: &File, path: &Path) -> Result<(), Error> {
    match directory.sync_all() {
        // Some network and user-space filesystems have no notion of it and say so: nothing to do there.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {}
        done => done.map_err(failed("sync directory", path))?,
    }
    note("sync", path);
    Ok(())
}

/// Tells the tests that a name was made to point at a file.
pub(super) fn published(path: &Path, done: io::Result<()>) -> io::Result<()> {
    done.inspect(|()| note("publish", path))
}

#[cfg(not(test))]
fn note(_event: &'static str, _path: &Path) {}

#[cfg(test)]
pub(super) use journal::{note, take};

#[cfg(test)]
mod journal {
    use std::path::{Path, PathBuf};

    use parking_lot::Mutex;

    static JOURNAL: Mutex<Vec<(&str, PathBuf)>> = Mutex::new(Vec::new());

    pub(in super::super) fn note(event: &'static str, path: &Path) {
        JOURNAL.lock().push((event, path.to_owned()));
    }

    /// What happened below `root` since the last time, as `sync a/b`, temporary names as `tmp/?`.
    pub(in super::super) fn take(root: &Path) -> Vec<String> {
        let mut events = Vec::new();
        JOURNAL.lock().retain(|(event, path)| {
            let Ok(path) = path.strip_prefix(root) else { return true };
            let path = if path.starts_with("tmp/") { Path::new("tmp/?") } else { path };
            events.push(format!("{event} {}", path.display()).trim_end().to_owned());
            false
        });
        events
    }
}
