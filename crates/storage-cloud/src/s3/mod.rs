//! S3 and what speaks like it.
//!
//! An object appears at once or not at all: S3 shows it when its last request is done. Keys are never used twice
//! (`ObjectKey` of a blob ends in a fresh id), so the engine relies on no conditional write, which servers take, ignore
//! or refuse: it asks for one wherever it can, and looks first where they are known to be ignored.
//!
//! Deliberately absent: `append`, which servers claim to have and overwrite; resuming the parts of another process, for
//! which staged objects are there; multi-object deletes.

mod ahead;
mod client;
mod composing;
mod errors;
mod memory;
mod opening;
mod options;
mod ranges;
mod reading;
mod uploads;
mod windows;
mod writing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use opendal::{Buffer, Metadata};
use roadstead_storage::{
    Engine, Error, ErrorKind, IDENTITY_KEY, Listed, ObjectKey, ObjectRead, ObjectStat, Part, Presign, Sweep, Version,
    Writer,
};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use client::Client;
use memory::Memory;
pub use options::{Encryption, S3Options, Secret};
use uploads::Signed;
use windows::Readers;

/// Keys that a server answers at a time.
const PAGE: usize = 1_000;
/// Uploads that were given up and are cleaned up at a time.
const CLEANED_AT_ONCE: usize = 16;

/// An engine over one bucket, or what is below one prefix of it. Clones share connections.
#[derive(Clone)]
pub struct S3 {
    client: Client,
    signed: Arc<Signed>,
    place: String,
    part_size: usize,
    memory: Memory,
    /// Who reads what, and what they have ahead.
    readers: Arc<Readers>,
    background: TaskTracker,
    cleaning: Arc<Semaphore>,
}

impl S3 {
    /// Opens the bucket and looks whether it can be used. Each fault that an operator can make has its own text:
    /// server, bucket, region, credentials, clock.
    pub async fn open_bucket(options: &S3Options) -> Result<Self, Error> {
        let engine = Self::new(options)?;
        engine.first_look(options).await?;
        Ok(engine)
    }

    fn new(options: &S3Options) -> Result<Self, Error> {
        let client = Client::new(options)?;
        let (part, one) = (options.part_size, writing::in_one(options.part_size));
        Ok(Self {
            signed: Arc::new(Signed::new(options, client.transport.clone())),
            client,
            place: options.place(),
            part_size: part,
            memory: Memory::new(options.memory, part, one, options.place(), options.write_timeout),
            readers: Readers::new(options.memory),
            background: TaskTracker::new(),
            cleaning: Arc::new(Semaphore::new(CLEANED_AT_ONCE)),
        })
    }

    /// Answers when nothing is being cleaned up any more of writers that were dropped.
    pub async fn settled(&self) {
        self.background.close();
        self.background.wait().await;
        self.background.reopen();
    }

    /// Does `work` without anybody waiting for it. Outside of a runtime it is left to the sweep.
    fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cleaning = self.cleaning.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.background.spawn_on(
                async move {
                    // Never closed.
                    let _permit = cleaning.acquire().await;
                    work.await;
                },
                &runtime,
            );
        }
    }

    fn failed(&self, doing: &str, key: &ObjectKey, error: &opendal::Error) -> Error {
        errors::error(&self.place, doing, key.as_str(), error)
    }

    async fn look(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        let found = self.client.sure.stat(key.as_str()).await;
        found.map(|found| stat_of(&found)).map_err(|error| self.failed("look at", key, &error))
    }
}

/// What a server tells of an object. Its entity tag says which bytes these are: no server gives the same one to other
/// bytes, and it is the only thing that the answers to a write and to a read have in common. A weak tag says nothing.
fn stat_of(found: &Metadata) -> ObjectStat {
    let size = found.content_length();
    let version = found.etag().filter(|etag| !etag.is_empty() && !etag.starts_with("W/")).map(|etag| {
        let hash = Sha256::digest(etag.trim_matches('"').as_bytes());
        let word = |at: usize| hash[at..at + 8].iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        Version::new([word(0), word(8), word(16), word(24)])
    });
    ObjectStat { size, version }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

#[async_trait]
impl Engine for S3 {
    fn kind(&self) -> &'static str {
        "s3"
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        self.look(key).await
    }

    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        self.open(key, range).await
    }

    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(writing::NewObject::new(self, key)))
    }

    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        self.join(parts, key).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        let deleted = self.client.sure.delete(key.as_str()).await;
        self.readers.forget(key);
        deleted.map_err(|error| self.failed("delete", key, &error))
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error> {
        // What begins no key; OpenDAL would make a path of it.
        if limit == 0 || !(prefix.is_empty() || begins_a_key(prefix)) {
            return Ok(Vec::new());
        }
        let failed =
            |error: opendal::Error| errors::error(&self.place, "list", &format!("what begins with {prefix:?}"), &error);
        let mut listing = self.client.sure.lister_with(prefix).recursive(true).limit(limit.min(PAGE));
        if let Some(after) = after {
            listing = listing.start_after(after.as_str());
        }
        let mut lister = listing.await.map_err(failed)?;
        let mut listed = Vec::new();
        while listed.len() < limit
            && let Some(entry) = lister.try_next().await.map_err(failed)?
        {
            let (path, found) = entry.into_parts();
            if !found.is_file()
                || !path.starts_with(prefix)
                || after.is_some_and(|after| path.as_str() <= after.as_str())
            {
                continue;
            }
            listed.push(Listed { key: ObjectKey::new(path)?, size: found.content_length() });
        }
        Ok(listed)
    }

    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error> {
        if only_if_absent {
            self.vacant(key).await?;
            return self.put(key, Buffer::from(bytes), &writing::new_mark()).await.map(drop);
        }
        let put = self.client.sure.write(key.as_str(), bytes).await;
        self.readers.forget(key);
        put.map(drop).map_err(|error| self.failed("write", key, &error))
    }

    async fn probe(&self) -> Result<(), Error> {
        match self.client.plain.read(IDENTITY_KEY).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == opendal::ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::Foreign, format!("{} has no {IDENTITY_KEY}", self.place)))
            }
            Err(error) => Err(errors::error(&self.place, "read", IDENTITY_KEY, &error)),
        }
    }

    fn presign(&self) -> Option<&dyn Presign> {
        Some(self)
    }

    fn sweep(&self) -> Option<&dyn Sweep> {
        Some(self)
    }
}

#[async_trait]
impl Presign for S3 {
    async fn presign_read(&self, key: &ObjectKey, valid_for: Duration) -> Result<String, Error> {
        let signed = self.client.plain.presign_read(key.as_str(), valid_for).await;
        signed.map(|signed| signed.uri().to_string()).map_err(|error| self.failed("sign a URL for", key, &error))
    }
}

/// Whether a key may begin with `prefix`, or be it.
fn begins_a_key(prefix: &str) -> bool {
    ObjectKey::new(prefix).is_ok() || ObjectKey::new(format!("{prefix}x")).is_ok()
}
