//! Writing a new object: bytes to a temporary file, published at finish.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use super::Store;
use super::durable::sync_file;
use super::temporary::Temporary;
use super::write_behind::{Output, Sink, WriteBehind};
use crate::{Error, ErrorKind, ObjectKey, ObjectStat, Writer};

pub(super) struct NewObject {
    store: Arc<Store>,
    key: ObjectKey,
    path: PathBuf,
    output: WriteBehind<Staging>,
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
        let output = WriteBehind::new(Staging { store: store.clone(), file: None });
        Ok(Self { store, key, path, output })
    }
}

#[async_trait]
impl Writer for NewObject {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        self.output.write(chunks).await
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        self.output.sync(|| Ok(()))
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        let Self { store, key, path, output } = *self;
        let publish = move |output: &mut Output<Staging>| {
            output.sink.file()?;
            let size = output.written;
            if let Some((temporary, file)) = output.sink.file.take() {
                sync_file(&file, temporary.path())?;
                store.publish(temporary, &key, &path)?;
            }
            Ok(ObjectStat { size })
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
