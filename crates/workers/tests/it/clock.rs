//! A clock that goes with tokio's, which a test pauses.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use roadstead_metadata::Millis;
use roadstead_registry::Clock;
use tokio::time::Instant;

/// The wall clock at which every test starts.
pub(crate) const START: Millis = 1_750_000_000_000;

#[derive(Debug)]
pub(crate) struct TestClock {
    started: Instant,
    /// What the wall clock has jumped by.
    jumped: AtomicI64,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), jumped: AtomicI64::new(0) }
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&self, by: Millis) {
        self.jumped.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        START + self.monotonic().as_millis() as Millis + self.jumped.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
