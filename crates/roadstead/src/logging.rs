//! The log: standard error, text or JSON, from `log.*` only.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::parsed::{Format, Level, Log};

/// Libraries that tell at `info` what no operator of a registry asks for.
const QUIET: [&str; 6] = ["hiqlite", "hiqlite_wal", "openraft", "h2", "hyper", "hyper_util"];
/// Warns at the first start that the new database is new.
const USELESS: &str = "hiqlite::store::state_machine::sqlite::writer=error";

/// Starts logging for the whole process. A second call changes nothing.
pub(crate) fn start(log: &Log) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(io::stderr);
    let started = match log.format {
        Format::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // Only a second start can fail.
    drop(started);
}

fn filter(log: &Log) -> EnvFilter {
    let (level, quiet) = match log.level {
        Level::Error => ("error", "error"),
        Level::Warn => ("warn", "error"),
        Level::Info => ("info", "warn"),
        Level::Debug => ("debug", "debug"),
        Level::Trace => ("trace", "trace"),
    };
    let libraries: String = QUIET.iter().map(|name| format!(",{name}={quiet}")).collect();
    EnvFilter::new(log.filter.clone().unwrap_or_else(|| format!("{level}{libraries},{USELESS}")))
}
