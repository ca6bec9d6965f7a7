//! Copies of hiqlite's snapshots that can be trusted, and the database rebuilt from one.
//!
//! After an unclean stop the database is rebuilt from the newest snapshot and the log after it; the log before it is
//! gone. Log entries carry a checksum, snapshots carry none, and hiqlite opens them for writing. So every new snapshot
//! is copied to `snapshots/` under our own directory, as `<id>.<sha256>`, and before a rebuild hiqlite's file is put
//! back from the copy. Of a snapshot and its copy either may be damaged.
//!
//! hiqlite would rebuild the database itself, through SQLite's write-ahead log, which takes twice the space. Here the
//! old database goes first and the snapshot is put in its place, so that a full disk does not keep a node from
//! starting: what was freed is what is needed.
//!
//! Which snapshot is the newest is told by the log entry it goes up to. hiqlite goes by the id, a UUIDv7, which a clock
//! that was set back gets wrong; so it is left no other snapshot to choose than the newest.
//!
//! Between the making of a snapshot and the end of its copying (one look of the watchdog and the copying itself)
//! damage to it goes unseen: what is copied is taken for good.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::disk::free;
use crate::durable::{make_directory, publish, remove, sync_file, sync_parent};
use crate::{OpenError, record};

/// A copy that is being made.
const NEW: &str = "new";
/// What an older snapshot is called that was set aside.
const OLDER: &str = "older";

/// How the name of a snapshot ends that hiqlite is making.
const UNFINISHED: &str = ".tmp";

/// What hiqlite needs to start besides the database: room for SQLite's shared memory and its own vote.
const ELBOW_ROOM: u64 = 1 << 20;

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

/// A snapshot: the original, its copy, or both.
#[derive(Debug)]
struct Snapshot {
    id: Uuid,
    original: Option<PathBuf>,
    copy: Option<Copy>,
}

impl Snapshots {
    /// Over the snapshots in hiqlite's directory `raft`, with copies under `directory`.
    pub(crate) fn new(raft: &Path, directory: &Path) -> Self {
        Self { originals: raft.join("state_machine/snapshots"), copies: directory.join("snapshots") }
    }

    /// Copies the newest snapshot unless that was done, and drops what is left of older ones.
    pub(crate) fn keep(&self) -> Result<(), OpenError> {
        let Some(newest) = self.newest()? else { return Ok(()) };
        if let (None, Some(original)) = (&newest.copy, &newest.original) {
            make_directory(&self.copies).map_err(OpenError::io("make directory", &self.copies))?;
            let temporary = self.copies.join(NEW);
            let sum = copy(original, &temporary)?;
            let path = self.copies.join(format!("{}.{sum}", newest.id));
            publish(&temporary, &path).map_err(OpenError::io("write", &path))?;
            tracing::debug!(id = %newest.id, "metadata snapshot copied");
        }
        for name in names(&self.copies)? {
            if name.split_once('.').is_some_and(|(id, _)| Uuid::parse_str(id).is_ok_and(|id| id != newest.id)) {
                let path = self.copies.join(name);
                remove(&path).map_err(OpenError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Bytes of the snapshot that hiqlite is making; 0 when it makes none.
    pub(crate) fn unfinished(&self) -> u64 {
        let names = names(&self.originals).unwrap_or_default();
        let unfinished = names.iter().filter(|name| name.ends_with(UNFINISHED));
        unfinished.filter_map(|name| fs::metadata(self.originals.join(name)).ok()).map(|file| file.len()).sum()
    }

    /// The index of the last log entry that the newest snapshot includes; 0 when there is none.
    pub(crate) fn last_entry_of_newest(&self) -> Result<u64, OpenError> {
        self.newest()?.map_or(Ok(0), |newest| self.last_entry(&newest))
    }

    /// Makes a database that is complete and lies still the newest snapshot, as hiqlite would.
    pub(crate) fn make(&self, database: &Path) -> Result<(), OpenError> {
        make_directory(&self.originals).map_err(OpenError::io("make directory", &self.originals))?;
        let id = Uuid::now_v7();
        let unfinished = self.originals.join(format!("{id}{UNFINISHED}"));
        copy(database, &unfinished)?;
        record::rename(&unfinished, id).map_err(|reason| OpenError::Damaged { file: database.to_owned(), reason })?;
        let path = self.originals.join(id.to_string());
        let whole = File::open(&unfinished).and_then(|file| sync_file(&file, &unfinished));
        whole.and_then(|()| publish(&unfinished, &path)).map_err(OpenError::io("write", &path))?;
        self.set_older_aside(id)
    }

    /// Puts the newest snapshot in the place of `database`, which is thrown away, for the log to be replayed on.
    /// Afterwards hiqlite's newest snapshot is that one too, byte for byte as it was copied. Refuses, and has changed
    /// nothing, when neither it nor its copy is what it was.
    pub(crate) fn rebuild(&self, database: &Path) -> Result<(), OpenError> {
        let newest = self.newest()?;
        let source = newest.as_ref().map(|newest| self.put_back(newest)).transpose()?;
        self.remove_unfinished()?;
        remove_database(database)?;
        let (Some(newest), Some(source)) = (newest, source) else { return Ok(()) };
        self.set_older_aside(newest.id)?;
        match place(&source, database) {
            Err(OpenError::Io { source: e, .. }) if e.kind() == ErrorKind::StorageFull && newest.copy.is_some() => {
                self.give_up(&newest)?;
                place(&source, database)?;
            }
            placed => placed?,
        }
        match free(database) {
            Ok(free) if free < ELBOW_ROOM => self.give_up(&newest),
            _ => Ok(()),
        }
    }

    /// Half of a snapshot or of a copy, from when the process ended, is of no use and takes space.
    fn remove_unfinished(&self) -> Result<(), OpenError> {
        let unfinished = names(&self.originals)?.into_iter().filter(|name| name.ends_with(UNFINISHED));
        let unfinished = unfinished.map(|name| self.originals.join(name)).chain([self.copies.join(NEW)]);
        for path in unfinished {
            remove(&path).map_err(OpenError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Drops the copy of a snapshot that was put back, for the space. Another is made once there is some.
    fn give_up(&self, snapshot: &Snapshot) -> Result<(), OpenError> {
        let Some(copy) = &snapshot.copy else { return Ok(()) };
        tracing::warn!(id = %snapshot.id, "giving up the copy of a metadata snapshot for want of disk space");
        let path = self.path(copy);
        remove(&path).map_err(OpenError::io("remove", &path))
    }

    /// Makes the original what its copy is. Answers where it stands.
    fn put_back(&self, snapshot: &Snapshot) -> Result<PathBuf, OpenError> {
        let original = self.originals.join(snapshot.id.to_string());
        // One without a copy was made just before the stop.
        let Some(copy_of) = &snapshot.copy else { return Ok(original) };
        if original.exists() && checksum(&original)? == copy_of.sum {
            return Ok(original);
        }
        let kept = self.path(copy_of);
        if checksum(&kept)? != copy_of.sum {
            let reason = format!("it and {} no longer have the checksum they were written with", original.display());
            return Err(OpenError::Damaged { file: kept, reason });
        }
        make_directory(&self.originals).map_err(OpenError::io("make directory", &self.originals))?;
        // What an interrupted run may have left of SQLite's journals belongs to the other file.
        remove_journals(&original)?;
        match overwrite(&kept, &original) {
            Err(e) if e.kind() == ErrorKind::StorageFull => publish(&kept, &original),
            written => written,
        }
        .map_err(OpenError::io("write", &original))?;
        tracing::info!(id = %snapshot.id, "metadata snapshot put back from its copy");
        Ok(original)
    }

    /// Leaves hiqlite no snapshot but `newest`.
    fn set_older_aside(&self, newest: Uuid) -> Result<(), OpenError> {
        for id in ids(&self.originals)?.into_iter().filter(|id| *id != newest) {
            make_directory(&self.copies).map_err(OpenError::io("make directory", &self.copies))?;
            let path = self.originals.join(id.to_string());
            remove_journals(&path)?;
            let aside = self.copies.join(format!("{id}.{OLDER}"));
            publish(&path, &aside).map_err(OpenError::io("move", &path))?;
            sync_parent(&path).map_err(OpenError::io("move", &path))?;
        }
        Ok(())
    }

    fn path(&self, copy: &Copy) -> PathBuf {
        self.copies.join(format!("{}.{}", copy.id, copy.sum))
    }

    /// The snapshot that goes up to the last log entry.
    fn newest(&self) -> Result<Option<Snapshot>, OpenError> {
        let (originals, copies) = (ids(&self.originals)?, self.copies()?);
        let all: BTreeSet<Uuid> = originals.iter().copied().chain(copies.iter().map(|copy| copy.id)).collect();
        let mut snapshots = all.into_iter().map(|id| Snapshot {
            id,
            original: originals.contains(&id).then(|| self.originals.join(id.to_string())),
            copy: copies.iter().find(|copy| copy.id == id).cloned(),
        });
        let Some(first) = snapshots.next() else { return Ok(None) };
        let mut rest = snapshots.peekable();
        if rest.peek().is_none() {
            return Ok(Some(first));
        }
        let mut newest = (self.last_entry(&first)?, first);
        for snapshot in rest {
            let last = self.last_entry(&snapshot)?;
            if last >= newest.0 {
                newest = (last, snapshot);
            }
        }
        Ok(Some(newest.1))
    }

    /// The index of the last log entry that a snapshot includes.
    fn last_entry(&self, snapshot: &Snapshot) -> Result<u64, OpenError> {
        let copy = snapshot.copy.as_ref().map(|copy| self.path(copy));
        let mut fault = None;
        for path in snapshot.original.iter().chain(&copy) {
            match record::last_entry(path) {
                Ok(index) => return Ok(index),
                Err(reason) => fault = fault.or(Some(OpenError::Damaged { file: path.clone(), reason })),
            }
        }
        Err(fault
            .unwrap_or_else(|| OpenError::Damaged { file: self.originals.clone(), reason: "it is gone".to_owned() }))
    }

    fn copies(&self) -> Result<Vec<Copy>, OpenError> {
        let parse = |name: &String| {
            let (id, sum) = name.split_once('.')?;
            (sum != OLDER).then_some(Copy { id: Uuid::parse_str(id).ok()?, sum: sum.to_owned() })
        };
        Ok(names(&self.copies)?.iter().filter_map(parse).collect())
    }
}

fn names(directory: &Path) -> Result<Vec<String>, OpenError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(OpenError::io("read", directory)(e)),
    };
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn ids(directory: &Path) -> Result<Vec<Uuid>, OpenError> {
    Ok(names(directory)?.iter().filter_map(|name| Uuid::parse_str(name).ok()).collect())
}

fn remove_database(database: &Path) -> Result<(), OpenError> {
    remove(database).map_err(OpenError::io("remove", database))?;
    remove_journals(database)
}

fn remove_journals(database: &Path) -> Result<(), OpenError> {
    for journal in ["-wal", "-shm", "-journal"] {
        let mut name = database.as_os_str().to_owned();
        name.push(journal);
        remove(Path::new(&name)).map_err(OpenError::io("remove", Path::new(&name)))?;
    }
    Ok(())
}

/// Copies a snapshot to where the database belongs. Not durably: what is cut short is begun again.
fn place(snapshot: &Path, database: &Path) -> Result<(), OpenError> {
    if let Some(parent) = database.parent() {
        make_directory(parent).map_err(OpenError::io("make directory", parent))?;
    }
    fs::copy(snapshot, database).map(drop).map_err(|e| {
        let _ = fs::remove_file(database);
        OpenError::io("write", database)(e)
    })
}

/// Writes what is in `from` over what is in `to`, durably, with as little new space as can be.
fn overwrite(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut target = OpenOptions::new().write(true).create(true).truncate(false).open(to)?;
    let mut length = 0;
    read_through(from, |bytes| {
        length += bytes.len() as u64;
        target.write_all(bytes)
    })?;
    target.set_len(length)?;
    sync_file(&target, to)?;
    sync_parent(to)
}

/// Copies a file durably; answers the SHA-256 of what was read.
fn copy(from: &Path, to: &Path) -> Result<String, OpenError> {
    let write = || -> std::io::Result<String> {
        let mut target = File::create(to)?;
        let sum = read_through(from, |bytes| target.write_all(bytes))?;
        sync_file(&target, to)?;
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
