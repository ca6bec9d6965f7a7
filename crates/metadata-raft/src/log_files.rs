//! All files of the log, checked before hiqlite starts.
//!
//! hiqlite looks at the newest file only, and only after a crash; an older one may carry a flipped bit for as long as the
//! database is used as it stands, and then keeps the first rebuild from ending. So every start reads all entries.
//!
//! When the database is vouched for, nothing is lost: it becomes a snapshot, and the log begins anew after it
//! ([`begin_anew`]). When it has to be rebuilt and an entry for that is damaged, the start is refused; told to go on
//! without, it cuts the log off before that entry ([`cut_off`]). What is taken out of the log is set aside, never deleted.
//!
//! Damage to the end of the log is left to hiqlite, which cuts the log off there, and to the
//! [high-water mark](crate::high_water), which knows whether that loses anything. Cutting off destroys what is behind,
//! and a start that is then refused must not make matters worse, so such a file is copied aside before.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::OpenError;
use crate::directory::{Directory, replace};
use crate::durable::{make_directory, publish, sync_file, sync_parent};
use crate::log_header::{self, Entry, Header};
use crate::snapshots::Snapshots;

/// A place in the log that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) file: PathBuf,
    /// The byte at which an entry should begin.
    pub(crate) at: u64,
    /// The index of that entry.
    pub(crate) entry: u64,
    /// The index of the last entry of the log, as far as its headers tell.
    pub(crate) last: u64,
    /// Whether it stands in the file that is written to.
    pub(crate) in_newest: bool,
    /// The entry before it in the same file.
    before: Option<Entry>,
}

/// Finds the first damaged entry after entry `base`; those up to it nobody reads any more.
pub(crate) fn check(logs: &Path, base: u64) -> Result<Option<Damage>, OpenError> {
    let files = log_header::files(logs)?;
    let mut found: Option<Damage> = None;
    let mut next = None;
    for (index, file) in files.iter().enumerate() {
        let in_newest = index + 1 == files.len();
        let bytes = fs::read(file).map_err(OpenError::io("read", file))?;
        let header = Header::read(&bytes);
        let last = header.as_ref().map_or(0, |header| header.last);
        if let Some(found) = &mut found {
            found.last = found.last.max(last);
            continue;
        }
        let damage = |at: usize, entry: u64, before| {
            let (file, at) = (file.clone(), at as u64);
            Some(Damage { file, at, entry, last: last.max(entry), in_newest, before })
        };
        found = match header {
            None => damage(0, next.unwrap_or(0), None),
            Some(header) if header.is_empty() => None,
            Some(header) if next.is_some_and(|next| next != header.first) => damage(0, next.unwrap_or(0), None),
            Some(header) => match walk(&bytes, &header, base) {
                Ok(()) => {
                    next = Some(header.last + 1);
                    None
                }
                Err((at, entry, before)) => damage(at, entry, before),
            },
        };
    }
    Ok(found)
}

/// How many bytes of log a start has to read that rebuilds the database from a snapshot up to entry `base`. Of a log that
/// was checked; where it ends early, so does the count.
pub(crate) fn bytes_after(logs: &Path, base: u64) -> Result<u64, OpenError> {
    let mut bytes = 0;
    for path in log_header::files(logs)? {
        let io = |e| OpenError::io("read", &path)(e);
        let file = fs::File::open(&path).map_err(io)?;
        bytes += log_header::bytes_after(&file, base).map_err(io)?;
    }
    Ok(bytes)
}

/// Goes through the entries that a header names. The error is the place of the first that is damaged and needed, its
/// index, and the entry before it.
fn walk(bytes: &[u8], header: &Header, base: u64) -> Result<(), (usize, u64, Option<Entry>)> {
    let (mut at, mut id) = (header.start, header.first);
    let mut before = None;
    while id <= header.last {
        let entry = match Entry::parse(bytes, at) {
            Some(entry) => Some(entry),
            // Where it ends is known when the next one stands there.
            None => Entry::skip(bytes, at).filter(|entry| {
                entry.id <= base && (id == header.last || Entry::parse(bytes, entry.end + 1).is_some())
            }),
        };
        match entry.filter(|entry| entry.id == id) {
            Some(entry) => {
                at = entry.end + 1;
                before = Some(entry);
            }
            None => return Err((at, id, before)),
        }
        id += 1;
    }
    Ok(())
}

/// Makes the database, which is vouched for, the newest snapshot, and sets the log aside: all that stands in it has been
/// applied. Interrupted, it can be done again.
pub(crate) fn begin_anew(directory: &Directory, snapshots: &Snapshots, damage: &Damage) -> Result<(), OpenError> {
    tracing::warn!(log = %damage.file.display(), at = damage.at, entry = damage.entry,
        "the metadata log is damaged; the database is not, and becomes a snapshot that replaces the log");
    snapshots.make(&directory.database())?;
    snapshots.keep()?;
    set_aside(directory, |_| true)
}

/// Cuts the log off before a damaged entry.
pub(crate) fn cut_off(directory: &Directory, damage: &Damage) -> Result<(), OpenError> {
    tracing::warn!(log = %damage.file.display(), at = damage.at, entry = damage.entry, last = damage.last,
        "the metadata log is damaged and is cut off there, as told");
    let Some(before) = damage.before else { return set_aside(directory, |file| file >= damage.file.as_path()) };
    set_aside(directory, |file| file > damage.file.as_path())?;
    let io = |e| OpenError::io("write", &damage.file)(e);
    let bytes = fs::read(&damage.file).map_err(io)?;
    replace(&unused(directory)?.join(name(&damage.file)), &bytes)?;
    let file = fs::File::options().write(true).open(&damage.file).map_err(io)?;
    // hiqlite takes zeros for the end, whatever stands behind them.
    let end = file.write_all_at(&[0; log_header::ENTRY], damage.at);
    let header = Header::read(&bytes).and_then(|header| header.ending_with(before));
    end.and_then(|()| header.map_or(Ok(()), |header| file.write_all_at(&header, log_header::LAST_ID as u64)))
        .and_then(|()| sync_file(&file, &damage.file))
        .map_err(io)
}

/// Moves log files out of hiqlite's reach. The newest first, so that what is left is always the beginning of a log.
fn set_aside(directory: &Directory, which: impl Fn(&Path) -> bool) -> Result<(), OpenError> {
    let mut files = log_header::files(&directory.raft().join("logs"))?;
    files.retain(|file| which(file));
    if files.is_empty() {
        return Ok(());
    }
    let aside = unused(directory)?;
    for file in files.iter().rev() {
        let target = aside.join(name(file));
        let moved = publish(file, &target).and_then(|()| sync_parent(file));
        moved.map_err(OpenError::io("set aside", file))?;
        tracing::warn!(log = %file.display(), aside = %target.display(), "log file set aside");
    }
    Ok(())
}

/// A new directory for log files that are set aside.
fn unused(directory: &Directory) -> Result<PathBuf, OpenError> {
    let all = directory.path().join("damaged-logs");
    let path = (1..).map(|number: u32| all.join(number.to_string())).find(|path| !path.exists()).unwrap_or(all);
    make_directory(&path).map_err(OpenError::io("make directory", &path))?;
    Ok(path)
}

fn name(file: &Path) -> PathBuf {
    file.file_name().map(PathBuf::from).unwrap_or_default()
}

#[cfg(test)]
#[path = "log_files_tests.rs"]
mod tests;
