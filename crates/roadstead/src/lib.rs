//! The `roadstead` binary: configuration and command line. The library target exists so that the
//! parser of the configuration can be tested and fuzzed from outside; it is no public interface.

pub mod cli;
pub mod config;
