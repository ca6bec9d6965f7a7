//! The header of the log file that is written to, checked before hiqlite believes it.
//!
//! hiqlite appends where the header says that the log ends. With a flipped bit there it would write new entries over
//! old ones or behind a gap that no replay crosses, and acknowledge them. When the power fails while an entry is being
//! synced, the header may reach the disk and the entry not; hiqlite then finds zeros where the header promises an
//! entry, and never starts again. In both cases the entries themselves tell where the log ends, and the header is set
//! to that.
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
use crate::durable::{remove, sync_file};

const MAGIC: &[u8] = b"HQL_WAL\x01";
const FIRST_ID: usize = 8;
pub(crate) const LAST_ID: usize = 16;
const START: usize = 24;
const END: usize = 28;
const HEADER: usize = 32;
/// Id, checksum and length of an entry.
pub(crate) const ENTRY: usize = 8 + 4 + 4;
/// Of an entry, where its length stands.
const LENGTH: u64 = 8 + 4;
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_CKSUM);

/// Sets the header of the newest log file in `logs` right. Damage to entries is for [`crate::log_files`].
pub(crate) fn mend(logs: &Path) -> Result<(), OpenError> {
    let Some(newest) = files(logs)?.pop() else { return Ok(()) };
    let bytes = fs::read(&newest).map_err(OpenError::io("read", &newest))?;
    if bytes.iter().all(|byte| *byte == 0) {
        // hiqlite ended while it made the file. It would skip it, and then fail to make it again.
        remove(&newest).map_err(OpenError::io("remove", &newest))?;
        return mend(logs);
    }
    if let Finding::Elsewhere(header) = look(&bytes) {
        tracing::warn!(log = %newest.display(), "the metadata log ends elsewhere than its header says");
        let file = fs::File::options().write(true).open(&newest).map_err(OpenError::io("open", &newest))?;
        let written = file.write_all_at(&header, LAST_ID as u64).and_then(|()| sync_file(&file, &newest));
        written.map_err(OpenError::io("write", &newest))?;
    }
    Ok(())
}

/// The log files in their order. Their names are numbers with leading zeros.
pub(crate) fn files(logs: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let entries = match fs::read_dir(logs) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(OpenError::io("read", logs)(e)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "wal")).collect();
    files.sort();
    Ok(files)
}

/// What a header says about its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) start: usize,
    end: usize,
}

impl Header {
    /// `None` when this is no log file.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(MAGIC) {
            return None;
        }
        Some(Self {
            first: u64::from_be_bytes(array(bytes, FIRST_ID)?),
            last: u64::from_be_bytes(array(bytes, LAST_ID)?),
            start: usize::try_from(u32::from_be_bytes(array(bytes, START)?)).ok()?,
            end: usize::try_from(u32::from_be_bytes(array(bytes, END)?)).ok()?,
        })
    }

    /// Whether nothing has been written to the file yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == 0 && self.end == 0
    }

    /// The end of the header of the same file, if it ended with `last`.
    pub(crate) fn ending_with(&self, last: Entry) -> Option<[u8; HEADER - LAST_ID]> {
        ending(last.id, self.start, last.end)
    }
}

/// How many bytes the entries of a log file take that follow entry `base`. Reads nothing but where they end.
pub(crate) fn bytes_after(file: &fs::File, base: u64) -> std::io::Result<u64> {
    let mut head = [0; HEADER];
    let mut length = [0; 4];
    let read = file.read_at(&mut head, 0)?;
    let Some(header) = Header::read(&head[..read]).filter(|header| !header.is_empty()) else { return Ok(0) };
    let (mut at, mut id) = (header.start as u64, header.first);
    while id <= base && id <= header.last {
        file.read_exact_at(&mut length, at + LENGTH)?;
        at += ENTRY as u64 + u64::from(u32::from_be_bytes(length)) + 1;
        id += 1;
    }
    Ok((header.end as u64).saturating_sub(at))
}

/// What the entries say about the header.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// They agree, or cannot tell.
    Fits,
    /// At this byte, before the end, stands what should be an entry and is none.
    Damaged { at: usize },
    /// The log ends elsewhere. The bytes that should stand from [`LAST_ID`] on.
    Elsewhere([u8; HEADER - LAST_ID]),
}

fn look(bytes: &[u8]) -> Finding {
    walk(bytes).unwrap_or(Finding::Fits)
}

/// Goes from entry to entry until one is the last that the header names, or there is none any more. `None` when this
/// is no log file, or nothing stands in it.
fn walk(bytes: &[u8]) -> Option<Finding> {
    let Header { last: last_id, start, end, .. } = Header::read(bytes)?;
    if start == 0 {
        return None;
    }
    let mut at = start;
    let mut before: Option<Entry> = None;
    loop {
        match Entry::read(bytes, at) {
            Found::Entry(entry) if before.as_ref().is_none_or(|before| entry.id == before.id + 1) => {
                if entry.end == end && entry.id == last_id {
                    return Some(Finding::Fits);
                }
                at = entry.end + 1;
                before = Some(entry);
            }
            // Only the first entry of a new file can be missing without one before it.
            Found::Nothing if before.is_some() || start == HEADER => break,
            // Behind the end anything may stand.
            Found::Entry(_) | Found::Damage if before.is_some() && at > end => break,
            Found::Entry(_) | Found::Damage | Found::Nothing => return Some(Finding::Damaged { at }),
        }
    }
    Some(Finding::Elsewhere(header(bytes, start, before)?))
}

/// The end of the header of a file whose last entry is `last`.
fn header(bytes: &[u8], start: usize, last: Option<Entry>) -> Option<[u8; HEADER - LAST_ID]> {
    // Without entries the file's last id is its first, as hiqlite leaves it itself.
    let (id, start, end) = match last {
        Some(last) => (last.id, start, last.end),
        None => (u64::from_be_bytes(array(bytes, FIRST_ID)?), 0, 0),
    };
    ending(id, start, end)
}

fn ending(id: u64, start: usize, end: usize) -> Option<[u8; HEADER - LAST_ID]> {
    let mut header = [0; HEADER - LAST_ID];
    header[..8].copy_from_slice(&id.to_be_bytes());
    header[8..12].copy_from_slice(&u32::try_from(start).ok()?.to_be_bytes());
    header[12..].copy_from_slice(&u32::try_from(end).ok()?.to_be_bytes());
    Some(header)
}

/// An entry that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    /// Of its data; hiqlite's next entry begins one byte later.
    pub(crate) end: usize,
}

/// What stands where an entry may begin.
enum Found {
    Entry(Entry),
    /// Zeros.
    Nothing,
    Damage,
}

impl Entry {
    fn read(bytes: &[u8], at: usize) -> Found {
        match bytes.get(at..at + ENTRY) {
            Some(head) if head.iter().all(|byte| *byte == 0) => Found::Nothing,
            _ => Self::parse(bytes, at).map_or(Found::Damage, Found::Entry),
        }
    }

    /// The entry at a place, when it is whole.
    pub(crate) fn parse(bytes: &[u8], at: usize) -> Option<Self> {
        let entry = Self::skip(bytes, at)?;
        // The checksum is the only little-endian number.
        let whole = CHECKSUM.checksum(bytes.get(at + ENTRY..entry.end)?).to_le_bytes() == array(bytes, at + 8)?;
        whole.then_some(entry)
    }

    /// The entry at a place, whatever is in it.
    pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<Self> {
        let id = u64::from_be_bytes(array(bytes, at)?);
        let length = usize::try_from(u32::from_be_bytes(array(bytes, at + 12)?)).ok()?;
        let end = (at + ENTRY).checked_add(length)?;
        (length > 0 && end <= bytes.len()).then_some(Self { id, end })
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
#[path = "log_header_tests.rs"]
pub(crate) mod tests;
