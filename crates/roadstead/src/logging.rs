//! The log: standard error, text or JSON, from `log.*` only.
//!
//! A log that cannot be written must not stop a registry that can serve. So lines go through a queue to a thread of
//! their own: when nobody reads standard error, or its disk is full, lines are lost and counted, and nothing waits.

use std::io;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::parsed::{Format, Level, Log};
use crate::config::settings::parse_filter;

/// Libraries that tell at `info` what no operator of a registry asks for.
const QUIET: [&str; 6] = ["hiqlite", "hiqlite_wal", "openraft", "h2", "hyper", "hyper_util"];
/// Warns at the first start that the new database is new.
const USELESS: &str = "hiqlite::store::state_machine::sqlite::writer=error";
/// Lines that may wait to be written; further ones are dropped. A few MiB.
const WAITING: usize = 10_000;

/// The log of the process. Dropped, it writes what still waits, for a moment at most.
#[derive(Debug)]
pub(crate) struct Logging {
    _writer: WorkerGuard,
    dropped: ErrorCounter,
}

impl Logging {
    /// Counts the lines that were dropped because they could not be written soon enough.
    pub(crate) fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let dropped = self.dropped.clone();
        move || dropped.dropped_lines() as u64
    }
}

/// Starts logging for the whole process. Called a second time, it changes nothing.
pub(crate) fn start(log: &Log) -> Logging {
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING).thread_name("log").finish(io::stderr());
    let logging = Logging { _writer: guard, dropped: writer.error_counter() };
    let builder = tracing_subscriber::fmt().with_env_filter(filter(log)).with_writer(writer).log_internal_errors(false);
    let started = match log.format {
        Format::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // Only a second start can fail.
    drop(started);
    logging
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
    match &log.filter {
        // A filter that names parts only would silence the errors of all others.
        Some(filter) => parse_filter(&format!("error,{filter}")).unwrap_or_else(|_| EnvFilter::new("error")),
        None => EnvFilter::new(format!("{level}{libraries},{USELESS}")),
    }
}
