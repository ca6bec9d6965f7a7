//! The metadata directory: its lock, where things stand in it, and small files that are written whole and durably.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::OpenError;
use crate::durable::{make_directory, publish, sync_directory, sync_file};
use crate::footing::{Footing, Pulse};

/// An open metadata directory, locked against every other process.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock goes with the handle.
    lock: Option<File>,
}

/// The two secrets that hiqlite's listeners ask for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    pub(crate) raft: String,
    pub(crate) api: String,
}

impl Directory {
    /// Makes the directory when absent, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        make_directory(path).map_err(OpenError::io("make directory", path))?;
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(OpenError::io("open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let holder = lock.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
                return Err(OpenError::InUse { directory: path.to_owned(), holder });
            }
            Err(TryLockError::Error(e)) => return Err(OpenError::io("lock", &file)(e)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(OpenError::io("write", &file))?;
        Ok(Self { path: path.to_owned(), lock: Some(lock) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the node stands on, once hiqlite has made its directories.
    pub(crate) fn footing(&self) -> Result<Footing, OpenError> {
        let file = self.path.join("lock");
        // Not a duplicate of the handle that has the lock, which would keep it.
        let handle = OpenOptions::new().write(true).open(&file).map_err(OpenError::io("open", &file))?;
        let folders = ["logs", "state_machine/db", "state_machine/snapshots"].map(|folder| self.raft().join(folder));
        let bytes = format!("{}\n", std::process::id()).into_bytes();
        Footing::new(&self.path, folders.into(), self.database(), Pulse { path: file, file: handle, bytes })
    }

    /// hiqlite's own directory.
    pub(crate) fn raft(&self) -> PathBuf {
        self.path.join("raft")
    }

    /// The SQLite file of hiqlite's state machine.
    pub(crate) fn database(&self) -> PathBuf {
        self.raft().join("state_machine/db").join(crate::node::DATABASE)
    }

    /// Whether hiqlite has ever been started here.
    pub(crate) fn has_data(&self) -> bool {
        self.raft().exists()
    }

    /// The secrets, made when the directory is new.
    pub(crate) fn secrets(&self) -> Result<Secrets, OpenError> {
        self.once("secrets.json", || Secrets { raft: secret(), api: secret() })
    }

    /// The content of a file that is written once: made by `make` while there is no data, demanded from then on.
    pub(crate) fn once<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        make: impl FnOnce() -> T,
    ) -> Result<T, OpenError> {
        let file = self.path.join(name);
        let damaged = |reason: String| OpenError::Damaged { file: file.clone(), reason };
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string())),
            Err(e) if e.kind() == ErrorKind::NotFound && self.has_data() => {
                Err(damaged("it is missing although there is data".to_owned()))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let value = make();
                let mut bytes = serde_json::to_vec_pretty(&value).map_err(|e| damaged(e.to_string()))?;
                bytes.push(b'\n');
                replace(&file, &bytes)?;
                Ok(value)
            }
            Err(e) => Err(OpenError::io("read", &file)(e)),
        }
    }

    /// Makes what hiqlite has made durable: it syncs files and forgets the directories they stand in.
    pub(crate) fn sync(&self) -> Result<(), OpenError> {
        for made in ["", "logs", "state_machine", "state_machine/db", "state_machine/snapshots"] {
            let path = self.raft().join(made);
            sync_directory(&path).map_err(OpenError::io("sync", &path))?;
        }
        Ok(())
    }

    /// Keeps the lock until the process ends. For a node that could not be stopped: its threads still write here.
    pub(crate) fn keep_locked(&mut self) {
        if let Some(lock) = self.lock.take() {
            std::mem::forget(lock);
        }
    }
}

/// Replaces a file, atomically and durably, readable by its owner only.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        sync_file(&file, path)?;
        publish(&temporary, path)
    };
    write().map_err(OpenError::io("write", path))
}

/// 256 random bits in hexadecimal digits.
fn secret() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
