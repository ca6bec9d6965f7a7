//! The door through which all bytes go out: chooses a copy and answers a body, verified on its way.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Body, Engine, Error as StorageError, ErrorKind, Locations, ObjectKey};
use uuid::Uuid;

use crate::verified::Verified;
use crate::{Action, Caller, Error, Index, Registry, Result};

/// Where a copy is.
#[derive(Debug)]
struct Copy {
    location: Uuid,
    engine: Arc<dyn Engine>,
    key: ObjectKey,
}

/// A blob that the caller may read.
#[derive(Debug)]
pub struct OpenBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Copies, nearest first.
    copies: Vec<Copy>,
    name: RepositoryName,
    index: Arc<dyn Index>,
    locations: Locations,
    verified: Verified,
}

impl Registry {
    /// Finds a blob (end-2): `BlobUnknown` when the repository does not link it, `NameUnknown` when there is no
    /// such repository.
    pub async fn open_blob(&self, caller: &Caller, name: &RepositoryName, digest: &Digest) -> Result<OpenBlob> {
        let name = self.access(caller, Action::Pull, name).await?;
        self.open(&name, digest).await
    }

    pub(crate) async fn open(&self, name: &RepositoryName, digest: &Digest) -> Result<OpenBlob> {
        let Some(places) = self.index.places(name, digest).await? else {
            return Err(self.unknown(name, Error::BlobUnknown(*digest)).await?);
        };
        let copies = reachable(&self.locations, places.copies)?;
        if copies.is_empty() {
            return Err(Error::Damaged(format!("blob {digest} has no copy at any configured location")));
        }
        let (name, index, locations) = (name.clone(), self.index.clone(), self.locations.clone());
        let verified = self.verified.clone();
        Ok(OpenBlob { digest: *digest, size: places.size, copies, name, index, locations, verified })
    }

    /// `otherwise`, or `NameUnknown` when it is the repository that is missing.
    pub(crate) async fn unknown(&self, name: &RepositoryName, otherwise: Error) -> Result<Error> {
        Ok(if self.index.exists(name).await? { otherwise } else { Error::NameUnknown(name.clone()) })
    }
}

/// The copies that this instance can serve: at locations that it has configured.
fn reachable(locations: &Locations, copies: Vec<(Uuid, String)>) -> Result<Vec<Copy>> {
    let here = copies.into_iter().filter_map(|(location, key)| Some((locations.by_id(location)?, key)));
    here.map(|(location, key)| {
        Ok(Copy { location: location.id, engine: location.engine.clone(), key: ObjectKey::new(key)? })
    })
    .collect()
}

impl OpenBlob {
    /// The bytes, all or a range that lies within them. Tries each copy; one that is missing, of another size or out
    /// of reach does not fail the pull while another can serve it. A push replaces copies, so when one is not what it
    /// should be, it is asked once more where they are.
    ///
    /// All bytes of a blob are verified unless its copy is known to be right: a small one before this answers, a larger
    /// one while it streams; its body then ends in an error in place of its last chunk. Ranges are served as they are.
    pub async fn read(&self, range: Option<Range<u64>>) -> Result<Body> {
        let failed = match self.read_from(&self.copies, &range).await {
            Ok(body) => return Ok(body),
            Err(failed) if !failed.moved => return Err(self.given_up(failed)),
            Err(failed) => failed,
        };
        let elsewhere = match self.index.newest_places(&self.name, &self.digest).await {
            Ok(Some(places)) => self.not_tried(places.copies)?,
            Ok(None) => {
                // Deleted and reaped between question and read: nothing is wrong with that.
                tracing::debug!(digest = %self.digest, "blob went while it was looked up");
                return Err(Error::BlobUnknown(self.digest));
            }
            Err(_) => Vec::new(),
        };
        if elsewhere.is_empty() {
            return Err(self.given_up(failed));
        }
        self.read_from(&elsewhere, &range).await.map_err(|failed| self.given_up(failed))
    }

    /// A copy that could not be read, although metadata names it.
    fn told(&self, key: &ObjectKey, error: &dyn std::fmt::Display) {
        tracing::error!(digest = %self.digest, %key, %error, "copy cannot be read");
    }

    /// The error of a pull, of which the log names each copy that failed.
    fn given_up(&self, failed: Unread) -> Error {
        failed.gone.iter().for_each(|(key, error)| self.told(key, error));
        failed.error.into()
    }

    /// A URL under which the client reads the nearest copy by itself, for `valid_for`: of a location that `serves`, by its
    /// name. `None` when there is none, or its store has no such URLs. What the client reads there it has to verify, as
    /// every client does.
    pub async fn url(&self, serves: &(dyn Fn(&str) -> bool + Sync), valid_for: Duration) -> Option<String> {
        for Copy { location, engine, key } in &self.copies {
            let Some(presign) = engine.presign() else { continue };
            if !self.locations.by_id(*location).is_some_and(|location| serves(&location.name)) {
                continue;
            }
            match presign.presign_read(key, valid_for).await {
                Ok(url) => return Some(url),
                Err(error) => tracing::warn!(digest = %self.digest, %key, %error, "no redirect to a copy"),
            }
        }
        None
    }

    fn not_tried(&self, copies: Vec<(Uuid, String)>) -> Result<Vec<Copy>> {
        let mut found = reachable(&self.locations, copies)?;
        found.retain(|copy| self.copies.iter().all(|tried| tried.key != copy.key));
        Ok(found)
    }

    async fn read_from(&self, copies: &[Copy], range: &Option<Range<u64>>) -> std::result::Result<Body, Unread> {
        let text = format!("blob {} has no copy", self.digest);
        let mut unread = Unread { error: StorageError::new(ErrorKind::NotFound, text), moved: false, gone: Vec::new() };
        for Copy { location, engine, key } in copies {
            let error = match engine.read(key, range.clone()).await {
                Ok(read) if read.size == self.size => {
                    match self.verified.body(*location, key, self.digest, read).await {
                        Ok(body) => {
                            unread.gone.iter().for_each(|(key, error)| self.told(key, error));
                            return Ok(body);
                        }
                        Err(error) => error,
                    }
                }
                Ok(read) => {
                    let text = format!("{key} has {} bytes, blob {} has {}", read.size, self.digest, self.size);
                    StorageError::new(ErrorKind::Corrupt, text)
                }
                // The range lies within the blob.
                Err(error) if error.kind() == ErrorKind::InvalidRange => {
                    StorageError::new(ErrorKind::Corrupt, error.to_string())
                }
                Err(error) => error,
            };
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) {
                unread.moved = true;
                self.verified.suspect(*location, key, self.digest);
            }
            match error.kind() {
                ErrorKind::NotFound => unread.gone.push((key.clone(), error.to_string())),
                _ => self.told(key, &error),
            }
            unread.error = error;
        }
        Err(unread)
    }
}

/// Why no copy could be read.
struct Unread {
    error: StorageError,
    /// Whether one was not there, or not what it should be.
    moved: bool,
    /// Those that were not there, and why: not told yet, since they may have been deleted rightly.
    gone: Vec<(ObjectKey, String)>,
}
