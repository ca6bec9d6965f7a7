//! Metadata in an embedded, replicated SQLite: [`RaftSql`] keeps the contract of [`roadstead_metadata::Sql`] over
//! hiqlite (openraft, a write-ahead log, SQLite as state machine).
//!
//! What an acknowledged commit survives: a killed process and a lost power supply, because the log is synced before
//! the commit happens (`LogSync::Immediate`). What a damaged disk does to it: the start notices and refuses, because
//! the high-water mark (module `high_water`) knows how many commits were acknowledged. Nothing acknowledged is ever
//! silently missing.
//!
//! Everything under the directory, with its owner:
//!
//! | Path | What | Written |
//! |---|---|---|
//! | `lock` | held while a process has the directory open; holds its process id | at each start |
//! | `roadstead.json` | who this directory belongs to | once |
//! | `peers.json` | the loopback addresses of the cluster's members | once |
//! | `secrets.json` | hiqlite's two shared secrets, mode 0600 | once |
//! | `high-water` | how many commits were acknowledged | with each group of commits |
//! | `clean-stop.json` | the database's checksum after a clean stop | at each stop |
//! | `snapshots/` | copies of hiqlite's snapshots | after each snapshot |
//! | `damaged-log` | a log file as it was before hiqlite cut it off at a damaged entry | at such a start |
//! | `damaged-logs/` | log files that were taken out of the log because one is damaged | at such a start |
//! | `reserve` | disk space to finish with when the disk is full | while there is space |
//! | `raft/` | hiqlite's own: log, SQLite, snapshots | always |
//!
//! Deliberately absent, because this is one node: joining, forwarding to another leader, TLS between peers, backup.
//! The addresses that stand on disk are already those of a cluster (`docs/adr/0002-peer-addresses.md`), so that the
//! directory can grow into one unchanged.

mod answers;
mod barrier;
mod clean_stop;
mod commit;
mod committer;
mod directory;
mod disk;
mod durable;
mod engine;
mod error;
mod footing;
mod growth;
mod high_water;
mod identity;
mod log_files;
mod log_header;
pub mod memory;
mod node;
mod nudge;
mod opening;
mod options;
mod peers;
mod record;
mod snapshots;
mod tables;
mod watchdog;

pub use engine::RaftSql;
pub use error::OpenError;
pub use options::{Options, Timings};
