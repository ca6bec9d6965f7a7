//! Reading: what the kernel has in memory is read where the request runs, everything else on blocking threads.
//!
//! To hand a read to another thread costs several times what copying a small object does. So the kernel is asked first
//! for what it can give without waiting (`RESOLVE_CACHED`, `RWF_NOWAIT`); it is the usual case for what is pulled often.
//! When it would have to wait, a small object is one hop to a blocking thread, and a large one comes in chunks with
//! one read ahead.

use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, CWD, Mode, OFlags, ResolveFlags, fadvise, openat2};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::buffers::{BUFFER, Buffers};
use super::failure::{failed, is_absent};
use super::{Store, blocking};
use crate::{Body, Error, ObjectKey, ObjectRead, ObjectStat};

/// The first chunk is read together with opening the file, and small so that it comes soon.
const FIRST_CHUNK: u64 = 64 * 1024;
/// The chunks that are read on blocking threads: large enough that the hops cost nothing beside the copying.
const CHUNK: u64 = 512 * 1024;

/// Not blocking: something else than a file, such as a pipe without a writer, must not hold up whoever opens it.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// An object opened, with its first chunk.
pub(super) struct OpenedObject {
    object: Arc<OpenFile>,
    size: u64,
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
        let object = OpenFile { key: key.clone(), path, file, buffers: self.buffers.clone() };
        let first = object.read_cached(range.start..range.end.min(range.start + FIRST_CHUNK))?;
        Some(OpenedObject { object: Arc::new(object), size: stat.size, range, first, cached: true })
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
        let object = OpenFile { key, path, file, buffers: self.buffers.clone() };
        let first = object.read(range.start..range.end.min(range.start + FIRST_CHUNK))?;
        Ok(OpenedObject { object: Arc::new(object), size: stat.size, range, first, cached: false })
    }

    fn stat_of(&self, key: &ObjectKey, path: &Path, found: io::Result<fs::Metadata>) -> Result<ObjectStat, Error> {
        match found {
            Ok(metadata) if metadata.is_file() => Ok(ObjectStat { size: metadata.len() }),
            // A directory of other objects.
            Ok(_) => Err(Error::not_found(key)),
            Err(error) if is_absent(&error) => Err(self.absent(key)),
            Err(error) => Err(failed("examine", path)(error)),
        }
    }
}

impl OpenFile {
    /// Exactly the bytes of `range`; `Corrupt` when the file ends before.
    fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let wanted = (range.end - range.start) as usize; // at most a chunk
        let mut bytes = Vec::with_capacity(wanted);
        while bytes.len() < wanted {
            let at = range.start + bytes.len() as u64;
            match pread(&self.file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(Error::too_short(&self.key, at, range.end)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed("read", &self.path)(error.into())),
            }
        }
        // The allocator may have given more than asked for.
        bytes.truncate(wanted);
        Ok(Bytes::from(bytes))
    }
}

impl OpenFile {
    /// Exactly the bytes of `range`, at most a buffer's, if the kernel has all of them in memory.
    fn read_cached(&self, range: Range<u64>) -> Option<Bytes> {
        let wanted = (range.end - range.start) as usize;
        if wanted == 0 {
            return Some(Bytes::new());
        }
        // A small one would waste most of a buffer for as long as its client takes to read it.
        let pooled = wanted > FIRST_CHUNK as usize;
        let mut bytes = if pooled { self.buffers.take() } else { vec![0; wanted] };
        let read =
            preadv2(&self.file, &mut [IoSliceMut::new(&mut bytes[..wanted])], range.start, ReadWriteFlags::NOWAIT);
        match (read == Ok(wanted), pooled) {
            (true, true) => Some(self.buffers.lend(bytes, wanted)),
            (true, false) => Some(bytes.into()),
            (false, true) => {
                self.buffers.give(bytes);
                None
            }
            (false, false) => None,
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
            let mut rest = Rest { object: self.object, range: rest, ahead: None };
            if !self.cached {
                rest.ahead = Some(rest.begin());
            }
            futures::stream::once(std::future::ready(Ok(self.first))).chain(rest.stream()).boxed()
        };
        ObjectRead { size: self.size, range: self.range, body }
    }
}

/// What of an object is still to be read.
struct Rest {
    object: Arc<OpenFile>,
    range: Range<u64>,
    /// The next chunk, being read on a blocking thread. Once one had to be, all others are: the kernel does not have
    /// the object in memory, and the disk is kept busy while a chunk is consumed.
    ahead: Option<BoxFuture<'static, Result<Bytes, Error>>>,
}

impl Rest {
    fn stream(self) -> Body {
        futures::stream::unfold(Some(self), |rest| async move { rest?.next().await }).boxed()
    }

    /// The next chunk, and what comes after it. The first error ends the stream.
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Option<Self>)> {
        let chunk = match self.ahead.take() {
            Some(ahead) => ahead.await,
            None if self.range.is_empty() => return None,
            None => match self.cached() {
                Some(chunk) => return Some((Ok(chunk), Some(self))),
                None => self.begin().await,
            },
        };
        if chunk.is_err() {
            return Some((chunk, None));
        }
        self.ahead = (!self.range.is_empty()).then(|| self.begin());
        Some((chunk, Some(self)))
    }

    fn cached(&mut self) -> Option<Bytes> {
        let end = self.range.end.min(self.range.start + BUFFER as u64);
        let chunk = self.object.read_cached(self.range.start..end)?;
        self.range.start = end;
        Some(chunk)
    }

    /// Begins to read the next chunk on a blocking thread.
    fn begin(&mut self) -> BoxFuture<'static, Result<Bytes, Error>> {
        let end = self.range.end.min(self.range.start + CHUNK);
        let (object, range) = (self.object.clone(), self.range.start..end);
        self.range.start = end;
        Box::pin(blocking(move || object.read(range)))
    }
}
