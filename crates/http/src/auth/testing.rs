//! A clock that stands until it is told to go on.

use std::time::Duration;

use parking_lot::Mutex;
use roadstead_registry::Clock;

#[derive(Debug, Default)]
pub(super) struct ManualClock(Mutex<Duration>);

impl ManualClock {
    pub(super) fn advance(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.0.lock().as_millis() as i64
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }
}
