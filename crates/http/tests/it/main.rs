//! The server as its clients meet it: over sockets, on a port of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod admin;
mod api;
mod audited;
mod auth;
mod blobs;
mod bodies;
mod connections;
mod documented;
mod drain;
mod guarded;
mod listing;
mod manifests;
mod matrix;
mod observed;
mod passwords;
mod redirects;
mod refused;
mod stolen;
mod tls;
mod tries;
mod uploads;
mod vouched;
mod wire;
