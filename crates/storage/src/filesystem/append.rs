//! Staged objects that grow in place, under their key.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use super::Store;
use super::compose;
use super::directories::Mark;
use super::durable::sync_file;
use super::failure::{failed, is_absent};
use super::private::new_file;
use super::progress::Running;
use super::write_behind::{Output, Sink, WriteBehind};
use crate::{Error, ObjectKey, ObjectStat, Writer};

pub(super) struct Growing {
    output: WriteBehind<Staged>,
    name: Arc<Name>,
    /// Bytes that stood before.
    length: u64,
    created: bool,
}

struct Staged {
    file: File,
    path: PathBuf,
}

impl Sink for Staged {
    fn file(&mut self) -> Result<(&File, &Path), Error> {
        Ok((&self.file, &self.path))
    }
}

/// The name of a staged object, which is made durable with the first bytes.
struct Name {
    store: Arc<Store>,
    path: PathBuf,
    /// Which file it is.
    mark: Mark,
    durable: AtomicBool,
}

impl Name {
    /// To be called when the first `length` bytes are durable.
    fn settle(&self, length: u64) -> Result<(), Error> {
        if self.durable.load(Ordering::Acquire) {
            // The file takes bytes wherever it is by now.
            self.store.directories.check_root()?;
        } else {
            self.store.directories.settle(&self.path)?;
            self.durable.store(true, Ordering::Release);
        }
        self.store.staged.synced(&self.path, self.mark, length);
        Ok(())
    }
}

impl Growing {
    pub(super) fn open(store: Arc<Store>, key: &ObjectKey, length: u64, running: &Running) -> Result<Self, Error> {
        let path = store.path(key)?;
        store.staged.take_over(&path);
        let created = length == 0 && store.create_staged(&path)?;
        let mut file = store.open_staged(key, &path, length, running)?;
        file.set_len(length).map_err(failed("truncate", &path))?;
        file.seek(SeekFrom::Start(length)).map_err(failed("seek in", &path))?;
        let mark = Mark::of(&file.metadata().map_err(failed("examine", &path))?);
        let output = WriteBehind::new(Staged { file, path: path.clone() }, store.traffic.writes.clone());
        store.staged.opened(&path, output.revocable());
        let name = Arc::new(Name { store, path, mark, durable: AtomicBool::new(false) });
        Ok(Self { output, name, length, created })
    }
}

impl Store {
    /// Makes an empty staged object; `false` when there is one.
    fn create_staged(&self, path: &Path) -> Result<bool, Error> {
        self.directories.check_root()?;
        let create = || new_file().open(path);
        match self.directories.with_parents(path, create) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.note_refusal(path, failed("create", path)(error))),
        }
    }

    fn open_staged(&self, key: &ObjectKey, path: &Path, length: u64, running: &Running) -> Result<File, Error> {
        let open = || match File::options().read(true).write(true).open(path) {
            Err(error) if is_absent(&error) => Err(self.absent(key)),
            file => file.map_err(failed("open", path)),
        };
        let file = open()?;
        let metadata = file.metadata().map_err(failed("examine", path))?;
        if metadata.len() < length {
            return Err(Error::too_short(key, metadata.len(), length));
        }
        if metadata.nlink() == 1 {
            return Ok(file);
        }
        // The file has another name: it was composed into an object, which must never change again.
        self.replace_by_copy(&file, path, length, running)?;
        open()
    }

    fn replace_by_copy(&self, file: &File, path: &Path, length: u64, running: &Running) -> Result<(), Error> {
        let (temporary, mut copy) = self.temporary()?;
        compose::copy(file, length, &mut copy, temporary.path(), running)?;
        sync_file(&copy, temporary.path())?;
        drop(copy);
        self.replace(temporary, path)
    }
}

#[async_trait]
impl Writer for Growing {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        self.output.write(chunks).await
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        let (name, before) = (self.name.clone(), self.length);
        self.output.sync(move |written| name.settle(before + written))
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        let Self { output, name, length, .. } = *self;
        let settle = move |output: &mut Output<Staged>| {
            output.sync()?;
            let size = length + output.written;
            name.settle(size)?;
            Ok(ObjectStat { size, version: None })
        };
        output.end(settle).await
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        let Self { output, name, length, created } = *self;
        let restore = move |output: &mut Output<Staged>| {
            let path = &output.sink.path;
            // Of a created one, too: its space is free at once, whoever has the file open a little longer.
            let truncated = output.sink.file.set_len(length).map_err(failed("truncate", path));
            if !created {
                return truncated;
            }
            match fs::remove_file(path) {
                Err(error) if !is_absent(&error) => Err(failed("delete", path)(error)),
                _ => name.store.directories.settle_removal(path),
            }
        };
        output.cancel(restore).await
    }
}
