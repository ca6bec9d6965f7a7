//! A clock that goes with tokio's, which a test pauses.

use std::time::Duration;

use roadstead_metadata::Millis;
use roadstead_registry::Clock;
use tokio::time::Instant;

/// The wall clock at which every test starts.
pub(crate) const START: Millis = 1_750_000_000_000;

#[derive(Debug)]
pub(crate) struct TestClock(Instant);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        START + self.monotonic().as_millis() as Millis
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}
