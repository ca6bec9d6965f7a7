//! Metadata in PostgreSQL: the engine of a fleet, whose instances share one database.
//!
//! Every commit is one SERIALIZABLE transaction on the primary, sent whole without waiting in between. Weaker levels
//! would let a push and the collector both win (see the race clauses of the conformance suite). [`Freshness::Latest`] is
//! answered by the primary alone; [`Freshness::Local`] by a standby too.
//!
//! Deliberately absent: failover itself. Who the primary is decides whatever runs the servers (Patroni, a cloud); this
//! crate asks every host that is named and uses the one that takes writes. So is a second text of any statement: what
//! differs from SQLite is translated where it is sent (`text`, [`roadstead_metadata::lists`]).
//!
//! [`Freshness::Latest`]: roadstead_metadata::Freshness::Latest
//! [`Freshness::Local`]: roadstead_metadata::Freshness::Local

mod asking;
mod commit;
mod connecting;
mod engine;
mod error;
mod faults;
mod monitor;
mod opening;
mod options;
mod pipeline;
mod pool;
mod target;
mod text;
mod tls;
mod values;

pub use engine::PostgresSql;
pub use error::OpenError;
pub use options::{Options, Timings};
