//! Keeping who did what.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Size, Span};

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Audit {
    /// Whether logins, pulls, pushes, deletions and changes of access are kept, as `audit/` objects of the storage.
    pub enabled: bool,
    /// How long they are kept, in whole days after the day on which they happened; at least `1d`.
    pub retention: Span,
    /// How long they wait on this machine, at most, before they go to the storage, where all instances see them. A shorter
    /// time makes more objects.
    pub interval: Span,
    /// How many bytes of them may wait on this machine while the storage takes none; at least `1MiB`. When it is full, new
    /// ones are dropped, and how many is kept.
    pub spool_size: Size,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            enabled: true,
            retention: Span::seconds(90 * 86_400),
            interval: Span::seconds(30),
            spool_size: Size::mebibytes(64),
        }
    }
}

/// The same, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// For how long.
    pub retention: Duration,
    /// From when they are noted to when they go to the storage, at most.
    pub interval: Duration,
    /// Bytes that may wait.
    pub spool: u64,
}

impl super::settings::Check<'_> {
    /// `None`: nothing is kept.
    pub(super) fn audit(&mut self, audit: &Audit) -> Option<Kept> {
        let retention = self.span("audit.retention", audit.retention, 86_400, 100 * 365 * 86_400);
        let interval = self.span("audit.interval", audit.interval, 1, 86_400);
        let spool = audit.spool_size.bytes();
        if spool < 1 << 20 {
            self.error("audit.spool_size", "must be at least 1MiB".into());
        }
        audit.enabled.then_some(Kept { retention, interval, spool })
    }
}
