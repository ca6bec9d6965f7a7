//! The server as its clients meet it: over sockets, on a port of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod blobs;
mod bodies;
mod connections;
mod documented;
mod drain;
mod listing;
mod manifests;
mod observed;
mod uploads;
mod wire;
