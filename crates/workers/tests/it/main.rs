//! Workers against memory engines, under a clock that moves only when everybody waits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod collect;
mod operations;
mod reap;
mod rig;
mod scrub;
mod supervisor;
mod temporary;
mod untagged;
mod uploads;
