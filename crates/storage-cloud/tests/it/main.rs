//! The S3 engine against real servers. Without one the tests say that they are skipped; CI forbids that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "test code: a panic is the report")]

mod conformance;
mod faults;
mod given;
mod opening;
mod parts;
mod proxy;
mod together;
