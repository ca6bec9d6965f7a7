//! Whose a store is: `roadstead.json` at the root of every location and of the metadata directory.

/// The key of the identity file.
pub const IDENTITY_KEY: &str = "roadstead.json";
