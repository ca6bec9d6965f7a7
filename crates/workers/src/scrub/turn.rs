//! How long a step may take, and how fast it may read.

use std::time::Duration;

use parking_lot::Mutex;
use roadstead_registry::Clock;
use tokio::time::sleep;

/// A step ends at the first chance after this.
const STEP: Duration = Duration::from_secs(2);
/// Bytes read at once at most. Less at a low rate, so that no pause is longer than a second.
const SLICE: u64 = 8 << 20;

/// Until when nothing more may be read. Shared by all steps, so that the rate holds across them.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Duration>);

impl Pace {
    /// How long to wait before reading `bytes` more.
    fn book(&self, now: Duration, rate: u64, bytes: u64) -> Duration {
        let mut next = self.0.lock();
        let from = (*next).max(now);
        *next = from + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        from - now
    }
}

/// One step: its end, and what it read.
pub(super) struct Turn<'a> {
    clock: &'a dyn Clock,
    until: Duration,
    pace: Option<(&'a Pace, u64)>,
    /// Bytes read so far.
    pub(super) bytes: u64,
}

impl<'a> Turn<'a> {
    /// A step that begins now; it reads as fast as it can without a pace.
    pub(super) fn begin(clock: &'a dyn Clock, pace: Option<(&'a Pace, u64)>) -> Self {
        Self { clock, until: clock.monotonic() + STEP, pace, bytes: 0 }
    }

    /// Whether it is time to end the step.
    pub(super) fn over(&self) -> bool {
        self.clock.monotonic() >= self.until
    }

    /// Waits until some bytes of `left` may be read; how many.
    pub(super) async fn slice(&mut self, left: u64) -> u64 {
        let Some((pace, rate)) = self.pace else { return left.min(SLICE) };
        let slice = left.min(SLICE).min(rate.max(1));
        sleep(pace.book(self.clock.monotonic(), rate, slice)).await;
        slice
    }
}
