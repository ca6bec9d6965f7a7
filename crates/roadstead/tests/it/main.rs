//! Tests of the process as it ships: started, talked to over its socket, killed, started again.
//!
//! They run the debug binary, with small numbers. The gate runs them again with `ROADSTEAD_TEST_BINARY` naming the
//! release binary and `ROADSTEAD_TEST_FULL=1`, which asks for the numbers that the acceptance names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod access;
mod administration;
mod audit;
mod auth;
mod bad_input;
mod big;
mod collecting;
mod conformance;
mod corruption;
mod crash;
mod drain;
mod failures;
mod fatal;
mod fleet;
mod gc;
mod guarded;
mod issuers;
mod log;
mod measure;
mod postgres;
mod revoked;
mod rotation;
mod s3;
mod scale;
mod scrub;
mod smoke;
mod sources;
mod status;
mod strace;
mod throttled;
mod tls;
mod troubles;
