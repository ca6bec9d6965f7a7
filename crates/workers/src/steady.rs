//! Whether wall-clock time can be believed.
//!
//! Ages are judged by the wall clock, because what is judged outlives the process. A wall clock that jumps makes
//! everything old at once. So before anything is removed for its age, the wall clock must have gone on as the
//! monotonic clock did, for a whole period.

use std::time::Duration;

use parking_lot::Mutex;
use roadstead_metadata::Millis;
use roadstead_registry::Clock;

use crate::millis;

/// What the two clocks may differ by between two looks: far more than a clock that is being corrected gains, far less
/// than anything is kept.
const TOLERANCE: Duration = Duration::from_secs(60);

/// The looks of one worker at the clock.
#[derive(Debug, Default)]
pub(crate) struct Steady(Mutex<Option<Looks>>);

#[derive(Debug, Clone, Copy)]
struct Looks {
    /// The last one: wall clock and monotonic clock.
    last: (Millis, Duration),
    /// Since when no jump was seen, on the monotonic clock.
    since: Duration,
}

impl Steady {
    /// Looks at the clock: the time, if it has not jumped for `period`. The first look never knows.
    pub(crate) fn now(&self, clock: &dyn Clock, period: Duration) -> Option<Millis> {
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        let mut looks = self.0.lock();
        let (known, jumped) = match *looks {
            None => (Looks { last: (wall, monotonic), since: monotonic }, true),
            Some(known) => {
                let expected = known.last.0.saturating_add(millis(monotonic.saturating_sub(known.last.1)));
                (known, wall.abs_diff(expected) > TOLERANCE.as_millis() as u64)
            }
        };
        if jumped && looks.is_some() {
            tracing::warn!(wall, before = known.last.0, "the wall clock jumped: nothing is purged for a while");
        }
        let since = if jumped { monotonic } else { known.since };
        *looks = Some(Looks { last: (wall, monotonic), since });
        (!jumped && monotonic.saturating_sub(since) >= period).then_some(wall)
    }

    /// How long the clock still has to go steadily until [`Steady::now`] knows the time.
    pub(crate) fn remaining(&self, clock: &dyn Clock, period: Duration) -> Duration {
        match *self.0.lock() {
            None => period,
            Some(looks) => period.saturating_sub(clock.monotonic().saturating_sub(looks.since)),
        }
    }
}
