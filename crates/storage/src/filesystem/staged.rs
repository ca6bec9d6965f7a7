//! What this process knows of staged objects: who is writing to them, and how much of them is durable.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Weak;

use parking_lot::Mutex;

use super::directories::Mark;

/// How many staged objects are remembered as durable; when full, all are forgotten.
const REMEMBERED: usize = 4096;

/// Something that writes to a staged object.
pub(super) trait Revoke: Send + Sync {
    /// Waits for what it is doing to the file, and makes it fail from now on.
    fn revoke(&self);
}

#[derive(Default)]
pub(super) struct StagedObjects {
    writers: Mutex<HashMap<PathBuf, Weak<dyn Revoke>>>,
    synced: Mutex<HashMap<PathBuf, (Mark, u64)>>,
}

impl StagedObjects {
    /// To be called before the object at `path` changes or goes: a writer that was dropped may have a job left, whose
    /// bytes must not land among those of its successor.
    pub(super) fn take_over(&self, path: &Path) {
        let writer = self.writers.lock().remove(path);
        if let Some(writer) = writer.and_then(|writer| writer.upgrade()) {
            writer.revoke();
        }
        self.synced.lock().remove(path);
    }

    /// `writer` writes to the object at `path` from now on.
    pub(super) fn opened(&self, path: &Path, writer: Weak<dyn Revoke>) {
        let mut writers = self.writers.lock();
        if writers.len() >= 64 && writers.len().is_power_of_two() {
            writers.retain(|_, writer| writer.strong_count() > 0);
        }
        writers.insert(path.to_owned(), writer);
    }

    /// The first `length` bytes of the object at `path`, which are all of them, are durable.
    pub(super) fn synced(&self, path: &Path, mark: Mark, length: u64) {
        let mut synced = self.synced.lock();
        if synced.len() >= REMEMBERED {
            synced.clear();
        }
        synced.insert(path.to_owned(), (mark, length));
    }

    /// Whether the file at `path` is the one remembered, durable in exactly its first `length` bytes. Then composing
    /// need not sync it again.
    pub(super) fn is_synced(&self, path: &Path, mark: Mark, length: u64) -> bool {
        mark.is_unique() && self.synced.lock().get(path) == Some(&(mark, length))
    }
}
