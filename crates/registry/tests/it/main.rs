//! The use cases over the light engines.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod blobs;
mod crash_points;
mod manifests;
mod rig;
mod uploads;
