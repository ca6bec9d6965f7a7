//! Reading: a small object in one hop, a large one as chunks with one read ahead.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, pread};

use super::failure::{failed, is_absent};
use super::{Store, blocking};
use crate::{Body, Error, ObjectKey, ObjectRead, ObjectStat};

/// The first chunk is read together with opening the file, and small so that it comes soon.
const FIRST_CHUNK: u64 = 64 * 1024;
/// The chunks after it: large enough that the hops between threads cost nothing beside the copying.
const CHUNK: u64 = 512 * 1024;

/// An object opened, with its first chunk.
pub(super) struct OpenedObject {
    object: Arc<OpenFile>,
    size: u64,
    range: Range<u64>,
    first: Bytes,
}

struct OpenFile {
    key: ObjectKey,
    path: PathBuf,
    file: File,
}

impl Store {
    pub(super) fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        let path = self.path(key)?;
        self.stat_of(key, &path, fs::metadata(&path))
    }

    pub(super) fn open_object(&self, key: ObjectKey, range: Option<Range<u64>>) -> Result<OpenedObject, Error> {
        let path = self.path(&key)?;
        let file = match File::open(&path) {
            Err(error) if is_absent(&error) => return Err(self.absent(&key)),
            file => file.map_err(failed("open", &path))?,
        };
        let stat = self.stat_of(&key, &path, file.metadata())?;
        let range = stat.resolve(&key, range)?;
        if range.end - range.start > FIRST_CHUNK {
            // A hint: the kernel may ignore it, and so may we its refusal.
            let _ = fadvise(&file, 0, None, Advice::Sequential);
        }
        let object = OpenFile { key, path, file };
        let first = object.read(range.start..range.end.min(range.start + FIRST_CHUNK))?;
        Ok(OpenedObject { object: Arc::new(object), size: stat.size, range, first })
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

impl OpenedObject {
    /// The whole, streaming what is not read yet.
    pub(super) fn into_read(self) -> ObjectRead {
        let rest = self.range.start + self.first.len() as u64..self.range.end;
        let body: Body = if self.range.is_empty() {
            futures::stream::empty().boxed()
        } else if rest.is_empty() {
            futures::stream::once(std::future::ready(Ok(self.first))).boxed()
        } else {
            let first: BoxFuture<'static, _> = Box::pin(std::future::ready(Ok(self.first)));
            stream(self.object, first, rest)
        };
        ObjectRead { size: self.size, range: self.range, body }
    }
}

/// The chunk that `current` resolves to, then those of `rest`. One more is always being read while one is consumed.
fn stream(object: Arc<OpenFile>, current: BoxFuture<'static, Result<Bytes, Error>>, rest: Range<u64>) -> Body {
    futures::stream::unfold(Some((object, current, rest)), |state| async move {
        let (object, current, rest) = state?;
        // The first error ends the stream.
        let chunk = match current.await {
            Ok(chunk) => chunk,
            Err(error) => return Some((Err(error), None)),
        };
        if rest.is_empty() {
            return Some((Ok(chunk), None));
        }
        let end = rest.end.min(rest.start + CHUNK);
        let ahead = {
            let (object, range) = (object.clone(), rest.start..end);
            blocking(move || object.read(range))
        };
        Some((Ok(chunk), Some((object, Box::pin(ahead) as BoxFuture<'static, _>, end..rest.end))))
    })
    .boxed()
}
