//! Whether hiqlite's database may be used as it stands, or is rebuilt from the snapshot and the log.
//!
//! hiqlite never syncs its database, because after a crash it rebuilds it. But after a clean stop it uses the file
//! as it is: if the power fails a moment later, or a bit flips while the machine is off, nobody notices. So a clean
//! stop ends here: the database is written out, synced, and its checksum left in `clean-stop.json`. A start takes
//! that file away before anything else happens, and without it, or when the database does not match it, the database
//! is rebuilt and hiqlite made to believe in a crash. A rebuild is always right; a clean stop only saves the time.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hiqlite::rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::OpenError;
use crate::directory::{Directory, replace};
use crate::durable::{remove, sync_file, sync_parent};
use crate::snapshots::checksum;

/// The content of `clean-stop.json`.
#[derive(Serialize, Deserialize)]
struct CleanStop {
    /// SHA-256 of the database file.
    database: String,
}

/// Writes the database out and vouches for it. To be called once hiqlite has stopped; an error means that the next
/// start rebuilds.
pub(crate) fn vouch(directory: &Directory) -> Result<(), String> {
    let database = directory.database();
    write_out(&database)?;
    let synced = File::open(&database).and_then(|file| sync_file(&file, &database));
    let synced = synced.and_then(|()| sync_parent(&database));
    synced.map_err(|e| e.to_string())?;
    let stop = CleanStop { database: checksum(&database).map_err(|e| e.to_string())? };
    let json = serde_json::to_vec_pretty(&stop).map_err(|e| e.to_string())?;
    replace(&path(directory), &json).map_err(|e| e.to_string())
}

/// Moves what stands in SQLite's own write-ahead log into the database file.
fn write_out(database: &Path) -> Result<(), String> {
    let connection = Connection::open(database).map_err(|e| e.to_string())?;
    // hiqlite syncs nothing, this connection does.
    connection.pragma_update(None, "synchronous", "FULL").map_err(|e| e.to_string())?;
    let busy: i64 =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(|e| e.to_string())?;
    match busy {
        0 => Ok(()),
        _ => Err("a reader held the database".to_owned()),
    }
}

/// Takes the voucher away; unless the database is `trusted`, hiqlite is made to believe in a crash.
pub(crate) fn consume(directory: &Directory, trusted: bool) -> Result<(), OpenError> {
    let path = path(directory);
    remove(&path).map_err(OpenError::io("remove", &path))?;
    if !trusted {
        // hiqlite takes this for the sign of a crash, and checks the log.
        let marker = directory.raft().join("logs/lock.hql");
        if marker.parent().is_some_and(Path::exists) {
            let made = File::options().write(true).create(true).truncate(false).open(&marker);
            made.map_err(OpenError::io("write", &marker))?;
        }
        // And this: it would throw the database away, which is rebuilt before it starts.
        let marker = directory.raft().join("state_machine/lock");
        remove(&marker).map_err(OpenError::io("remove", &marker))?;
    }
    Ok(())
}

/// Whether hiqlite, started next, may use the database as it stands; if not, it must be rebuilt before.
pub(crate) fn trusted(directory: &Directory) -> Result<bool, OpenError> {
    let (path, database) = (path(directory), directory.database());
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(OpenError::io("read", &path)(e)),
    };
    let left = database.with_extension("db-wal");
    let pending = fs::metadata(&left).is_ok_and(|m| m.len() > 0);
    match serde_json::from_slice::<CleanStop>(&bytes) {
        Ok(stop) if database.exists() && !pending => Ok(checksum(&database)? == stop.database),
        _ => Ok(false),
    }
}

fn path(directory: &Directory) -> PathBuf {
    directory.path().join("clean-stop.json")
}

#[cfg(test)]
#[path = "clean_stop_tests.rs"]
mod tests;
