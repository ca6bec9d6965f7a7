//! Threads for calls that may block: the engine's own, with a bound for each direction.
//!
//! A disk that hangs takes every thread that waits for it. These are not those that metadata and everything else in the
//! process block on, so whoever needs no disk of this engine goes on; and those that write are not those that read, so a
//! disk that still reads, as a frozen or an overloaded one may, still serves. The health probe waits behind neither: a
//! disk that is merely busy is not one that is gone.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Threads in each direction, made when needed and ended when idle.
pub(super) const MOST: usize = 256;

/// What a call does to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// It reads, or looks for something.
    Read,
    /// It writes, syncs, or removes.
    Write,
    /// It probes.
    Probe,
}

// Nothing runs on these but blocking calls. They live as long as the process, since a runtime may not end within another.
static READ: LazyLock<Option<Runtime>> = LazyLock::new(|| pool("blobs-read"));
static WRITE: LazyLock<Option<Runtime>> = LazyLock::new(|| pool("blobs-write"));
static PROBE: LazyLock<Option<Runtime>> = LazyLock::new(|| pool("blobs-probe"));

fn pool(name: &str) -> Option<Runtime> {
    Builder::new_current_thread().max_blocking_threads(MOST).thread_name(name).build().ok()
}

/// Runs `act` on a thread of its lane. It starts at once, or as soon as one is free.
pub(super) fn spawn<T: Send + 'static>(lane: Lane, act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let pool = match lane {
        Lane::Read => &READ,
        Lane::Write => &WRITE,
        Lane::Probe => &PROBE,
    };
    match &**pool {
        Some(pool) => pool.spawn_blocking(act),
        // Without threads of its own it takes those of the process.
        None => tokio::task::spawn_blocking(act),
    }
}
