//! The door through which all bytes go out: chooses a copy and answers a body.

use std::ops::Range;
use std::sync::Arc;

use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Body, Engine, ErrorKind, ObjectKey};

use crate::{Action, Caller, Error, Registry, Result};

/// A blob that the caller may read.
#[derive(Debug)]
pub struct OpenBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Copies, nearest first.
    copies: Vec<(Arc<dyn Engine>, ObjectKey)>,
}

impl Registry {
    /// Finds a blob (end-2): `BlobUnknown` when the repository does not link it, `NameUnknown` when there is no
    /// such repository.
    pub async fn open_blob(&self, caller: &Caller, name: &RepositoryName, digest: &Digest) -> Result<OpenBlob> {
        let name = self.access(caller, Action::Pull, name)?;
        self.open(&name, digest).await
    }

    pub(crate) async fn open(&self, name: &RepositoryName, digest: &Digest) -> Result<OpenBlob> {
        let Some(places) = self.index.places(name, digest).await? else {
            return Err(self.unknown(name, Error::BlobUnknown(*digest)).await?);
        };
        let mut copies = Vec::with_capacity(places.copies.len());
        for (location, key) in places.copies {
            // A location that this instance does not have configured is no copy it can serve.
            if let Some(location) = self.locations.by_id(location) {
                copies.push((location.engine.clone(), ObjectKey::new(key)?));
            }
        }
        if copies.is_empty() {
            return Err(Error::Damaged(format!("blob {digest} has no copy at any configured location")));
        }
        Ok(OpenBlob { digest: *digest, size: places.size, copies })
    }

    /// `otherwise`, or `NameUnknown` when it is the repository that is missing.
    pub(crate) async fn unknown(&self, name: &RepositoryName, otherwise: Error) -> Result<Error> {
        Ok(if self.index.exists(name).await? { otherwise } else { Error::NameUnknown(name.clone()) })
    }
}

impl OpenBlob {
    /// The bytes, all or a range that lies within them. Tries each copy; one that is missing, of another size or out
    /// of reach does not fail the pull while another can serve it.
    pub async fn read(&self, range: Option<Range<u64>>) -> Result<Body> {
        let mut last = None;
        for (engine, key) in &self.copies {
            match engine.read(key, range.clone()).await {
                Ok(read) if read.size == self.size => return Ok(read.body),
                Ok(read) => {
                    let text = format!("{key} has {} bytes, blob {} has {}", read.size, self.digest, self.size);
                    tracing::error!(digest = %self.digest, %key, "{text}");
                    last = Some(roadstead_storage::Error::new(ErrorKind::Corrupt, text));
                }
                Err(error) => {
                    tracing::error!(digest = %self.digest, %key, %error, "copy cannot be read");
                    last = Some(error);
                }
            }
        }
        Err(last.map_or_else(|| Error::Damaged(format!("blob {} has no copy", self.digest)), Error::from))
    }
}
