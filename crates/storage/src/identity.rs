//! Whose a store is: `roadstead.json` at the root of every location and of the metadata directory.
//!
//! Two installations on one store would collect each other's blobs. So every root carries the ids of its cluster and
//! its location; they are put there once, exclusively, on an empty root, and compared at every start and by the
//! health probe. What does not fit is refused with the way out. Never repaired here: taking over a store is a
//! decision and not a start-up step.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Engine, Error, ErrorKind, Filesystem, ObjectKey};

/// The key of the identity file.
pub const IDENTITY_KEY: &str = "roadstead.json";

/// The content of `roadstead.json`. Its field names are part of the format on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The installation.
    pub cluster: Uuid,
    /// The location, or the replica whose metadata directory this is. Permanent.
    pub location: Uuid,
    /// Version of the layout of keys and files.
    pub layout: u32,
    /// The oldest layout version whose software may read this store.
    pub reader: u32,
    /// The oldest layout version whose software may write to this store.
    pub writer: u32,
}

impl Identity {
    /// The layout version of this software.
    pub const LAYOUT: u32 = 1;

    /// The identity of a new store of this software's layout.
    pub fn new(cluster: Uuid, location: Uuid) -> Self {
        Self { cluster, location, layout: Self::LAYOUT, reader: Self::LAYOUT, writer: Self::LAYOUT }
    }

    /// Makes an empty store this identity's, or checks that it is already. Answers the identity that stands there.
    ///
    /// Of several processes that claim one empty store at once, one wins; the others check what it wrote.
    /// For the first start of a location. One that metadata knows to be claimed is for [`Identity::verify`], since an
    /// empty root then means an unmounted filesystem.
    ///
    /// `Foreign` when the store holds objects and no identity, or an identity that does not fit; `Corrupt` when the
    /// identity cannot be read.
    pub async fn claim(engine: &dyn Engine, want: &Self) -> Result<Self, Error> {
        claim(&Store(engine), want).await
    }

    /// Checks that a claimed store is still there and this identity's. Errors as [`Identity::claim`].
    pub async fn verify(engine: &dyn Engine, want: &Self) -> Result<Self, Error> {
        verify(&Store(engine), want).await
    }

    /// [`Identity::claim`] for a directory that other software fills, such as the one of metadata: empty means that
    /// there is no file and no directory in it.
    pub async fn claim_directory(directory: &Filesystem, want: &Self) -> Result<Self, Error> {
        let claimed = claim(&Directory(directory), want).await;
        directory.tidy().await;
        claimed
    }

    /// [`Identity::verify`] for a directory.
    pub async fn verify_directory(directory: &Filesystem, want: &Self) -> Result<Self, Error> {
        verify(&Directory(directory), want).await
    }

    /// The identity that stands on a store, whosever it is; `None` when there is none or it cannot be understood,
    /// which [`Identity::claim`] then tells apart. For a first start that was cut short after its claim.
    pub async fn found(engine: &dyn Engine) -> Result<Option<Self>, Error> {
        Ok(read(&Store(engine)).await?.and_then(|found| serde_json::from_slice(&found).ok()))
    }

    fn to_json(&self) -> Result<Bytes, Error> {
        let json = serde_json::to_vec_pretty(self);
        json.map(Bytes::from).map_err(|e| Error::new(ErrorKind::Other, "cannot write an identity").with_source(e))
    }

    /// Checks `found`, read from `place`, against what should be there.
    fn check(place: &str, found: &[u8], want: &Self) -> Result<Self, Error> {
        let found: Self = serde_json::from_slice(found).map_err(|e| {
            let context = format!(
                "{IDENTITY_KEY} of {place} cannot be read; restore it from a backup, or, if the store is surely that of \
                 cluster {} and location {}, write it again: {}",
                want.cluster,
                want.location,
                serde_json::to_string(want).unwrap_or_default()
            );
            Error::new(ErrorKind::Corrupt, context).with_source(e)
        })?;
        // Versions first: what the ids of a newer layout mean is not ours to say.
        let needed = found.reader.max(found.writer);
        let fault = if needed > Self::LAYOUT {
            format!(
                "has layout version {}, for which software of layout version {needed} is needed, and this is {}; \
                 run a newer version of roadstead",
                found.layout,
                Self::LAYOUT
            )
        } else if found.cluster != want.cluster {
            format!(
                "belongs to cluster {} and this installation is cluster {}; configure the store and the metadata \
                 directory of one installation together, or an empty one",
                found.cluster, want.cluster
            )
        } else if found.location != want.location {
            format!(
                "is location {} of this cluster and is configured as location {}; were two roots swapped? \
                 Configure each where it was",
                found.location, want.location
            )
        } else {
            return Ok(found);
        };
        Err(Error::new(ErrorKind::Foreign, format!("{place} {fault}")))
    }
}

/// What claiming needs of a root.
#[async_trait]
trait Root: Sync {
    /// What it is, for messages.
    fn place(&self) -> String;
    /// The engine that its identity is stored through.
    fn engine(&self) -> &dyn Engine;
    /// Whether nothing is there, a `roadstead.json` apart.
    async fn is_empty(&self) -> Result<bool, Error>;
}

struct Store<'a>(&'a dyn Engine);

#[async_trait]
impl Root for Store<'_> {
    fn place(&self) -> String {
        format!("{:?}", self.0)
    }

    fn engine(&self) -> &dyn Engine {
        self.0
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        let listed = self.0.list("", None, 2).await?;
        Ok(listed.iter().all(|listed| listed.key.as_str() == IDENTITY_KEY))
    }
}

struct Directory<'a>(&'a Filesystem);

#[async_trait]
impl Root for Directory<'_> {
    fn place(&self) -> String {
        self.0.root().display().to_string()
    }

    fn engine(&self) -> &dyn Engine {
        self.0
    }

    async fn is_empty(&self) -> Result<bool, Error> {
        let entries = self.0.entries().await?;
        Ok(entries.iter().all(|name| name == IDENTITY_KEY))
    }
}

async fn claim(root: &dyn Root, want: &Identity) -> Result<Identity, Error> {
    if let Some(found) = read(root).await? {
        return Identity::check(&root.place(), &found, want);
    }
    if root.is_empty().await? {
        match root.engine().put_small(&key()?, want.to_json()?, true).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            // Read back in either case: not every object store makes the exclusive write exclusive.
            _ => return verify(root, want).await,
        }
    }
    // Another process may have claimed it, and begun to use it, between the two looks.
    match read(root).await? {
        Some(found) => Identity::check(&root.place(), &found, want),
        None => Err(Error::new(
            ErrorKind::Foreign,
            format!(
                "{} is not empty and has no {IDENTITY_KEY}, so it may be somebody else's; start on an empty one. If it \
                 is ours and only the file was lost, restore that from a backup",
                root.place()
            ),
        )),
    }
}

async fn verify(root: &dyn Root, want: &Identity) -> Result<Identity, Error> {
    match read(root).await? {
        Some(found) => Identity::check(&root.place(), &found, want),
        None => Err(Error::new(
            ErrorKind::Foreign,
            format!(
                "{} has lost its {IDENTITY_KEY}: is the right filesystem mounted, the right bucket named?",
                root.place()
            ),
        )),
    }
}

async fn read(root: &dyn Root) -> Result<Option<Vec<u8>>, Error> {
    match root.engine().read(&key()?, None).await {
        Ok(read) => Ok(Some(read.body.try_collect::<Vec<Bytes>>().await?.concat())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn key() -> Result<ObjectKey, Error> {
    ObjectKey::new(IDENTITY_KEY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const WANT: Identity =
        Identity { cluster: Uuid::from_u128(1), location: Uuid::from_u128(2), layout: 1, reader: 1, writer: 1 };

    #[test]
    fn the_format_on_disk_is_fixed() {
        let json = r#"{"cluster": "00000000-0000-0000-0000-000000000001", "location": "00000000-0000-0000-0000-000000000002",
            "layout": 1, "reader": 1, "writer": 1, "a field of a later version": true}"#;
        assert_eq!(Identity::check("here", json.as_bytes(), &WANT).unwrap(), WANT);
        let written: serde_json::Value = serde_json::from_slice(&WANT.to_json().unwrap()).unwrap();
        assert_eq!(written["cluster"], "00000000-0000-0000-0000-000000000001");
        assert_eq!(written.as_object().unwrap().len(), 5);
    }

    proptest! {
        #[test]
        fn a_damaged_identity_is_never_taken_for_another(at in 0..200_usize, byte: u8, cut in 0..200_usize) {
            let whole = WANT.to_json().unwrap();
            let mut bytes = whole.to_vec();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            if let Ok(found) = Identity::check("here", &bytes, &WANT) {
                // White space, the case of a hexadecimal digit, or a version number that is compatible.
                prop_assert_eq!((found.cluster, found.location), (WANT.cluster, WANT.location));
            }
        }
    }
}
