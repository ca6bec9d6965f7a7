//! The `roadstead` binary: configuration and command line. The library target exists so that the
//! parser of the configuration can be tested and fuzzed from outside; it is no public interface.

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
mod compose;
pub mod config;
#[cfg(feature = "server")]
mod logging;
