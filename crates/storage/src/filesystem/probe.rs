//! The health probe: whether this root can serve and take bytes now.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Access, Advice, StatVfsMountFlags, access, fadvise, fstatvfs, statvfs};
use rustix::io::{ReadWriteFlags, pread, preadv2};

use super::Store;
use super::durable::sync_file;
use super::failure::{failed, is_absent};
use super::threads::{self, Lane};
use crate::identity::IDENTITY_KEY;
use crate::{Error, ErrorKind};

/// Free space below which the root counts as full: pushes are refused while deletes and bookkeeping still work.
const RESERVE: u64 = 64 * 1024 * 1024;

/// Folders remembered for having refused a file. Where there are more, these say enough.
const REFUSED: usize = 64;

impl Store {
    /// Creates nothing, unless nothing could be created before. At most one runs at a time: a file server that hangs must not eat a thread each second.
    pub(super) fn probe(self: &Arc<Self>) -> Result<(), Error> {
        let root = self.root.display();
        let Some(_turn) = Turn::take(&self.probing) else {
            let context = format!("{root} does not answer: the previous probe is still waiting for it");
            return Err(Error::new(ErrorKind::Unavailable, context));
        };
        self.directories.check_root()?;
        // What follows reads what the kernel has in memory, as a rule: it would also of a disk that is gone.
        self.traffic.reads.check(&self.root).inspect_err(|_| self.try_reading())?;
        let identity = self.root.join(IDENTITY_KEY);
        match fs::read(&identity) {
            Err(error) if is_absent(&error) => {
                let context = format!("{root} has no {IDENTITY_KEY}: is the filesystem mounted?");
                return Err(Error::new(ErrorKind::Foreign, context));
            }
            read => self.directories.remember(read.map_err(failed("read", &identity))?),
        }
        // From here on it is known to be readable.
        self.probe_writing().map_err(|error| match error.kind() {
            ErrorKind::Full => error,
            _ => Error::new(ErrorKind::ReadOnly, error.to_string()),
        })
    }

    fn probe_writing(self: &Arc<Self>) -> Result<(), Error> {
        let root = self.root.display();
        self.traffic.writes.check(&self.root).inspect_err(|_| self.try_writing())?;
        let space = statvfs(&self.root).map_err(|e| failed("examine the filesystem of", &self.root)(e.into()))?;
        if space.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(Error::new(ErrorKind::ReadOnly, format!("the filesystem of {root} is mounted read-only")));
        }
        access(&self.root, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|e| failed("write to the storage root", &self.root)(e.into()))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if space.f_blocks > 0 && free < RESERVE {
            let context = format!("{root} is full: {free} bytes free, {RESERVE} are kept in reserve");
            return Err(Error::new(ErrorKind::Full, context));
        }
        // Filesystems that have no fixed number of files say 0 of 0.
        if space.f_files > 0 && space.f_favail == 0 {
            return Err(Error::new(ErrorKind::Full, format!("{root} is full: no more files can be made (inodes)")));
        }
        // A filesystem that turned read-only for an error of its disk does not show it in any other way.
        let refused = self.refused.lock().clone();
        if !refused.is_empty() {
            drop(self.temporary()?);
        }
        for folder in refused {
            self.check_folder(&folder)?;
            self.refused.lock().remove(&folder);
        }
        Ok(())
    }

    /// Whether files may be made in `folder`, or, when it is gone, whether it may be made anew. No file is, as it would be an object.
    fn check_folder(&self, folder: &Path) -> Result<(), Error> {
        let standing =
            folder.ancestors().take_while(|above| above.starts_with(&self.root)).find(|above| above.is_dir());
        let standing = standing.unwrap_or(&self.root);
        access(standing, Access::WRITE_OK | Access::EXEC_OK).map_err(|e| failed("make files in", standing)(e.into()))
    }

    /// Has the disk asked for a byte. When it ends, the disk answers again. On a thread of those that read: while all of
    /// them wait, nothing can be read, whatever the disk does.
    fn try_reading(self: &Arc<Self>) {
        let Some(trial) = self.traffic.reads.begin_trial() else { return };
        let store = self.clone();
        let run = move || match store.asked_the_disk() {
            true => store.traffic.reads.tried(trial),
            false => store.traffic.reads.give_up(trial),
        };
        drop(threads::spawn(Lane::Read, run));
    }

    /// Reads from the disk what the kernel has in memory; `false` when it kept it there, which says nothing of the disk.
    fn asked_the_disk(&self) -> bool {
        // What the disk refuses it has answered, and others say so.
        let Ok(identity) = File::open(self.root.join(IDENTITY_KEY)) else { return true };
        let mut byte = [0];
        // A hint, which the kernel need not follow.
        let _ = fadvise(&identity, 0, None, Advice::DontNeed);
        let kept = preadv2(&identity, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT);
        if kept.is_ok_and(|read| read > 0) {
            return false;
        }
        let _ = pread(&identity, &mut byte, 0);
        true
    }

    /// Makes and syncs a file, on a thread of its own, since those that write may all be waiting. When it ends, the disk
    /// answers again.
    fn try_writing(self: &Arc<Self>) {
        let Some(trial) = self.traffic.writes.begin_trial() else { return };
        let store = self.clone();
        let run = move || {
            let tried = store.temporary().and_then(|(temporary, file)| sync_file(&file, temporary.path()));
            // What the disk refuses it has answered, and others say so.
            drop(tried);
            store.traffic.writes.tried(trial);
        };
        if std::thread::Builder::new().name("blobs-trial".to_owned()).spawn(run).is_err() {
            self.traffic.writes.give_up(trial);
        }
    }

    /// Remembers that `file` could not be made where it belongs, if that is what `error` says, so that the probe tries.
    pub(super) fn note_refusal(&self, file: &Path, error: Error) -> Error {
        if let (ErrorKind::ReadOnly | ErrorKind::Denied, Some(folder)) = (error.kind(), file.parent()) {
            let mut refused = self.refused.lock();
            if refused.len() < REFUSED {
                refused.insert(folder.to_owned());
            }
        }
        error
    }
}

/// `Full` when `bytes` more in `file` would use up what is kept in reserve.
pub(super) fn check_room(file: &File, path: &Path, bytes: u64) -> Result<(), Error> {
    // Whatever cannot say how much is free is not kept from writing.
    let Ok(space) = fstatvfs(file) else { return Ok(()) };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    // Some network filesystems know no sizes and say 0 of 0.
    if space.f_blocks == 0 || free >= bytes.saturating_add(RESERVE) {
        return Ok(());
    }
    let path = path.display();
    let context = format!("cannot write {bytes} bytes to {path}: {free} bytes are free, {RESERVE} are kept in reserve");
    Err(Error::new(ErrorKind::Full, context))
}

/// The right to probe, given back when dropped.
struct Turn<'a>(&'a AtomicBool);

impl<'a> Turn<'a> {
    fn take(taken: &'a AtomicBool) -> Option<Self> {
        taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).ok().map(|_| Self(taken))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
