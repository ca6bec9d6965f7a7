//! The OCI distribution protocol as values: no I/O, no async.

mod digest;

pub use digest::Digest;
