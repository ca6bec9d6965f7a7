//! The engine as its users see it: in this process, and in a child process that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

mod child;
mod commits;
mod crash;
mod damage;
mod damaged_log;
mod disk_full;
mod large_log;
mod opening;
mod suite;
mod support;
mod throughput;
