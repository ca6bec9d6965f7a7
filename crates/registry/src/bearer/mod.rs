//! Bearer tokens: what a client is given for its password, good for minutes and for what it asked for (the token
//! authentication of Docker's registry, RFC 7519 signed by ES256).
//!
//! A token says who its owner is and for which repositories it may be used. Whether the owner still is who it was, and what
//! it may do there, is asked with every request all the same: a token takes away and never adds.

mod keyring;
mod token;
mod wish;

pub use keyring::{Keyring, KeyringError, PublishedKey, Rotated, Rotation};
pub use token::{Bearer, Issued, Issuer, NotGood};
pub use wish::{MOST_WISHES, WishError, Wishes};
