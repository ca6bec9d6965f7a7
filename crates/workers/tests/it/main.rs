//! Workers against memory engines, under a clock that stands still until everybody waits.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod supervisor;
