//! The memory engine: objects in a map, for the tests of the floors above.
//!
//! It keeps the whole contract but durability: what it holds dies with the last clone of it. Chunks are shared,
//! never copied, so a composed object does not change when one of its parts is extended or truncated later.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::identity::IDENTITY_KEY;
use crate::{Engine, Error, ErrorKind, Extend, Listed, ObjectKey, ObjectRead, ObjectStat, Part, Version, Writer};

/// An engine that keeps its objects in memory. Clones share the store, as processes share a directory.
#[derive(Clone, Default)]
pub struct Memory {
    objects: Objects,
}

type Objects = Arc<Mutex<BTreeMap<String, Object>>>;

#[derive(Clone, Default)]
struct Object {
    chunks: Vec<Bytes>,
    size: u64,
    /// Another one after each change.
    generation: u64,
}

/// The generation of the next change, in all stores.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Object {
    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.size += chunk.len() as u64;
            self.chunks.push(chunk);
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.generation = NEXT.fetch_add(1, Ordering::Relaxed);
    }

    fn stat(&self) -> ObjectStat {
        ObjectStat { size: self.size, version: Some(Version::new([self.generation, 0, 0, 0])) }
    }

    /// The bytes of `range`, which lies within the object.
    fn slice(&self, range: &Range<u64>) -> Vec<Bytes> {
        let mut chunks = Vec::new();
        let mut at = 0;
        for chunk in &self.chunks {
            let end = at + chunk.len() as u64;
            let (from, to) = (range.start.max(at), range.end.min(end));
            if from < to {
                // Both offsets lie within one chunk, whose length is a usize.
                chunks.push(chunk.slice((from - at) as usize..(to - at) as usize));
            }
            at = end;
        }
        chunks
    }

    fn truncate(&mut self, length: u64) {
        self.chunks = self.slice(&(0..length));
        self.size = length;
        self.changed();
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("objects", &self.objects.lock().len()).finish()
    }
}

#[async_trait]
impl Engine for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        match self.objects.lock().get(key.as_str()) {
            Some(object) => Ok(object.stat()),
            None => Err(Error::not_found(key)),
        }
    }

    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        let objects = self.objects.lock();
        let object = objects.get(key.as_str()).ok_or_else(|| Error::not_found(key))?;
        let stat = object.stat();
        let range = stat.resolve(key, range)?;
        let body = futures::stream::iter(object.slice(&range).into_iter().map(Ok)).boxed();
        Ok(ObjectRead { size: stat.size, range, version: stat.version, body })
    }

    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(NewObject { objects: self.objects.clone(), key: key.clone(), object: Object::default() }))
    }

    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        let mut objects = self.objects.lock();
        let mut whole = Object::default();
        for part in parts {
            let object = objects.get(part.key.as_str()).ok_or_else(|| Error::not_found(&part.key))?;
            if object.size < part.length {
                return Err(Error::too_short(&part.key, object.size, part.length));
            }
            object.slice(&(0..part.length)).into_iter().for_each(|chunk| whole.push(chunk));
        }
        publish(&mut objects, key, whole)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.objects.lock().remove(key.as_str());
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error> {
        let from = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let objects = self.objects.lock();
        objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, object)| Ok(Listed { key: ObjectKey::new(key)?, size: object.size }))
            .collect()
    }

    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error> {
        let mut object = Object::default();
        object.push(bytes);
        let mut objects = self.objects.lock();
        if only_if_absent {
            return publish(&mut objects, key, object);
        }
        objects.insert(key.as_str().to_owned(), object);
        Ok(())
    }

    async fn probe(&self) -> Result<(), Error> {
        if self.objects.lock().contains_key(IDENTITY_KEY) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Foreign, format!("the memory store has no {IDENTITY_KEY}")))
    }

    fn extend(&self) -> Option<&dyn Extend> {
        Some(self)
    }
}

#[async_trait]
impl Extend for Memory {
    async fn append(&self, key: &ObjectKey, length: u64) -> Result<Box<dyn Writer>, Error> {
        let mut objects = self.objects.lock();
        let found = objects.get_mut(key.as_str());
        let created = found.is_none();
        match found {
            None if length > 0 => return Err(Error::not_found(key)),
            None => drop(objects.insert(key.as_str().to_owned(), Object::default())),
            Some(object) if object.size < length => return Err(Error::too_short(key, object.size, length)),
            Some(object) => object.truncate(length),
        }
        Ok(Box::new(Growing { objects: self.objects.clone(), key: key.clone(), length, created }))
    }
}

fn publish(objects: &mut BTreeMap<String, Object>, key: &ObjectKey, object: Object) -> Result<(), Error> {
    if objects.contains_key(key.as_str()) {
        return Err(Error::already_exists(key));
    }
    objects.insert(key.as_str().to_owned(), object);
    Ok(())
}

struct NewObject {
    objects: Objects,
    key: ObjectKey,
    object: Object,
}

#[async_trait]
impl Writer for NewObject {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        chunks.into_iter().for_each(|chunk| self.object.push(chunk));
        Ok(())
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        let stat = self.object.stat();
        publish(&mut self.objects.lock(), &self.key, self.object)?;
        Ok(stat)
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

struct Growing {
    objects: Objects,
    key: ObjectKey,
    length: u64,
    created: bool,
}

impl Growing {
    fn with<T>(&self, act: impl FnOnce(&mut Object) -> T) -> Result<T, Error> {
        self.objects.lock().get_mut(self.key.as_str()).map(act).ok_or_else(|| Error::not_found(&self.key))
    }
}

#[async_trait]
impl Writer for Growing {
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error> {
        self.with(|object| chunks.into_iter().for_each(|chunk| object.push(chunk)))
    }

    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error> {
        self.with(|object| object.stat())
    }

    async fn abort(self: Box<Self>) -> Result<(), Error> {
        if self.created {
            self.objects.lock().remove(self.key.as_str());
            return Ok(());
        }
        self.with(|object| object.truncate(self.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Subject;

    #[async_trait]
    impl Subject for Memory {
        async fn open(&self) -> Arc<dyn Engine> {
            Arc::new(self.clone())
        }
    }

    crate::conformance!(Memory::new());
}
