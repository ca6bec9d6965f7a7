//! What was noted, newest first: of this process also what is not in the store yet, of all others what is.
//!
//! Keys tell which times a segment is about, so that a page reads only those that can have something of it. A page costs
//! a bounded number of requests to the store: when it has looked at so much it answers with what it found, and from where
//! to go on.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use roadstead_metadata::Millis;
use roadstead_registry::audit::{Day, Filter, id_at, time_of};
use roadstead_storage::{Location, ObjectKey};
use serde_json::Value;
use uuid::Uuid;

use super::segment::{Segment, day_of, events, prefix, whole};
use super::{AUDIT, AuditLog, in_spool};
use crate::StepError;

/// Keys listed at once.
const LISTED: usize = 1000;
/// Segments that a page reads, and lists that it asks for, before it answers with what it has.
const READS: usize = 256;
const LISTS: usize = 128;
/// Segments read at a time.
const AT_ONCE: usize = 8;
/// How much the clocks of other processes may be ahead.
const AHEAD: Millis = 3_600_000;

/// Some of what was asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AuditPage {
    /// Events, newest first; their fields are told in `docs/audit.md`.
    pub events: Vec<Value>,
    /// Where to go on ([`Filter::before`]); `None` when there is nothing more. A page without events may have one.
    pub next: Option<Uuid>,
}

/// The newest of what is wanted, as far as it was looked at.
struct Found<'a> {
    filter: &'a Filter,
    limit: usize,
    events: BTreeMap<Uuid, Value>,
    /// Whether there was more than fits.
    more: bool,
}

impl Found<'_> {
    fn look(&mut self, lines: &[u8]) {
        for (event, line) in events(lines) {
            if !self.filter.wants(&event) || self.events.contains_key(&event.id) {
                continue;
            }
            let Ok(whole) = serde_json::from_slice(line) else { continue };
            self.events.insert(event.id, whole);
            if self.events.len() > self.limit {
                self.events.pop_first();
                self.more = true;
            }
        }
    }

    /// Whether nothing at this time or before it can be part of the page.
    fn is_full_after(&self, at: Millis) -> bool {
        let oldest = self.events.first_key_value().filter(|_| self.events.len() >= self.limit);
        oldest.is_some_and(|(id, _)| time_of(*id) > at)
    }

    /// The page, when older events may follow.
    fn full(self) -> AuditPage {
        let next = self.events.first_key_value().map(|(id, _)| *id);
        AuditPage { next, events: self.events.into_values().rev().collect() }
    }

    /// The page, when all was looked at.
    fn all(self) -> AuditPage {
        match self.more {
            true => self.full(),
            false => AuditPage { next: None, ..self.full() },
        }
    }

    /// The page, when what is older than this time, or of it, was not all looked at.
    fn until(mut self, at: Millis) -> AuditPage {
        let next = id_at(at.saturating_add(1));
        self.events = self.events.split_off(&next);
        match self.more && self.events.len() >= self.limit {
            true => self.full(),
            false => AuditPage { next: Some(next), ..self.full() },
        }
    }
}

impl AuditLog {
    /// At most `limit` events, newest first.
    pub async fn page(&self, filter: &Filter, limit: usize) -> Result<AuditPage, StepError> {
        let limit = limit.max(1);
        let mut found = Found { filter, limit, events: BTreeMap::new(), more: false };
        self.look_into_spool(&mut found).await?;
        let now = self.registry.clock().now();
        // Times that are asked for, both inclusive.
        let newest = filter.below().map_or(now + AHEAD, time_of).min(now + AHEAD);
        let Some(oldest) = self.oldest_day().await? else { return Ok(found.all()) };
        let oldest = oldest.begins().max(filter.since.unwrap_or(0));
        let (mut reads, mut lists) = (0, 0);
        let mut day = Day::of(newest);
        while day.ends() >= oldest {
            let (mut segments, asked) = self.segments(day).await?;
            lists += asked;
            segments.retain(|(_, segment)| segment.first <= newest && segment.last >= oldest);
            segments.sort_by_key(|(_, segment)| segment.last);
            while !segments.is_empty() {
                let last = segments.last().map_or(0, |(_, segment)| segment.last);
                if found.is_full_after(last) {
                    return Ok(found.full());
                }
                // What reaches to the very end of what is asked for is read in any case, so that the next page is another.
                if reads >= READS && last < newest {
                    return Ok(found.until(last));
                }
                let together = segments.split_off(segments.len().saturating_sub(AT_ONCE));
                reads += together.len();
                self.look_into(together, &mut found).await?;
            }
            day = day.before();
            if found.is_full_after(day.ends()) {
                return Ok(found.full());
            }
            if lists >= LISTS && day.ends() >= oldest {
                return Ok(found.until(day.ends()));
            }
        }
        Ok(found.all())
    }

    /// Looked into before the store: what leaves meanwhile is found there.
    async fn look_into_spool(&self, found: &mut Found<'_>) -> Result<(), StepError> {
        // What cannot be written is told by the worker, and was not noted long ago.
        let _ = self.to_spool().await;
        for object in self.spool.list(AUDIT, None, 10_000).await.map_err(in_spool)? {
            let within = |day: Day| {
                found.filter.since.is_none_or(|since| day.ends() >= since)
                    && found.filter.below().is_none_or(|below| day.begins() <= time_of(below))
            };
            if day_of(&object.key).is_some_and(within)
                && let Some(lines) = whole(&*self.spool, &object.key).await.map_err(in_spool)?
            {
                found.look(&lines);
            }
        }
        Ok(())
    }

    async fn look_into(&self, segments: Vec<(&Location, Segment)>, found: &mut Found<'_>) -> Result<(), StepError> {
        let read = |(location, segment): (&Location, Segment)| {
            let (engine, name) = (location.engine.clone(), location.name.clone());
            async move {
                let lines = whole(&*engine, &segment.key).await;
                lines.map_err(|source| StepError::Storage { location: name, source })
            }
        };
        let reads: Vec<_> = segments.into_iter().map(read).collect();
        let mut reads = stream::iter(reads).buffered(AT_ONCE);
        while let Some(lines) = reads.try_next().await? {
            // One that is gone was too old to be kept.
            found.look(&lines.unwrap_or_default());
        }
        Ok(())
    }

    /// The segments of a day, of all processes, and how many lists that took.
    async fn segments(&self, day: Day) -> Result<(Vec<(&Location, Segment)>, usize), StepError> {
        let (mut segments, mut asked) = (Vec::new(), 0);
        for location in self.registry.locations().iter() {
            let wrong = |source| StepError::Storage { location: location.name.clone(), source };
            let mut after: Option<ObjectKey> = None;
            loop {
                let listed = location.engine.list(&prefix(day), after.as_ref(), LISTED).await.map_err(wrong)?;
                asked += 1;
                let full = listed.len() == LISTED;
                after = listed.last().map(|object| object.key.clone());
                segments.extend(listed.into_iter().filter_map(|object| Some((location, Segment::read(object.key)?))));
                if !full {
                    break;
                }
            }
        }
        Ok((segments, asked))
    }

    /// The first day of which something is kept.
    async fn oldest_day(&self) -> Result<Option<Day>, StepError> {
        let mut oldest: Option<Day> = None;
        for location in self.registry.locations().iter() {
            let wrong = |source| StepError::Storage { location: location.name.clone(), source };
            let first = location.engine.list(AUDIT, None, 1).await.map_err(wrong)?;
            let day = first.first().and_then(|object| day_of(&object.key));
            oldest = [oldest, day].into_iter().flatten().min();
        }
        Ok(oldest)
    }
}
