//! Modes: what is stored is for the user of the process alone, and for others only as far as a repository lets them. The
//! umask may take away more; what was there before keeps its mode.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a directory that only its owner may look into.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// How a new file is made, which only its owner may read.
pub(super) fn new_file() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    options
}
