//! Time as a parameter: nothing else in the workspace asks the machine what time it is.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roadstead_metadata::Millis;
use uuid::{NoContext, Timestamp, Uuid};

/// Where time comes from.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall-clock time: milliseconds since the Unix epoch, UTC. May jump.
    fn now(&self) -> Millis;

    /// Time since some fixed moment. Never goes back; for terms and timeouts.
    fn monotonic(&self) -> Duration;
}

/// A new UUIDv7 of this clock: an id's age is judged by the clock that gave it.
pub(crate) fn new_id(clock: &dyn Clock) -> Uuid {
    let now = clock.now().max(0) as u64;
    Uuid::new_v7(Timestamp::from_unix(NoContext, now / 1000, (now % 1000) as u32 * 1_000_000))
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    // The one place that reads the wall clock.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
