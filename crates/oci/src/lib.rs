//! The OCI distribution protocol as values: no I/O, no async, no clock.
//!
//! Everything a client sends is text until a parser of this crate has judged it; what comes out is a value that
//! cannot be wrong any more: a [`Digest`] has a known algorithm and the right length, a [`RepositoryName`] is safe in
//! a path and in a URL, a [`Manifest`] has descriptors that can be followed. The other crates take these values and
//! never parse again.
//!
//! Invariants: no parser panics or recurses on its input's depth; every value parses back from its own text; an error
//! names the thing that is wrong and echoes at most a short, escaped excerpt of it.
//!
//! Deliberately absent: HTTP statuses and headers (crate `http`), what exists (crate `registry`).
//!
//! Clauses are those of the OCI distribution-spec 1.1 (`end-4a`, `code-1`).

mod content_range;
mod descriptor;
mod digest;
mod error;
mod excerpt;
mod hasher;
mod json;
mod manifest;
pub mod media_type;
mod name;
mod page;
mod query;
mod range;
mod reference;
mod route;

pub use content_range::{ContentRange, ContentRangeError};
pub use descriptor::{Descriptor, Platform};
pub use digest::{Algorithm, Digest, DigestError};
pub use error::{ErrorBody, ErrorCode, ErrorEntry};
pub use hasher::Hasher;
pub use manifest::{Kind, MAX_DEPTH, MAX_DESCRIPTORS, Manifest, ManifestError};
pub use name::{NameError, RepositoryName};
pub use page::{Page, PageError};
pub use query::{Query, QueryError};
pub use range::{ByteRange, RangeRequest};
pub use reference::{Reference, ReferenceError, Tag, TagError};
pub use route::{MAX_SESSION_LEN, Route, RouteError, route};
