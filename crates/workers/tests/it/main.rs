//! Workers against memory engines, under a clock that moves only when everybody waits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod audit;
mod audited;
mod clock;
mod collect;
mod credentials;
mod instances;
mod operations;
mod reap;
mod removals;
mod rig;
mod scrub;
mod supervisor;
mod temporary;
mod untagged;
mod uploads;
