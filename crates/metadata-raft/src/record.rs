//! hiqlite's own record in each of its databases: table `_metadata`, one row.
//!
//! As bytes, numbers little-endian: whether there is a last entry (1 or 0); its term, leader and index (u64 each); the
//! members; and whether there is a snapshot (1 or 0) with its id as text (length as u64, characters).

use std::path::Path;

use hiqlite::rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

const READ: &str = "SELECT data FROM _metadata WHERE key = 'meta'";

/// The index of the last log entry that a database at rest includes.
pub(crate) fn last_entry(path: &Path) -> Result<u64, String> {
    let metadata = || -> hiqlite::rusqlite::Result<Vec<u8>> {
        // Immutable: nothing is made beside it, whatever state it was left in.
        let uri = format!("file:{}?immutable=1", escaped(path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(uri, flags)?;
        connection.query_row(READ, [], |row| row.get(0))
    };
    let bytes = metadata().map_err(|e| e.to_string())?;
    match (bytes.first(), bytes.get(17..25)) {
        (Some(0), _) => Ok(0),
        (Some(1), Some(index)) => Ok(u64::from_le_bytes(index.try_into().unwrap_or_default())),
        _ => Err("its record of the log cannot be understood".to_owned()),
    }
}

/// A path as part of a URI.
fn escaped(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut uri, byte| {
        match byte {
            b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => _ = write!(uri, "%{byte:02X}"),
        }
        uri
    })
}

/// Makes the database at `path` know itself as snapshot `id`.
pub(crate) fn rename(path: &Path, id: Uuid) -> Result<(), String> {
    let rename = || -> hiqlite::rusqlite::Result<Option<()>> {
        let connection = Connection::open(path)?;
        // As in any snapshot: one file.
        connection.pragma_update(None, "journal_mode", "DELETE")?;
        let data: Vec<u8> = connection.query_row(READ, [], |row| row.get(0))?;
        let Some(data) = renamed(data, id) else { return Ok(None) };
        connection.execute("UPDATE _metadata SET data = $1 WHERE key = 'meta'", [data]).map(|_| Some(()))
    };
    rename().map_err(|e| e.to_string())?.ok_or_else(|| "its record of the snapshot cannot be understood".to_owned())
}

/// The record with another snapshot id at its end.
fn renamed(mut data: Vec<u8>, id: Uuid) -> Option<Vec<u8>> {
    const TEXT: usize = 36;
    let mut head = vec![1];
    head.extend_from_slice(&(TEXT as u64).to_le_bytes());
    let named = data.len().checked_sub(head.len() + TEXT).filter(|at| {
        let text = std::str::from_utf8(&data[at + head.len()..]);
        data[*at..].starts_with(&head) && text.is_ok_and(|text| Uuid::parse_str(text).is_ok())
    });
    match named {
        Some(at) => data.truncate(at),
        None => _ = data.pop().filter(|absent| *absent == 0)?,
    }
    data.extend_from_slice(&head);
    data.extend_from_slice(id.to_string().as_bytes());
    Some(data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_record_is_renamed_whether_it_had_a_name_or_not() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let unnamed = b"members\0\0".to_vec();
        let named = renamed(unnamed.clone(), first).unwrap();
        assert_eq!(named[..8], unnamed[..8]);
        assert_eq!(named[8..17], [1, 36, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(named[17..], *first.to_string().as_bytes());
        assert_eq!(renamed(named.clone(), first).unwrap(), named);
        assert_eq!(renamed(named, second), renamed(unnamed, second));
        assert_eq!(renamed(b"something else".to_vec(), first), None);
    }
}
