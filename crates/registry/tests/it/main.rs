//! The use cases over the light engines.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

mod access;
mod access_kept;
mod access_worlds;
mod blobs;
mod cached;
mod changes;
mod crash_points;
mod damaged;
mod guards;
mod identities;
mod keyring;
mod late_commits;
mod listed_meanwhile;
mod log;
mod manifests;
mod referrers;
mod removal;
mod rig;
mod standby;
mod step_commits;
mod steps;
mod store;
mod uploads;
mod vouched;
