//! A store that a crash takes back to what was synced, and, if wished, one that cannot extend objects.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use roadstead_storage::{Engine, Error, Extend, Listed, Memory, ObjectKey, ObjectRead, ObjectStat, Part, Writer};

/// How many bytes of each growing object would survive.
type Synced = Arc<Mutex<HashMap<ObjectKey, u64>>>;

#[derive(Debug, Clone)]
pub struct Forgetful {
    inner: Memory,
    synced: Synced,
    extends: bool,
}

impl Forgetful {
    pub fn new(extends: bool) -> Self {
        Self { inner: Memory::new(), synced: Synced::default(), extends }
    }

    /// The machine loses power: of growing objects only what was synced stays.
    pub async fn crash(&self) {
        let synced = self.synced.lock().clone();
        for (key, length) in synced {
            if let Ok(stat) = self.inner.stat(&key).await {
                let writer = self.inner.append(&key, length.min(stat.size)).await.unwrap();
                writer.finish().await.unwrap();
            }
        }
    }
}

#[async_trait]
impl Engine for Forgetful {
    fn kind(&self) -> &'static str {
        "forgetful"
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        self.inner.stat(key).await
    }

    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        self.inner.read(key, range).await
    }

    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error> {
        self.inner.writer(key).await
    }

    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        self.inner.compose(parts, key).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.inner.list(prefix, after, limit).await
    }

    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error> {
        self.inner.put_small(key, bytes, only_if_absent).await
    }

    async fn probe(&self) -> Result<(), Error> {
        self.inner.probe().await
    }

    fn extend(&self) -> Option<&dyn Extend> {
        self.extends.then_some(self as &dyn Extend)
    }
}

#[async_trait]
impl Extend for Forgetful {
    async fn append(&self, key: &ObjectKey, length: u64) -> Result<Box<dyn Writer>, Error> {
        let inner = self.inner.append(key, length).await?;
        let mut synced = self.synced.lock();
        let kept = synced.entry(key.clone()).or_default();
        *kept = length.min(*kept);
        Ok(Box::new(Growing { inner, key: key.clone(), length, synced: self.synced.clone() }))
    }
}

struct Growing {
    inner: Box<dyn Writer>,
    key: ObjectKey,
    length: u64,
    synced: Synced,
}

#[async_trait]
impl Writer for Growing {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        self.length += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.inner.write(chunks).await
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        let (synced, key, length) = (self.synced.clone(), self.key.clone(), self.length);
        async move {
            tokio::task::yield_now().await;
            keep(&synced, key, length);
            Ok(())
        }
        .boxed()
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        keep(&self.synced, self.key, self.length);
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        self.inner.abort().await
    }
}

fn keep(synced: &Synced, key: ObjectKey, length: u64) {
    let mut synced = synced.lock();
    let kept = synced.entry(key).or_default();
    *kept = length.max(*kept);
}
