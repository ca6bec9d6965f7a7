//! The use cases over the light engines.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod blobs;
mod cached;
mod crash_points;
mod damaged;
mod guards;
mod manifests;
mod referrers;
mod rig;
mod steps;
mod store;
mod uploads;
