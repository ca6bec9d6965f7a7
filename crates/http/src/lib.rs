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
//! - [`Auth`]: who a request comes from; without it everybody is nobody in particular.
//! - [`AuditApi`]: who did what, as [`OciApi::with_audit`] and the use cases of administration noted it.
//! - [`Bounds`]: what all requests together may hold.
//! - [`Settings`]: address, bounds and timeouts of the listener and its connections.
//! - [`Tls`]: the certificate of the listener, replaced while it serves.
//! - [`Server::bind`] takes the address, [`Bound::run`] serves until told to stop and says how it [`Ended`].
//!
//! Invariants: a connection costs no buffer before it sends something; nothing a client does or leaves undone holds a
//! request for ever; every request ends in one line of the access log (target `access`) and one metrics sample.
//!
//! Deliberately absent: rules of the registry (crate `registry`), SQL; where a certificate authority is kept.

mod admin_api;
mod admin_socket;
mod app;
mod asked_host;
mod audit_api;
mod auth;
mod bounds;
mod connections;
mod error_table;
mod exchange;
mod health;
mod inbound;
mod listener;
mod metrics;
mod oci_api;
mod opening;
mod own_hosts;
mod plain;
mod proxy_protocol;
mod pulse;
mod received;
mod redirects;
mod request_id;
mod served;
mod server;
mod settings;
mod small_body;
mod stream;
mod streams;
mod tls;

pub use admin_api::{AdminApi, Setting};
pub use admin_socket::{AdminSocket, connect_admin};
pub use app::App;
pub use audit_api::AuditApi;
pub use auth::Auth;
pub use bounds::Bounds;
pub use health::{Component, Condition, Finding, Health, Probe, Prober, STRIKES, Verdict};
pub use metrics::Metrics;
pub use oci_api::OciApi;
pub use own_hosts::OwnHosts;
pub use proxy_protocol::Proxies;
pub use redirects::Redirects;
pub use server::{Bound, Ended, Server, Stop};
pub use settings::{Plain, Settings};
pub use tls::{Authority, ClientAuth, Oldest, Source, Tls, TlsError, TlsOptions};
