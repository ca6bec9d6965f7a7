//! Listing in ASCII order of whole keys, with memory bounded by a window and not by the store.
//!
//! A directory sorts as its name followed by `/`: so `a-b` comes before everything in `a`, and `a0` after, as their
//! keys do.

use std::collections::BinaryHeap;
use std::fs;
use std::path::Path;

use super::failure::{failed, is_absent};
use super::progress::Running;
use super::{Store, temporary};
use crate::{Error, Listed, ObjectKey};

/// How many entries of one directory are held at a time, at least.
const WINDOW: usize = 1024;

/// Names that an NFS client gives to files deleted while open.
pub(super) fn is_nfs_own(name: &str) -> bool {
    name.starts_with(".nfs")
}

impl Store {
    /// `running` is told of each entry: a long list is no standstill.
    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
        running: &Running,
    ) -> Result<Vec<Listed>, Error> {
        let directory = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
        if limit == 0 || !self.may_hold_keys(directory) {
            return Ok(Vec::new());
        }
        self.directories.check_root()?;
        let after = after.map_or("", ObjectKey::as_str);
        let (window, found) = (limit.max(WINDOW), Vec::new());
        let mut walk = Walk { root: &self.root, prefix, after, limit, window, found, running };
        walk.directory(directory)?;
        Ok(walk.found)
    }

    /// A prefix whose directories could not be part of a key matches nothing, and is not a path to follow.
    fn may_hold_keys(&self, directory: &str) -> bool {
        match directory.strip_suffix('/') {
            Some(directory) => ObjectKey::new(directory).and_then(|key| self.path(&key)).is_ok(),
            None => directory.is_empty(),
        }
    }

    /// What lies in the root, whether or not its name is a key.
    pub(super) fn entries(&self) -> Result<Vec<String>, Error> {
        let names = fs::read_dir(&self.root)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect());
        let mut names: Vec<String> = names.map_err(failed("list", &self.root))?;
        names.retain(|name| name != temporary::DIRECTORY && name != "lost+found");
        Ok(names)
    }
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    window: usize,
    found: Vec<Listed>,
    running: &'a Running,
}

impl Walk<'_> {
    /// Lists `directory` (empty, or ending in `/`) until the limit is reached.
    fn directory(&mut self, directory: &str) -> Result<(), Error> {
        let mut last = None;
        loop {
            let window = self.read_window(directory, last.as_deref())?;
            let complete = window.len() < self.window;
            for path in &window {
                if self.found.len() == self.limit {
                    return Ok(());
                }
                if path.ends_with('/') { self.directory(path)? } else { self.file(path)? }
            }
            last = match window.into_iter().next_back() {
                Some(path) if !complete => Some(path),
                _ => return Ok(()),
            };
        }
    }

    /// The first entries of `directory`, in order, that come after `last` and may hold or be a wanted key.
    fn read_window(&self, directory: &str, last: Option<&str>) -> Result<Vec<String>, Error> {
        let path = self.root.join(directory);
        let entries = match fs::read_dir(&path) {
            // Removed since it was seen, or never there.
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            entries => entries.map_err(failed("list", &path))?,
        };
        let mut smallest = BinaryHeap::new();
        for entry in entries {
            self.running.moved();
            let entry = entry.map_err(failed("list", &path))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if (directory.is_empty() && name == temporary::DIRECTORY) || is_nfs_own(name) {
                continue;
            }
            // What no key can name was not made by an engine: `lost+found`, an operator's notes.
            let Ok(key) = ObjectKey::new(format!("{directory}{name}")) else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            // An operator may have put a directory elsewhere.
            let is_directory = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
            let entry = if is_directory { format!("{key}/") } else { key.to_string() };
            if last.is_none_or(|last| entry.as_str() > last) && self.wanted(&entry) {
                smallest.push(entry);
                if smallest.len() > self.window {
                    smallest.pop();
                }
            }
        }
        Ok(smallest.into_sorted_vec())
    }

    fn wanted(&self, entry: &str) -> bool {
        let in_prefix = entry.starts_with(self.prefix) || (entry.ends_with('/') && self.prefix.starts_with(entry));
        in_prefix && (entry > self.after || self.after.starts_with(entry) && entry.ends_with('/'))
    }

    fn file(&mut self, path: &str) -> Result<(), Error> {
        let key = ObjectKey::new(path)?;
        let full = self.root.join(path);
        self.running.moved();
        match fs::metadata(&full) {
            Ok(metadata) if metadata.is_file() => self.found.push(Listed { key, size: metadata.len() }),
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(failed("examine", &full)(error)),
        }
        Ok(())
    }
}
