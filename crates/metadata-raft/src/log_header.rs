//! The header of the log file that is written to, checked before hiqlite believes it.
//!
//! hiqlite appends where the header says that the log ends. With a flipped bit there it would write new entries over
//! old ones or behind a gap that no replay crosses, and acknowledge them: that is refused here. Damage to entries is
//! left to hiqlite, which cuts the log off there, and to the [high-water mark](crate::high_water), which knows whether
//! that loses anything. But for one case: when the power fails while an entry is being synced, the header may reach
//! the disk and the entry not. hiqlite then finds zeros where the header promises an entry, and never starts again;
//! so the header is set back to the last entry that is there.
//!
//! A file is a header of 32 bytes (`HQL_WAL`, a version byte, the first and last id as u64, where the first entry
//! begins and the last ends as u32) and entries (id as u64, checksum, length as u32, data), each followed by one
//! unused byte; numbers are big-endian.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crc::{CRC_32_CKSUM, Crc};

use crate::OpenError;

const MAGIC: &[u8] = b"HQL_WAL\x01";
const FIRST_ID: usize = 8;
const LAST_ID: usize = 16;
const START: usize = 24;
const END: usize = 28;
const HEADER: usize = 32;
/// Id, checksum and length of an entry.
const ENTRY: usize = 8 + 4 + 4;
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_CKSUM);

/// Checks the newest log file in `logs`. A directory without one passes, and so does a file that hiqlite will not
/// take for one: what was in it is missed by the mark.
pub(crate) fn check(logs: &Path) -> Result<(), OpenError> {
    let Some(newest) = newest(logs)? else { return Ok(()) };
    let bytes = fs::read(&newest).map_err(OpenError::io("read", &newest))?;
    match look(&bytes) {
        Finding::Fits => Ok(()),
        Finding::Wrong(reason) => Err(OpenError::Damaged { file: newest, reason }),
        Finding::Torn(header) => {
            tracing::warn!(log = %newest.display(), "the last entry of the metadata log never reached the disk");
            let file = fs::File::options().write(true).open(&newest).map_err(OpenError::io("open", &newest))?;
            let written = file.write_all_at(&header, LAST_ID as u64).and_then(|()| file.sync_data());
            written.map_err(OpenError::io("write", &newest))
        }
    }
}

/// File names are numbers with leading zeros.
fn newest(logs: &Path) -> Result<Option<PathBuf>, OpenError> {
    let entries = match fs::read_dir(logs) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(OpenError::io("read", logs)(e)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "wal")).max())
}

/// What the entries say about the header.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// They agree, or cannot tell.
    Fits,
    /// The log ends elsewhere than the header says.
    Wrong(String),
    /// Where the header promises another entry there is nothing. The bytes that should stand from [`LAST_ID`] on.
    Torn([u8; HEADER - LAST_ID]),
}

fn look(bytes: &[u8]) -> Finding {
    walk(bytes).unwrap_or(Finding::Fits)
}

/// Goes from entry to entry; `None` when there is something that is no entry, which tells nothing.
fn walk(bytes: &[u8]) -> Option<Finding> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let last_id = u64::from_be_bytes(array(bytes, LAST_ID)?);
    let start = usize::try_from(u32::from_be_bytes(array(bytes, START)?)).ok()?;
    let end = usize::try_from(u32::from_be_bytes(array(bytes, END)?)).ok()?;
    let mut at = start;
    let mut before = None;
    // 0 stands for a file without entries.
    while at != 0 {
        if bytes.get(at..at + ENTRY)?.iter().all(|byte| *byte == 0) {
            return Some(Finding::Torn(header(bytes, start, before)?));
        }
        let entry = Entry::read(bytes, at)?;
        if entry.end == end && entry.id == last_id {
            return Some(Finding::Fits);
        }
        if entry.end >= end || entry.id >= last_id {
            let Entry { id, end: found, .. } = entry;
            return Some(Finding::Wrong(format!(
                "its header says that the log ends with entry {last_id} at byte {end}, but entry {id} ends at {found}"
            )));
        }
        at = entry.end + 1;
        before = Some(entry);
    }
    None
}

/// The end of the header of a file whose last entry is `last`.
fn header(bytes: &[u8], start: usize, last: Option<Entry>) -> Option<[u8; HEADER - LAST_ID]> {
    // Without entries the file's last id is its first, as hiqlite leaves it itself.
    let (id, start, end) = match last {
        Some(last) => (last.id, start, last.end),
        None => (u64::from_be_bytes(array(bytes, FIRST_ID)?), 0, 0),
    };
    let mut header = [0; HEADER - LAST_ID];
    header[..8].copy_from_slice(&id.to_be_bytes());
    header[8..12].copy_from_slice(&u32::try_from(start).ok()?.to_be_bytes());
    header[12..].copy_from_slice(&u32::try_from(end).ok()?.to_be_bytes());
    Some(header)
}

struct Entry {
    id: u64,
    /// Of its data; hiqlite's next entry begins one byte later.
    end: usize,
}

impl Entry {
    /// The entry at `at`, if there is a whole one.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let id = u64::from_be_bytes(array(bytes, at)?);
        let sum = array(bytes, at + 8)?;
        let length = usize::try_from(u32::from_be_bytes(array(bytes, at + 12)?)).ok()?;
        let data = bytes.get(at + ENTRY..(at + ENTRY).checked_add(length)?)?;
        // The checksum is the only little-endian number.
        let whole = id > 0 && length > 0 && CHECKSUM.checksum(data).to_le_bytes() == sum;
        whole.then_some(Entry { id, end: at + ENTRY + length })
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
#[path = "log_header_tests.rs"]
mod tests;
