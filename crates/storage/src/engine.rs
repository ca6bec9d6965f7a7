//! The contract every storage engine keeps.
//!
//! An engine stores immutable objects under keys. It knows nothing of digests, repositories or metadata.
//! Deliberately absent: overwriting, renaming, user metadata, conditional writes (not portable between
//! object stores; content addressing and the metadata make them unnecessary).

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::{Error, ErrorKind, ObjectKey};

/// Bytes of an object, in order. An error ends the stream; what came before it is valid.
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// Tells the very bytes of an object from all others that may come to stand under its key, as far as an engine can
/// tell without reading them. Opaque, and compared with versions of the same key in the same store only.
///
/// While it is the same, nobody wrote to the object by the means of its store. It says nothing about what happened
/// beneath that: a disk that forgets keeps the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version([u64; 4]);

impl Version {
    /// A version of whatever tells an engine's objects apart.
    pub const fn new(parts: [u64; 4]) -> Self {
        Self(parts)
    }

    /// What it was made of.
    pub const fn parts(self) -> [u64; 4] {
        self.0
    }
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectStat {
    /// Length in bytes.
    pub size: u64,
    /// Which bytes these are, where the engine can tell.
    pub version: Option<Version>,
}

impl ObjectStat {
    /// The bytes of object `key` that [`Engine::read`] answers for `wish`: the whole object when there is none.
    /// `InvalidRange` when `wish` is empty or reaches beyond the end.
    pub fn resolve(self, key: &ObjectKey, wish: Option<Range<u64>>) -> Result<Range<u64>, Error> {
        match wish {
            None => Ok(0..self.size),
            Some(range) if range.start < range.end && range.end <= self.size => Ok(range),
            Some(Range { start, end }) => Err(Error::new(
                ErrorKind::InvalidRange,
                format!("bytes {start} to {end} do not lie within object {key} of {} bytes", self.size),
            )),
        }
    }
}

/// An object opened for reading.
pub struct ObjectRead {
    /// Length of the whole object in bytes, whatever range was asked for.
    pub size: u64,
    /// The bytes that `body` yields, as offsets in the object.
    pub range: Range<u64>,
    /// Which bytes these are, where the engine can tell.
    pub version: Option<Version>,
    /// Exactly `range.end - range.start` bytes; an object found shorter ends in an error, never early.
    pub body: Body,
}

/// One staged object, or the head of one, as a source of [`Engine::compose`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The staged object.
    pub key: ObjectKey,
    /// How many of its bytes count, from the first. Bytes beyond do not exist as far as metadata is concerned.
    pub length: u64,
    /// Whether the caller vouches that no writer, in any process, can still write to it. Only then may an
    /// engine publish the part itself (link it) in place of a copy.
    pub sealed: bool,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's key.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
}

/// A store of immutable objects. One instance is one configured location; several processes may share the store.
///
/// Errors carry their kind and whether a retry may help ([`Error`]). A method that answered `Ok` is durable:
/// what it reported survives a crash of the process and of the machine.
#[async_trait]
pub trait Engine: Debug + Send + Sync + 'static {
    /// The engine's name in configuration and metrics: `filesystem`, `memory`, `s3`, ...
    fn kind(&self) -> &'static str;

    /// Size of an object. `NotFound` when there is none.
    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error>;

    /// Opens an object, whole (`None`) or a range of it. A range must lie within the object and be non-empty,
    /// otherwise `InvalidRange`; callers that only know a client's wish call [`Engine::stat`] first.
    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error>;

    /// Begins a new object. Nothing is visible under `key` before [`Writer::finish`] answered.
    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error>;

    /// Publishes `key` as the concatenation of `parts`, without the bytes passing through the caller where the
    /// engine can. Parts stay in place and unchanged in their first `length` bytes; the caller deletes them once
    /// its metadata no longer names them. A part shorter than its `length` is `Corrupt`.
    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error>;

    /// Removes an object. `Ok` when there was none: a delete may be repeated.
    async fn delete(&self, key: &ObjectKey) -> Result<(), Error>;

    /// Published objects whose key starts with `prefix`, in ASCII order, after `after` (exclusive), at most
    /// `limit`. A page shorter than `limit` is the last. Unfinished writers are not listed.
    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error>;

    /// Replaces a small object of the location's own bookkeeping (`roadstead.json`) atomically and durably.
    /// `only_if_absent` makes it exclusive: `AlreadyExists` when there is one.
    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error>;

    /// Whether the location can serve and take bytes right now: reads its `roadstead.json` and, cheaply, checks
    /// that a write would have a chance. Used by the health probe once a second.
    async fn probe(&self) -> Result<(), Error>;

    /// The power to extend a staged object in place, for engines that have it (filesystem, memory).
    fn extend(&self) -> Option<&dyn Extend> {
        None
    }

    /// The power to let a client read an object by itself, for engines whose store speaks to clients.
    fn presign(&self) -> Option<&dyn Presign> {
        None
    }

    /// The power to find what crashed writers left behind, for engines where they leave something.
    fn sweep(&self) -> Option<&dyn Sweep> {
        None
    }
}

/// Writes one object.
///
/// Dropping a writer without [`Writer::finish`] leaves nothing visible; [`Writer::abort`] also frees the space at once.
#[async_trait]
pub trait Writer: Send {
    /// Appends bytes, in the order given. Cheap for small chunks: the engine buffers as it likes.
    async fn write(&mut self, chunks: Vec<Bytes>) -> Result<(), Error>;

    /// Starts making durable all bytes written so far, and answers when they are. The future is detached: more
    /// bytes may be written while it runs. For a writer of [`Extend::append`] these bytes then survive a crash
    /// under the staged key; for a plain writer it only spreads the cost of `finish`.
    fn sync(&mut self) -> BoxFuture<'static, Result<(), Error>>;

    /// Makes the object durable, then visible under its key, atomically. `AlreadyExists` when something is there.
    async fn finish(self: Box<Self>) -> Result<ObjectStat, Error>;

    /// Gives up: frees what was written. For a writer of [`Extend::append`] the object keeps its former bytes.
    async fn abort(self: Box<Self>) -> Result<(), Error>;
}

/// Staged objects that grow in place.
#[async_trait]
pub trait Extend: Send + Sync {
    /// Opens `key` for appending after its first `length` bytes; what stands beyond them is discarded. With
    /// `length` 0 the object is made when absent. A shorter object is `Corrupt`.
    ///
    /// Unlike with [`Engine::writer`], the object is readable while it grows. Only one writer may be open on a
    /// key at a time, which the caller guarantees (a session belongs to one instance, and to one task in it). Of a
    /// writer that was dropped on this engine instance, nothing is written after this has answered.
    async fn append(&self, key: &ObjectKey, length: u64) -> Result<Box<dyn Writer>, Error>;
}

/// URLs under which anybody reads one object, for a while.
#[async_trait]
pub trait Presign: Send + Sync {
    /// A URL for GET, with or without a range, that is good for `valid_for` and for nothing but reading `key`. Whether
    /// there is such an object is not looked at.
    async fn presign_read(&self, key: &ObjectKey, valid_for: Duration) -> Result<String, Error>;
}

/// What a [`Sweep`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Number of files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removal of what no key names: the bytes of writers that neither finished nor aborted.
#[async_trait]
pub trait Sweep: Send + Sync {
    /// Removes what nobody has written to for `unused_for`, by the store's own clock. Other processes use the same
    /// store: allow a day.
    async fn remove_stale(&self, unused_for: Duration) -> Result<Swept, Error>;
}
