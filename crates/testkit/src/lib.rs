//! What tests stand on: real server processes, a client that can also misbehave, seeded content, and a ledger of
//! what was acknowledged, kept outside of the server.
//!
//! Nothing here uses the product's own crates: a digest computed here agrees with the server's only if both are
//! right. A server that does not start or a client that gets no answer ends the test with everything that is known.

// It is test code: what goes wrong in it is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod certificates;
mod client;
mod content;
mod identity_provider;
mod ledger;
pub mod load;
mod log;
mod server;
pub mod servers;
mod tls;
mod wire;

pub use certificates::{Issuer, Pair};
pub use client::{Client, Refused, Upload};
pub use content::{Content, Image, Seed, digest, digest_of, digest512};
pub use identity_provider::{IdentityProvider, TokenKey};
pub use ledger::Ledger;
pub use log::ThreadLog;
pub use server::{Launch, Server, program};
pub use tls::Tls;
pub use wire::{Body, Request, Response};
