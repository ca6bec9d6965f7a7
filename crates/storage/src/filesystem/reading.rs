//! Reading: what the kernel has in memory is read where the request runs, everything else on blocking threads.
//!
//! To hand a read to another thread costs several times what copying a small object does. So the kernel is asked first
//! for what it can give without waiting (`RESOLVE_CACHED`, `RWF_NOWAIT`); it is the usual case for what is pulled often.
//! When it would have to wait, a small object is one hop to a blocking thread, and a large one comes in chunks, the
//! next being read while one is consumed; after each the kernel is asked again.

use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use rustix::fs::{Advice, CWD, Mode, OFlags, ResolveFlags, fadvise, openat2};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::buffers::{BUFFER, Buffers};
use super::failure::{failed, is_absent};
use super::progress::Progress;
use super::threads::Lane;
use super::{Store, blocking};
use crate::{Body, Error, ErrorKind, ObjectKey, ObjectRead, ObjectStat, Version};

/// The first chunk is read together with opening the file, and small so that it comes soon.
const FIRST_CHUNK: u64 = 64 * 1024;

/// Not blocking: something else than a file, such as a pipe without a writer, must not hold up whoever opens it.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// An object opened, with its first chunk.
pub(super) struct OpenedObject {
    object: Arc<OpenFile>,
    stat: ObjectStat,
    range: Range<u64>,
    first: Bytes,
    /// Whether the kernel had it in memory, so far.
    cached: bool,
}

struct OpenFile {
    key: ObjectKey,
    path: PathBuf,
    file: File,
    buffers: Arc<Buffers>,
    asks_for_cached: bool,
    reads: Arc<Progress>,
}

impl Store {
    /// What is known of an object without waiting; `None` says nothing about it: [`Store::stat`] does.
    pub(super) fn stat_cached(&self, key: &ObjectKey) -> Option<ObjectStat> {
        if !self.asks_for_cached {
            return None;
        }
        let path = self.path(key).ok()?;
        // Not opened, only found.
        let found = openat2(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED).ok()?;
        self.stat_of(key, &path, File::from(found).metadata()).ok()
    }

    pub(super) fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        let path = self.path(key)?;
        self.stat_of(key, &path, fs::metadata(&path))
    }

    /// The object, if it can be had without waiting. `None` says nothing about it: [`Store::open_object`] does.
    pub(super) fn open_cached(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Option<OpenedObject> {
        if !self.asks_for_cached {
            return None;
        }
        let path = self.path(key).ok()?;
        let file = File::from(openat2(CWD, &path, FLAGS, Mode::empty(), ResolveFlags::CACHED).ok()?);
        let stat = self.stat_of(key, &path, file.metadata()).ok()?;
        let range = stat.resolve(key, range).ok()?;
        let object = self.file(key.clone(), path, file);
        let first = object.read_cached(range.start..range.end.min(range.start + FIRST_CHUNK))?;
        Some(OpenedObject { object: Arc::new(object), stat, range, first, cached: true })
    }

    pub(super) fn open_object(&self, key: ObjectKey, range: Option<Range<u64>>) -> Result<OpenedObject, Error> {
        let path = self.path(&key)?;
        let file = match rustix::fs::open(&path, FLAGS, Mode::empty()).map_err(io::Error::from) {
            Err(error) if is_absent(&error) => return Err(self.absent(&key)),
            file => File::from(file.map_err(failed("open", &path))?),
        };
        let stat = self.stat_of(&key, &path, file.metadata())?;
        let range = stat.resolve(&key, range)?;
        if range.end - range.start > FIRST_CHUNK {
            // A hint: the kernel may ignore it, and so may we its refusal.
            let _ = fadvise(&file, 0, None, Advice::Sequential);
        }
        let object = self.file(key, path, file);
        let first = object.read(range.start..range.end.min(range.start + FIRST_CHUNK))?;
        Ok(OpenedObject { object: Arc::new(object), stat, range, first, cached: false })
    }

    fn file(&self, key: ObjectKey, path: PathBuf, file: File) -> OpenFile {
        let (buffers, reads) = (self.buffers.clone(), self.traffic.reads.clone());
        OpenFile { key, path, file, buffers, asks_for_cached: self.asks_for_cached, reads }
    }

    fn stat_of(&self, key: &ObjectKey, path: &Path, found: io::Result<fs::Metadata>) -> Result<ObjectStat, Error> {
        match found {
            Ok(metadata) if metadata.is_file() => {
                Ok(ObjectStat { size: metadata.len(), version: Some(version(&metadata)) })
            }
            // A directory of other objects.
            Ok(_) => Err(Error::not_found(key)),
            Err(error) if is_absent(&error) => Err(self.absent(key)),
            Err(error) => Err(failed("examine", path)(error)),
        }
    }
}

/// Whatever was done to a file since shows in it: another file, another length, written to, or given times by hand.
fn version(file: &fs::Metadata) -> Version {
    let nanoseconds = |seconds: i64, rest: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(rest) as u64;
    let (written, changed) =
        (nanoseconds(file.mtime(), file.mtime_nsec()), nanoseconds(file.ctime(), file.ctime_nsec()));
    Version::new([file.ino(), file.len(), written, changed])
}

/// The part of a version that changes with the bytes: length, and when they were written.
fn written(version: Version) -> [u64; 2] {
    let [_, length, written, _] = version.parts();
    [length, written]
}

impl OpenFile {
    fn changed(&self) -> Error {
        Error::new(ErrorKind::Corrupt, format!("object {} was written to while it was read", self.key))
    }

    /// Exactly the bytes of `range`, at most a buffer's; `Corrupt` when the file ends before.
    fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let wanted = (range.end - range.start) as usize;
        self.fill(wanted, |buffer| {
            let mut filled = 0;
            while filled < wanted {
                let at = range.start + filled as u64;
                match pread(&self.file, &mut buffer[filled..], at) {
                    Ok(0) => return Err(Error::too_short(&self.key, at, range.end)),
                    Ok(read) => filled += read,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(failed("read", &self.path)(error.into())),
                }
            }
            Ok(filled)
        })
    }

    /// As many bytes of `range`, at most a buffer's, as the kernel has in memory from its start; `None` when it has
    /// none of them.
    fn read_cached(&self, range: Range<u64>) -> Option<Bytes> {
        let wanted = (range.end - range.start) as usize;
        if wanted == 0 {
            return Some(Bytes::new());
        }
        self.fill(wanted, |buffer| {
            match preadv2(&self.file, &mut [IoSliceMut::new(buffer)], range.start, ReadWriteFlags::NOWAIT) {
                // At the end of a file that should be longer, the other way says so.
                Ok(0) | Err(_) => Err(()),
                Ok(read) => Ok(read),
            }
        })
        .ok()
    }

    /// What `read` puts into a buffer of `wanted` bytes. It answers how many of them.
    fn fill<E>(&self, wanted: usize, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Bytes, E> {
        // A small one would waste most of a buffer for as long as its client takes to read it.
        if wanted <= FIRST_CHUNK as usize {
            let mut bytes = vec![0; wanted];
            let length = read(&mut bytes)?;
            bytes.truncate(length);
            return Ok(bytes.into());
        }
        let mut buffer = self.buffers.take();
        match read(&mut buffer[..wanted]) {
            Ok(length) => Ok(self.buffers.lend(buffer, length)),
            Err(error) => {
                self.buffers.give(buffer);
                Err(error)
            }
        }
    }
}

impl OpenedObject {
    /// The whole, streaming what is not read yet.
    pub(super) fn into_read(self) -> ObjectRead {
        let rest = self.range.start + self.first.len() as u64..self.range.end;
        let body: Body = if self.range.is_empty() {
            futures::stream::empty().boxed()
        } else if rest.is_empty() {
            futures::stream::once(std::future::ready(Ok(self.first))).boxed()
        } else {
            let opened = (self.range == (0..self.stat.size)).then_some(self.stat.version).flatten();
            let mut rest = Rest { object: self.object, range: rest, ahead: Ahead::Nothing, opened };
            if !self.cached {
                rest.look_ahead();
            }
            futures::stream::once(std::future::ready(Ok(self.first))).chain(rest.stream()).boxed()
        };
        ObjectRead { size: self.stat.size, range: self.range, version: self.stat.version, body }
    }
}

/// What of an object is still to be read.
pub(super) struct Rest {
    object: Arc<OpenFile>,
    range: Range<u64>,
    ahead: Ahead,
    /// Which bytes these were when a whole object was opened: a range may be of one that still grows.
    opened: Option<Version>,
}

/// The next chunk, when it was asked for before its reader wants it.
enum Ahead {
    Nothing,
    /// The kernel had it.
    Here(Bytes),
    /// It is being read on a blocking thread.
    Coming(BoxFuture<'static, Result<Bytes, Error>>),
}

impl Rest {
    fn stream(self) -> Body {
        futures::stream::unfold(Some(self), |rest| async move {
            match rest?.next().await? {
                (Ok(_), Some(last)) if last.was_written_to() => Some((Err(last.object.changed()), None)),
                next => Some(next),
            }
        })
        .boxed()
    }

    /// Whether, now that all is read, somebody wrote into the object meanwhile: bytes of two ages are those of no blob.
    /// That it was deleted, linked elsewhere, or has grown is no fault of these bytes.
    fn was_written_to(&self) -> bool {
        let ended = self.range.is_empty() && matches!(self.ahead, Ahead::Nothing);
        let now = || self.object.file.metadata().map(|file| written(version(&file)));
        let in_place = |[length, at]: [u64; 2]| now().is_ok_and(|now| now[0] == length && now[1] != at);
        ended && self.opened.map(written).is_some_and(in_place)
    }

    /// The next chunk, and what comes after it. The first error ends the stream.
    pub(super) async fn next(mut self) -> Option<(Result<Bytes, Error>, Option<Self>)> {
        let chunk = match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
            Ahead::Here(chunk) => return Some((Ok(chunk), Some(self))),
            Ahead::Coming(chunk) => chunk.await,
            Ahead::Nothing if self.range.is_empty() => return None,
            Ahead::Nothing => match self.cached() {
                Some(chunk) => return Some((Ok(chunk), Some(self))),
                None => self.begin().await,
            },
        };
        if chunk.is_err() {
            return Some((chunk, None));
        }
        self.look_ahead();
        Some((chunk, Some(self)))
    }

    /// After a chunk that had to be waited for: the disk is kept busy while that one is consumed. But only where the
    /// kernel has not read on by itself: what it has in memory costs several times less without another thread, and
    /// one page that is missing says nothing about the others.
    fn look_ahead(&mut self) {
        if self.range.is_empty() {
            return;
        }
        self.ahead = match self.cached() {
            Some(chunk) => Ahead::Here(chunk),
            None => Ahead::Coming(self.begin()),
        };
    }

    fn cached(&mut self) -> Option<Bytes> {
        if !self.object.asks_for_cached {
            return None;
        }
        let chunk = self.object.read_cached(self.upcoming())?;
        self.range.start += chunk.len() as u64;
        Some(chunk)
    }

    /// Begins to read the next chunk on a blocking thread.
    fn begin(&mut self) -> BoxFuture<'static, Result<Bytes, Error>> {
        let (object, range) = (self.object.clone(), self.upcoming());
        self.range.start = range.end;
        let running = object.reads.begin();
        Box::pin(blocking(Lane::Read, move || {
            let _running = running;
            object.read(range)
        }))
    }

    fn upcoming(&self) -> Range<u64> {
        self.range.start..self.range.end.min(self.range.start + BUFFER as u64)
    }
}

#[cfg(test)]
impl OpenedObject {
    /// The first chunk, and what comes after it.
    pub(super) fn split(self) -> (Bytes, Rest) {
        let range = self.range.start + self.first.len() as u64..self.range.end;
        (self.first, Rest { object: self.object, range, ahead: Ahead::Nothing, opened: None })
    }
}

#[cfg(test)]
impl Rest {
    pub(super) fn is_coming(&self) -> bool {
        matches!(self.ahead, Ahead::Coming(_))
    }
}
