//! Who did what: one event for every login, push, pull, delete and change of what somebody may do.
//!
//! [`Audit`] is where events are noted. To note one never waits and never fails: it goes into memory, bounded in bytes,
//! until a worker takes it from there. When there is no room the event is dropped and counted, and the count is told as
//! an event of its own. Deliberately absent: files, stores and JSON, which are nobody's business on the way of a pull;
//! they are the worker's (`roadstead-workers`).

mod event;
mod filter;
mod line;
mod origin;
mod times;

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::Clock;

pub use event::{Actor, AuditAction, AuditOutcome, Event};
pub use filter::Filter;
pub use line::{Lines, Told};
pub use origin::Origin;
pub use times::{Day, TimeError, id_at, time_of, to_text, to_time};

/// Bytes of events that wait in memory.
const CAPACITY: usize = 8 << 20;

/// Where events are noted.
pub struct Audit {
    clock: Arc<dyn Clock>,
    capacity: usize,
    queue: Mutex<Queue>,
    noted: AtomicU64,
    dropped: AtomicU64,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Queue {
    events: Vec<Event>,
    bytes: usize,
}

impl Audit {
    /// Nothing noted yet; `clock` dates events.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (noted, dropped, wake) = Default::default();
        Self { clock, capacity: CAPACITY, queue: Mutex::default(), noted, dropped, wake }
    }

    /// Keeps so many bytes of events at most until they are taken. For tests.
    pub fn with_capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// Calls `wake` whenever the events that wait take half of their room.
    pub fn wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Notes an event, dated now. Waits for nothing: where there is no room it is dropped and counted.
    pub fn note(&self, mut event: Event) {
        event.at = self.clock.now();
        let size = event.size();
        let half = self.capacity / 2;
        let crossed = {
            let mut queue = self.queue.lock();
            let bytes = queue.bytes + size;
            if bytes > self.capacity {
                drop(queue);
                self.lost(1);
                return;
            }
            let crossed = queue.bytes < half && bytes >= half;
            queue.bytes = bytes;
            queue.events.push(event);
            crossed
        };
        self.noted.fetch_add(1, Ordering::Relaxed);
        if crossed && let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Takes all that waits, in the order in which it was noted.
    pub fn take(&self) -> Vec<Event> {
        mem::take(&mut *self.queue.lock()).events
    }

    /// Counts events that are lost.
    pub fn lost(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    /// How many events were noted.
    pub fn noted(&self) -> u64 {
        self.noted.load(Ordering::Relaxed)
    }

    /// How many events were lost for want of room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What dates events.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("noted", &self.noted()).field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}
