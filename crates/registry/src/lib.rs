//! The registry's use cases: no HTTP, no concrete engine.
//!
//! All blob bytes pass through two doors: `ingest` takes bytes in (bounds, hashes, verifies, publishes an
//! object, then commits one batch), and `open` chooses where bytes are read from. Every use case passes
//! [`access`](Policy) first and ends in at most one commit whose guards hold or refuse all of it.
//!
//! What a use case changes outlives the client that asked for it: once bytes flow, the work runs on a task of its own,
//! so that a connection that breaks leaves a session at its last acknowledged offset and never half an object.

mod access;
pub mod audit;
mod bearer;
mod blobs;
mod cached_index;
mod clock;
mod commit;
mod error;
pub mod identities;
mod index;
mod ingest;
mod listing;
mod manifest_delete;
mod manifest_get;
mod manifest_put;
mod mount;
mod open;
mod precondition;
mod pump;
pub mod rate;
mod referrers;
mod registry;
mod suspects;
mod upload;
mod verified;

pub(crate) use access::Admitted;
pub use access::{
    AccessCache, Action, Caller, Decision, Denial, Everyone, Identity, Making, Permit, Policy, Question, Rules, Scope,
    ScopeError, Vouched, decide, is_valid, viewer,
};
pub use bearer::{
    Bearer, Issued, Issuer, Keyring, KeyringError, MOST_WISHES, NotGood, PublishedKey, Rotated, Rotation, WishError,
    Wishes,
};
pub use clock::{Clock, SystemClock};
pub use error::{BodyError, Error, Result};
pub use index::{Index, SqlIndex};
pub use ingest::{BLOBS, digest_in, new_object_key};
pub use listing::Names;
pub use manifest_get::{ManifestContent, ManifestInfo};
pub use manifest_put::{ManifestPushed, PutManifest};
pub use mount::Mount;
pub use open::OpenBlob;
pub use precondition::{Precondition, Wanted};
pub use pump::ByteStream;
pub use referrers::{Referrers, ReferrersQuery};
pub use registry::{Limits, Parts, Registry, StartError};
pub use suspects::{Suspect, Suspects};
pub use upload::{Chunk, SESSION_LIFE, UploadProgress, staged_at, staged_session, staging_prefix};
