//! Segments: some events of one process on one day, and the keys that tell which.

use futures::TryStreamExt as _;
use roadstead_metadata::Millis;
use roadstead_registry::audit::{Day, Told};
use roadstead_storage::{Engine, Error, ErrorKind, ObjectKey};

use super::AUDIT;

/// A segment of the store, as its key tells: `audit/<day>/<instance>/<number>-<first>-<last>`, with the times of its
/// first and last event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) key: ObjectKey,
    pub(super) day: Day,
    pub(super) first: Millis,
    pub(super) last: Millis,
}

/// All keys of this day begin so.
pub(super) fn prefix(day: Day) -> String {
    format!("{AUDIT}{day}/")
}

/// The day of a segment, of the store or of a spool.
pub(super) fn day_of(key: &ObjectKey) -> Option<Day> {
    key.as_str().strip_prefix(AUDIT)?.split('/').next()?.parse().ok()
}

impl Segment {
    /// Reads a key; `None` for one that is not of the registry's making.
    pub(super) fn read(key: ObjectKey) -> Option<Self> {
        let day = day_of(&key)?;
        let (_, name) = key.as_str().rsplit_once('/')?;
        let mut parts = name.split('-').skip(1).map(|part| part.parse::<Millis>());
        let (Some(Ok(first)), Some(Ok(last)), None) = (parts.next(), parts.next(), parts.next()) else { return None };
        Some(Self { key, day, first, last })
    }

    /// What the segment `key` of a spool is called in the store: by what its `lines` tell. `None` when they tell nothing.
    pub(super) fn of(key: &ObjectKey, lines: &[u8]) -> Option<Self> {
        let times = || events(lines).map(|(event, _)| event.at);
        let (first, last, day) = (times().min()?, times().max()?, day_of(key)?);
        let key = ObjectKey::new(format!("{key}-{first:013}-{last:013}")).ok()?;
        Some(Self { key, day, first, last })
    }
}

/// The events of a segment, and their lines. A line that is none is passed over: a crash may leave half of one.
pub(super) fn events(lines: &[u8]) -> impl Iterator<Item = (Told<'_>, &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| Some((Told::read(line)?, line)))
}

/// All of an object; `None` when there is none.
pub(super) async fn whole(engine: &dyn Engine, key: &ObjectKey) -> Result<Option<Vec<u8>>, Error> {
    let read = match engine.read(key, None).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let mut body = read.body;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}
