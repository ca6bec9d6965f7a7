//! Who else vouches for users: implementations of [`Source`](roadstead_registry::identities::Source).
//!
//! Each is opened by what an operator configured, and refuses what it cannot use in words that name the file, or the key,
//! and the way out. What changes later and cannot be used replaces nothing: it is logged, and [`Htpasswd::is_current`]
//! and [`Oidc::is_current`] say so for a metric. No error, no log line and no `Debug` has a secret, or a line of a file.

mod htpasswd;
mod oidc;

pub use htpasswd::{Htpasswd, HtpasswdError};
pub use oidc::{Oidc, OidcError, OidcOptions};
