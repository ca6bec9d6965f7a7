//! Whose metadata this is: `roadstead.json`, with the rules every store of an installation keeps.
//!
//! A new installation begins here: the directory draws the cluster's id, and the blob locations are given the same.

// The metadata directory is a store of its own; no blob engine reaches it.
#![allow(clippy::disallowed_methods)]

use std::io::ErrorKind;
use std::path::Path;

use roadstead_storage::{Filesystem, IDENTITY_KEY, Identity};
use uuid::Uuid;

use crate::OpenError;
use crate::durable::make_directory;

/// Claims a new directory for `cluster` (or a new cluster), or checks whose it is. Comes before the lock, because
/// only an empty directory can be claimed.
pub(crate) async fn claim(path: &Path, cluster: Option<Uuid>) -> Result<Identity, OpenError> {
    make_directory(path).map_err(OpenError::io("make directory", path))?;
    let file = path.join(IDENTITY_KEY);
    let found: Option<Identity> = match std::fs::read(&file) {
        Ok(bytes) => {
            let parsed = serde_json::from_slice(&bytes);
            Some(parsed.map_err(|e| OpenError::Damaged { file, reason: e.to_string() })?)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(OpenError::io("read", &file)(e)),
    };
    let want = Identity::new(
        cluster.or(found.as_ref().map(|f| f.cluster)).unwrap_or_else(Uuid::now_v7),
        // Which replica this is concerns the replica alone.
        found.map_or_else(Uuid::now_v7, |f| f.location),
    );
    Ok(Identity::claim_directory(&Filesystem::open(path)?, &want).await?)
}
