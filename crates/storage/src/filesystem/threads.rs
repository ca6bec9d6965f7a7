//! Threads for calls that may block: the engine's own, with a bound for each direction.
//!
//! A disk that hangs takes every thread that waits for it. These are not those that metadata and everything else in the
//! process block on, so whoever needs no disk of this engine goes on; and those that write are not those that read, so a
//! disk that still reads, as a frozen or an overloaded one may, still serves.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Threads in each direction, made when needed and ended when idle.
const MOST: usize = 256;

/// What a call does to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// It reads, or looks.
    Read,
    /// It writes, syncs, or removes.
    Write,
}

// Nothing runs on these but blocking calls. They live as long as the process, since a runtime may not end within another.
static READ: LazyLock<Option<Runtime>> = LazyLock::new(|| pool("blobs-read"));
static WRITE: LazyLock<Option<Runtime>> = LazyLock::new(|| pool("blobs-write"));

fn pool(name: &str) -> Option<Runtime> {
    Builder::new_current_thread().max_blocking_threads(MOST).thread_name(name).build().ok()
}

/// Runs `act` on a thread of its lane. It starts at once, or as soon as one is free.
pub(super) fn spawn<T: Send + 'static>(lane: Lane, act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let pool = match lane {
        Lane::Read => &READ,
        Lane::Write => &WRITE,
    };
    match &**pool {
        Some(pool) => pool.spawn_blocking(act),
        // Without threads of its own it takes those of the process.
        None => tokio::task::spawn_blocking(act),
    }
}
