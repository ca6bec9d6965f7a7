//! Verifies what is pulled.
//!
//! A copy's bytes are hashed on their way to the client, and the last of them is held back until the digest is known to
//! be right: so bytes that are not those of the blob never look whole to whoever pulls it. To hash costs as much again as
//! all the rest of a pull, so it is done once: a copy counts as known while its store vouches that nobody wrote to it
//! since ([`Version`]). What was pushed through this process was hashed on its way in.
//!
//! Deliberately absent: ranges. Their bytes are not enough to tell, and to read all the others for them would cost a
//! client that resumes as much as beginning anew; it checks the digest itself.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use roadstead_oci::{Digest, Hasher};
use roadstead_storage::{Body, Error, ErrorKind, ObjectKey, ObjectRead, Version};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{Suspect, Suspects};

/// Copies remembered at most. Of one that is forgotten the next pull hashes the bytes again.
const KNOWN: usize = 1 << 16;

/// Chunks up to this size are hashed where they are: to hand them to another thread costs as much.
const SMALL: usize = 16 << 10;

/// The copies whose bytes are known to be right, and those that are not.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    known: Arc<Cache<Place, Version>>,
    suspects: Arc<Suspects>,
    /// As many as may hash at once: after a start all pulls do, and stores and uploads need their threads too.
    cores: Arc<Semaphore>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    location: Uuid,
    key: ObjectKey,
}

/// A place by reference; hashes as one that is owned.
#[derive(Hash)]
struct At<'a> {
    location: Uuid,
    key: &'a ObjectKey,
}

impl Equivalent<Place> for At<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.location == place.location && *self.key == place.key
    }
}

impl Verified {
    /// Knows nothing yet, and tells `suspects` of copies that are not right.
    pub(crate) fn new(suspects: Arc<Suspects>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self { known: Arc::new(Cache::new(KNOWN)), suspects, cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Whether the bytes of a copy were right while it had this version.
    pub(crate) fn knows(&self, location: Uuid, key: &ObjectKey, version: Option<Version>) -> bool {
        version.is_some() && self.known.get(&At { location, key }) == version
    }

    /// The bytes of a copy with this version were hashed, and they are right.
    pub(crate) fn note(&self, location: Uuid, key: &ObjectKey, version: Option<Version>) {
        if let Some(version) = version {
            self.known.insert(Place { location, key: key.clone() }, version);
        }
    }

    /// Has scrub look at a copy that is not what it should be.
    pub(crate) fn suspect(&self, location: Uuid, key: &ObjectKey, digest: Digest) {
        self.suspects.note(Suspect { location, object_key: key.to_string(), digest });
    }

    /// The bytes of a copy, hashed on their way unless they are known or only some of them. The first chunk is read, and
    /// a small copy hashed, before this answers.
    pub(crate) async fn body(
        &self,
        location: Uuid,
        key: &ObjectKey,
        digest: Digest,
        read: ObjectRead,
    ) -> Result<Body, Error> {
        let whole = read.range == (0..read.size) && read.size > 0;
        if !whole || self.knows(location, key, read.version) {
            return Ok(read.body);
        }
        let copy = Copy { location, key: key.clone(), digest, version: read.version, verified: self.clone() };
        let hash = Hash::Here(Box::new(Hasher::new(digest.algorithm())));
        let (first, rest) = Check { body: read.body, left: read.size, hash }.next(&copy).await?;
        let rest = stream::unfold(rest.map(|check| (check, copy)), |state| async move {
            let (check, copy) = state?;
            Some(match check.next(&copy).await {
                Ok((chunk, rest)) => (Ok(chunk), rest.map(|check| (check, copy))),
                Err(error) => {
                    if error.kind() == ErrorKind::Corrupt {
                        copy.verified.suspect(copy.location, &copy.key, copy.digest);
                    }
                    (Err(error), None)
                }
            })
        });
        Ok(stream::once(std::future::ready(Ok(first))).chain(rest).boxed())
    }
}

/// A copy being read to its end.
struct Copy {
    location: Uuid,
    key: ObjectKey,
    digest: Digest,
    version: Option<Version>,
    verified: Verified,
}

/// What of it is still to be read.
struct Check {
    body: Body,
    /// Bytes still to come.
    left: u64,
    hash: Hash,
}

/// The hash of what has passed.
enum Hash {
    Here(Box<Hasher>),
    /// The last chunk is being added, on a thread where it holds up nobody.
    Elsewhere(JoinHandle<Box<Hasher>>),
}

impl Check {
    /// The next chunk, and what comes after it. `Corrupt` in place of the last when the bytes are not those of the blob.
    async fn next(mut self, copy: &Copy) -> Result<(Bytes, Option<Self>), Error> {
        let Copy { key, digest, .. } = copy;
        let Some(chunk) = self.body.next().await else {
            return Err(Error::new(ErrorKind::Corrupt, format!("object {key} ends {} bytes too early", self.left)));
        };
        let chunk = chunk?;
        self.left = self.left.saturating_sub(chunk.len() as u64);
        let hash = self.hash.add(&chunk, &copy.verified.cores).await?;
        if self.left > 0 {
            return Ok((chunk, Some(Self { hash, ..self })));
        }
        let found = hash.settled().await?.finish();
        if found != *digest {
            let text = format!("object {key} has the bytes of {found}, not those of blob {digest}");
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        copy.verified.note(copy.location, key, copy.version);
        Ok((chunk, None))
    }
}

impl Hash {
    /// Adds a chunk. While a large one is being hashed it may be sent already.
    async fn add(self, chunk: &Bytes, cores: &Arc<Semaphore>) -> Result<Self, Error> {
        let mut hasher = self.settled().await?;
        if chunk.len() <= SMALL {
            hasher.update(chunk);
            return Ok(Hash::Here(hasher));
        }
        let chunk = chunk.clone();
        // Never closed.
        let core = cores.clone().acquire_owned().await.ok();
        Ok(Hash::Elsewhere(tokio::task::spawn_blocking(move || {
            let _core = core;
            hasher.update(&chunk);
            hasher
        })))
    }

    async fn settled(self) -> Result<Box<Hasher>, Error> {
        match self {
            Hash::Here(hasher) => Ok(hasher),
            Hash::Elsewhere(adding) => adding.await.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "hashing did not run to its end").with_source(error)
            }),
        }
    }
}
