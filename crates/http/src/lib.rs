//! The OCI API, health, metrics and the server they run in.
//!
//! ```text
//! Server (listener, connections, drain) -> App -> health | metrics | API
//! ```
//!
//! The binary makes a [`Health`] of its components and starts probing, a [`Metrics`], an [`OciApi`] over its registry,
//! an [`App`] of the three, and runs a [`Server`] with it until it drained:
//!
//! - [`AdminApi`] on an [`AdminSocket`]: what operators ask and tell, apart from all that.
//! - [`Bounds`]: what all requests together may hold.
//! - [`Settings`]: address, bounds and timeouts of the listener and its connections.
//! - [`Server::bind`] takes the address, [`Bound::run`] serves until told to stop and says how it [`Ended`].
//!
//! Invariants: a connection costs no buffer before it sends something; nothing a client does or leaves undone holds a
//! request for ever; every request ends in one line of the access log (target `access`) and one metrics sample.
//!
//! Deliberately absent: rules of the registry (crate `registry`), SQL, TLS.

mod admin_api;
mod admin_socket;
mod app;
mod bounds;
mod error_table;
mod exchange;
mod health;
mod inbound;
mod listener;
mod metrics;
mod oci_api;
mod pulse;
mod received;
mod request_id;
mod server;
mod settings;
mod stream;
mod streams;

pub use admin_api::AdminApi;
pub use admin_socket::{AdminSocket, connect_admin};
pub use app::App;
pub use bounds::Bounds;
pub use health::{Component, Condition, Finding, Health, Probe, Prober, STRIKES, Verdict};
pub use metrics::Metrics;
pub use oci_api::OciApi;
pub use server::{Bound, Ended, Server, Stop};
pub use settings::Settings;
