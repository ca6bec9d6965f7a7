//! Writing a new object: bytes to a temporary file, published at finish.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use super::Store;
use super::temporary::Temporary;
use super::write_behind::{Output, Sink, WriteBehind};
use crate::{Error, ErrorKind, ObjectKey, ObjectStat, Writer};

/// How many bytes are written before a sync is started on the side. The kernel alone would begin to write to the disk
/// only after gigabytes or many seconds, and `finish` would pay for all of it.
const SPREAD: u64 = 32 * 1024 * 1024;

pub(super) struct NewObject {
    store: Arc<Store>,
    key: ObjectKey,
    path: PathBuf,
    output: WriteBehind<Staging>,
    /// Bytes given since a sync was last started.
    unsynced: u64,
    /// Whether a sync on the side is running; stays so when it fails, which the output remembers.
    spreading: Arc<AtomicBool>,
}

/// The temporary file, made when the first bytes are written to it.
struct Staging {
    store: Arc<Store>,
    file: Option<(Temporary, File)>,
}

impl Sink for Staging {
    fn file(&mut self) -> Result<(&File, &Path), Error> {
        if self.file.is_none() {
            self.file = Some(self.store.temporary()?);
        }
        match &self.file {
            Some((temporary, file)) => Ok((file, temporary.path())),
            None => Err(Error::new(ErrorKind::Other, "a temporary file is missing")),
        }
    }

    fn discard(&mut self) {
        self.file = None;
    }
}

impl NewObject {
    pub(super) fn new(store: Arc<Store>, key: ObjectKey) -> Result<Self, Error> {
        let path = store.path(&key)?;
        store.traffic.writes.check(&store.root)?;
        let output = WriteBehind::new(Staging { store: store.clone(), file: None }, store.traffic.writes.clone());
        Ok(Self { store, key, path, output, unsynced: 0, spreading: Arc::default() })
    }

    fn spread(&mut self) {
        if self.unsynced >= SPREAD && !self.spreading.swap(true, Ordering::AcqRel) {
            self.unsynced = 0;
            let spreading = self.spreading.clone();
            // Started already; nobody needs to wait for it.
            drop(self.output.sync(move |_| {
                spreading.store(false, Ordering::Release);
                Ok(())
            }));
        }
    }
}

#[async_trait]
impl Writer for NewObject {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        self.unsynced += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.output.write(chunks).await?;
        self.spread();
        Ok(())
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        self.unsynced = 0;
        self.output.sync(|_| Ok(()))
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        let Self { store, key, path, output, .. } = *self;
        let publish = move |output: &mut Output<Staging>| {
            output.sync()?;
            let size = output.written;
            if let Some((temporary, file)) = output.sink.file.take() {
                // Closed first: NFS keeps a file that loses a name while open under yet another name.
                drop(file);
                store.publish(temporary, &key, &path)?;
            }
            // After its temporary name is gone, which changes the file's times for the last time.
            let version = store.stat(&key).ok().and_then(|stat| stat.version);
            Ok(ObjectStat { size, version })
        };
        output.end(publish).await
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        let discard = |output: &mut Output<Staging>| {
            output.sink.discard();
            Ok(())
        };
        self.output.cancel(discard).await
    }
}
