//! The engine on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

mod migrations;
mod outages;
mod pgbouncer;
mod round_trips;
mod statements;
mod suite;
mod support;
mod tls;
mod unprepared;
