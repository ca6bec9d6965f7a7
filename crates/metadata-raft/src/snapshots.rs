//! Copies of hiqlite's snapshots that can be trusted.
//!
//! After an unclean stop hiqlite rebuilds its database from the newest snapshot and the log after it; the log before
//! it is gone. Log entries carry a checksum, snapshots carry none, and hiqlite opens them for writing. So every new
//! snapshot is copied to `snapshots/` under our own directory, as `<id>.<sha256>`, and before a rebuild hiqlite's file
//! is put back from the copy. Of a snapshot and its copy either may be damaged.
//!
//! Between the making of a snapshot and the end of its copying (one look of the watchdog and the copying itself)
//! damage to it goes unseen: what is copied is taken for good.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::OpenError;
use crate::directory::{make_directory, sync_parent};

/// hiqlite's snapshots and our copies of them.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    /// hiqlite's own directory.
    originals: PathBuf,
    copies: PathBuf,
}

/// A copy, by its file name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Copy {
    id: Uuid,
    sum: String,
}

impl Snapshots {
    /// Over the snapshots in hiqlite's directory `raft`, with copies under `directory`.
    pub(crate) fn new(raft: &Path, directory: &Path) -> Self {
        Self { originals: raft.join("state_machine/snapshots"), copies: directory.join("snapshots") }
    }

    /// Copies the newest snapshot unless that was done, and drops the copies of older ones.
    pub(crate) fn keep(&self) -> Result<(), OpenError> {
        let Some(id) = self.newest_original()? else { return Ok(()) };
        let copies = self.copies()?;
        if copies.iter().any(|copy| copy.id == id) {
            return Ok(());
        }
        make_directory(&self.copies)?;
        let temporary = self.copies.join("new");
        let sum = copy(&self.originals.join(id.to_string()), &temporary)?;
        let path = self.copies.join(format!("{id}.{sum}"));
        publish(&temporary, &path)?;
        for old in copies {
            let path = self.path(&old);
            fs::remove_file(&path).map_err(OpenError::io("remove", &path))?;
        }
        tracing::debug!(%id, "metadata snapshot copied");
        Ok(())
    }

    /// Puts back what a rebuild needs: afterwards hiqlite's newest snapshot is the one that was copied, byte for
    /// byte. Refuses when neither it nor its copy is what it was.
    pub(crate) fn restore(&self) -> Result<(), OpenError> {
        let Some(copy_of) = self.copies()?.into_iter().max_by_key(|copy| copy.id) else { return Ok(()) };
        if self.newest_original()?.is_some_and(|id| id > copy_of.id) {
            // A newer one was made just before the stop, and not copied yet.
            return Ok(());
        }
        let original = self.originals.join(copy_of.id.to_string());
        if original.exists() && checksum(&original)? == copy_of.sum {
            return Ok(());
        }
        let kept = self.path(&copy_of);
        make_directory(&self.originals)?;
        let temporary = self.originals.join("restored");
        if copy(&kept, &temporary)? != copy_of.sum {
            let reason = format!("it and {} no longer have the checksum they were written with", original.display());
            return Err(OpenError::Damaged { file: kept, reason });
        }
        // What an interrupted run may have left of SQLite's journals belongs to the other file.
        for journal in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(self.originals.join(format!("{}{journal}", copy_of.id)));
        }
        publish(&temporary, &original)?;
        tracing::info!(id = %copy_of.id, "metadata snapshot put back from its copy");
        Ok(())
    }

    fn path(&self, copy: &Copy) -> PathBuf {
        self.copies.join(format!("{}.{}", copy.id, copy.sum))
    }

    /// hiqlite names snapshots by UUIDv7, so the newest has the greatest id, as in hiqlite itself.
    fn newest_original(&self) -> Result<Option<Uuid>, OpenError> {
        Ok(names(&self.originals)?.iter().filter_map(|name| Uuid::parse_str(name).ok()).max())
    }

    fn copies(&self) -> Result<Vec<Copy>, OpenError> {
        let parse = |name: &String| {
            let (id, sum) = name.split_once('.')?;
            Some(Copy { id: Uuid::parse_str(id).ok()?, sum: sum.to_owned() })
        };
        Ok(names(&self.copies)?.iter().filter_map(parse).collect())
    }
}

fn names(directory: &Path) -> Result<Vec<String>, OpenError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(OpenError::io("read", directory)(e)),
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Gives a whole and durable file its name.
fn publish(temporary: &Path, path: &Path) -> Result<(), OpenError> {
    fs::rename(temporary, path).and_then(|()| sync_parent(path)).map_err(OpenError::io("write", path))
}

/// Copies a file durably; answers the SHA-256 of what was read.
fn copy(from: &Path, to: &Path) -> Result<String, OpenError> {
    let write = || -> std::io::Result<String> {
        let mut target = File::create(to)?;
        let sum = read_through(from, |bytes| target.write_all(bytes))?;
        target.sync_all()?;
        Ok(sum)
    };
    write().map_err(|e| {
        // Half a copy on a full disk would only keep it full.
        let _ = fs::remove_file(to);
        OpenError::io("copy", from)(e)
    })
}

/// The SHA-256 of a file, in hexadecimal digits.
pub(crate) fn checksum(path: &Path) -> Result<String, OpenError> {
    read_through(path, |_| Ok(())).map_err(OpenError::io("read", path))
}

fn read_through(path: &Path, mut each: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hasher.update(&buffer[..read]);
        each(&buffer[..read])?;
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
