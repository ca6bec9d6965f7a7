//! From memory to the spool. Each second, so that a process that is killed loses no more than that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use roadstead_registry::audit::{Actor, AuditAction, AuditOutcome, Day, Event, Lines};
use roadstead_storage::{Error, ErrorKind, ObjectKey, Writer};

use super::segment::prefix;
use super::{AuditLog, in_spool};
use crate::{Progress, StepError, Worker};

/// A segment of this many bytes is full.
const FULL: u64 = 1 << 20;
/// Bytes written at once.
const BATCH: usize = 256 << 10;

/// What is on its way into the spool.
pub(super) struct Spooling {
    pub(super) lines: Lines,
    /// Taken from memory and not yet written: a step that fails or is broken off loses none of it.
    pub(super) batches: VecDeque<Batch>,
    /// Lost events that were told.
    pub(super) told: u64,
    /// The number of the next segment.
    pub(super) next: u64,
    pub(super) open: Option<Open>,
}

/// Lines of one day.
pub(super) struct Batch {
    day: Day,
    lines: Vec<u8>,
    events: u64,
    /// Lost events that one of them tells.
    tells: u64,
}

/// A segment that grows.
pub(super) struct Open {
    day: Day,
    writer: Box<dyn Writer>,
    size: u64,
    /// When it began, on the monotonic clock.
    since: Duration,
    /// Whether a write or a sync may have ended half-way: nobody knows then where the next line would begin.
    torn: bool,
}

impl Spooling {
    /// Makes lines of events.
    fn add(&mut self, events: Vec<Event>) {
        for event in Lines::gather(events) {
            let (day, number) = (Day::of(event.at()), event.count.unwrap_or(1));
            let (events, tells) = if event.action == AuditAction::Dropped { (0, number) } else { (number, 0) };
            if !self.batches.back().is_some_and(|batch| batch.day == day && batch.lines.len() < BATCH) {
                self.batches.push_back(Batch { day, lines: Vec::new(), events: 0, tells: 0 });
            }
            if let Some(batch) = self.batches.back_mut() {
                self.lines.write(&event, &mut batch.lines);
                (batch.events, batch.tells) = (batch.events + events, batch.tells + tells);
            }
        }
    }
}

impl AuditLog {
    /// Writes what was noted to the spool; how many bytes. What fails is tried again, with what comes meanwhile.
    pub(super) async fn to_spool(&self) -> Result<u64, StepError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if state.batches.is_empty() {
            let mut events = self.audit.take();
            if let Some(dropped) = self.untold(state.told) {
                events.push(dropped);
            }
            state.add(events);
        }
        let mut written = 0;
        while let Some(batch) = state.batches.front() {
            let size = batch.lines.len() as u64;
            if self.waiting() + size > self.options.spool {
                self.audit.lost(batch.events);
            } else {
                let (day, lines) = (batch.day, Bytes::copy_from_slice(&batch.lines));
                self.write(state, day, lines).await?;
                written += size;
                state.told += state.batches.front().map_or(0, |batch| batch.tells);
            }
            state.batches.pop_front();
        }
        if written > 0 {
            self.sync(state).await?;
        }
        Ok(written)
    }

    /// An event that tells how many were lost since that was told last, if there is room for it.
    fn untold(&self, told: u64) -> Option<Event> {
        let lost = self.audit.dropped().saturating_sub(told);
        let room = self.waiting() + (BATCH as u64) < self.options.spool;
        (lost > 0 && room).then(|| {
            let mut event = Event::new(AuditAction::Dropped, AuditOutcome::Failed, Actor::System);
            event.count = Some(lost);
            event.dated(self.registry.clock().now())
        })
    }

    async fn write(&self, state: &mut Spooling, day: Day, lines: Bytes) -> Result<(), StepError> {
        let fits = |open: &Open| !open.torn && open.day == day && open.size < FULL;
        if !state.open.as_ref().is_some_and(fits) {
            self.close(state).await?;
            self.begin(state, day).await?;
        }
        let Some(open) = &mut state.open else { return Ok(()) };
        let size = lines.len() as u64;
        open.torn = true;
        open.size += size;
        self.spooled.fetch_add(size, Ordering::Relaxed);
        open.writer.write(vec![lines]).await.map_err(in_spool)?;
        open.torn = false;
        Ok(())
    }

    async fn begin(&self, state: &mut Spooling, day: Day) -> Result<(), StepError> {
        let number = state.next;
        state.next += 1;
        let key = ObjectKey::new(format!("{}{}/{number:08}", prefix(day), self.instance)).map_err(in_spool)?;
        let extend = self.spool.extend().ok_or_else(|| {
            in_spool(Error::new(ErrorKind::Other, format!("{} extends no objects", self.spool.kind())))
        })?;
        // Before there is such an object, so that the uploader never takes it for one that is whole.
        *self.open.lock() = Some(key.clone());
        let writer = extend.append(&key, 0).await.map_err(in_spool)?;
        let since = self.registry.clock().monotonic();
        state.open = Some(Open { day, writer, size: 0, since, torn: false });
        Ok(())
    }

    async fn sync(&self, state: &mut Spooling) -> Result<(), StepError> {
        let Some(open) = &mut state.open else { return Ok(()) };
        open.torn = true;
        open.writer.sync().await.map_err(in_spool)?;
        open.torn = false;
        Ok(())
    }

    /// The open segment is the uploader's from now on.
    async fn close(&self, state: &mut Spooling) -> Result<(), StepError> {
        let Some(open) = state.open.take() else { return Ok(()) };
        // What is whole of one that is torn is taken as a crash would have left it.
        let closed = if open.torn { Ok(()) } else { open.writer.finish().await.map(drop) };
        *self.open.lock() = None;
        closed.map_err(in_spool)
    }

    /// Gives the open segment to the uploader, however young it is.
    pub(super) async fn seal(&self) -> Result<(), StepError> {
        let mut state = self.state.lock().await;
        self.close(&mut state).await
    }

    /// Gives the open segment to the uploader when it is full or old.
    async fn seal_what_is_due(&self) -> Result<(), StepError> {
        let mut state = self.state.lock().await;
        let now = self.registry.clock().monotonic();
        let due =
            |open: &Open| open.torn || open.size >= FULL || now.saturating_sub(open.since) >= self.options.interval;
        match state.open.as_ref().is_some_and(due) {
            true => self.close(&mut state).await,
            false => Ok(()),
        }
    }
}

/// Writes what was noted to the spool.
#[derive(Debug)]
pub struct AuditSpool(Arc<AuditLog>);

impl AuditSpool {
    /// The worker of `log`.
    pub fn new(log: Arc<AuditLog>) -> Self {
        Self(log)
    }
}

#[async_trait]
impl Worker for AuditSpool {
    fn name(&self) -> &'static str {
        "audit_spool"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn step(&self) -> Result<Progress, StepError> {
        let bytes = self.0.to_spool().await?;
        self.0.seal_what_is_due().await?;
        Ok(Progress { done: u64::from(bytes > 0), bytes, ..Progress::IDLE })
    }
}
