//! A look at one object, and a second one before it is called bad.
//!
//! What is not there is looked for again a while later: a filesystem that is mounted beneath the root of a store may be
//! away for a moment while the root says all the time that it is ours.

use std::ops::Range;
use std::time::Duration;

use futures::StreamExt;
use roadstead_metadata::records::damage::Kind;
use roadstead_metadata::records::placement::Placement;
use roadstead_metadata::records::scrub::Hashing;
use roadstead_oci::Hasher;
use roadstead_storage::{Error, ErrorKind, Identity, Location, ObjectKey, Version};
use tokio::time::sleep;

use super::turn::Turn;
use crate::StepError;

/// How long after a first look it is looked again for what was not there.
const PAUSE: Duration = Duration::from_secs(3);

/// How an object looks.
#[derive(Debug)]
pub(super) enum Seen {
    /// As its blob: by its size, and, in a deep look, by its bytes.
    Whole,
    /// Not as its blob, on two looks at a store that is there and ours.
    Bad(Kind),
    /// Missing, or of another size, on one look at a store that is there and ours: see [`gone`].
    Gone(Kind),
    /// The step is over before its end, or other bytes came to stand there during the look.
    Partly(Hashing),
}

enum Once {
    Whole,
    Bad(Kind),
    Partly(Box<Reading>),
    Changed,
}

/// What was read of an object: only bytes of one version of it make a hash.
struct Reading {
    hasher: Hasher,
    /// `None` until the object was seen.
    of: Option<Option<Version>>,
}

impl Reading {
    fn fresh(copy: &Placement) -> Self {
        Self { hasher: Hasher::new(copy.digest.algorithm()), of: None }
    }

    /// The version, with its length before it, and the hash.
    fn save(&self) -> Vec<u8> {
        let parts = self.of.flatten().map_or(Vec::new(), |version| version.parts().to_vec());
        let version: Vec<u8> = parts.into_iter().flat_map(u64::to_be_bytes).collect();
        [vec![version.len() as u8], version, self.hasher.save()].concat()
    }

    /// `None` for a state that this version cannot read, which is no loss: the object is read from its beginning.
    fn restore(saved: &[u8], copy: &Placement) -> Option<Self> {
        let (length, rest) = saved.split_first()?;
        let (version, hash) = rest.split_at_checked(usize::from(*length))?;
        let (parts, _) = version.as_chunks::<8>();
        let version = <[u64; 4]>::try_from(parts.iter().map(|part| u64::from_be_bytes(*part)).collect::<Vec<_>>());
        let of = Some(version.ok().map(Version::new));
        let fits = |hasher: &Hasher| hasher.algorithm() == copy.digest.algorithm() && hasher.length() <= copy.size;
        Hasher::restore(hash).filter(fits).map(|hasher| Self { hasher, of })
    }
}

/// Looks at the object of `copy`, going on where `begun` ended.
pub(super) async fn look(
    location: &Location,
    copy: &Placement,
    deep: bool,
    begun: Option<Hashing>,
    turn: &mut Turn<'_>,
) -> Result<Seen, StepError> {
    let begun = begun.filter(|begun| begun.object_key == copy.object_key);
    let mut again = begun.as_ref().is_some_and(|begun| begun.again);
    let restored = begun.and_then(|begun| Reading::restore(&begun.state, copy));
    let mut reading = restored.unwrap_or_else(|| Reading::fresh(copy));
    loop {
        let partly = |again, state| Seen::Partly(Hashing { object_key: copy.object_key.clone(), again, state });
        let (kind, trouble) = match once(location, copy, deep, reading, turn).await {
            Ok(Once::Whole) => return Ok(Seen::Whole),
            Ok(Once::Partly(reading)) => return Ok(partly(again, reading.save())),
            // Somebody puts a file back: nothing that was seen counts.
            Ok(Once::Changed) => return Ok(partly(false, Vec::new())),
            Ok(Once::Bad(kind)) => (kind, None),
            Err(error) => (Kind::Unreadable, Some(error)),
        };
        confirm(location).await?;
        if let Kind::Missing | Kind::WrongSize = kind {
            return Ok(Seen::Gone(kind));
        }
        if again {
            if let Some(error) = trouble {
                tracing::warn!(location = location.name, key = copy.object_key, %error, "object cannot be read");
            }
            return Ok(Seen::Bad(kind));
        }
        (again, reading) = (true, Reading::fresh(copy));
    }
}

async fn once(
    location: &Location,
    copy: &Placement,
    deep: bool,
    mut reading: Reading,
    turn: &mut Turn<'_>,
) -> Result<Once, Error> {
    let key = ObjectKey::new(copy.object_key.as_str())?;
    let version = match stat(location, copy).await? {
        Ok(version) => version,
        Err(kind) => return Ok(Once::Bad(kind)),
    };
    if !deep {
        return Ok(Once::Whole);
    }
    if *reading.of.get_or_insert(version) != version {
        return Ok(Once::Changed);
    }
    let mut hasher = reading.hasher;
    while hasher.length() < copy.size {
        // A step that has read something may end; one that has not would never come to an end.
        if turn.over() && turn.bytes > 0 {
            return Ok(Once::Partly(Box::new(Reading { hasher, of: reading.of })));
        }
        let from = hasher.length();
        let to = from + turn.slice(copy.size - from).await;
        if let Err(error) = read(location, &key, from..to, &mut hasher).await {
            return match error.kind() {
                ErrorKind::NotFound => Ok(Once::Bad(Kind::Missing)),
                ErrorKind::InvalidRange => Ok(Once::Bad(Kind::WrongSize)),
                ErrorKind::Corrupt => Ok(Once::Bad(Kind::WrongHash)),
                _ => Err(error),
            };
        }
        turn.bytes += hasher.length() - from;
    }
    if hasher.finish() == copy.digest {
        return Ok(Once::Whole);
    }
    Ok(if stat(location, copy).await? == Ok(version) { Once::Bad(Kind::WrongHash) } else { Once::Changed })
}

/// The version of an object that is there and of the right size, or what is wrong with it.
pub(super) async fn stat(location: &Location, copy: &Placement) -> Result<Result<Option<Version>, Kind>, Error> {
    match location.engine.stat(&ObjectKey::new(copy.object_key.as_str())?).await {
        Ok(found) if found.size != copy.size => Ok(Err(Kind::WrongSize)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Err(Kind::Missing)),
        found => Ok(Ok(found?.version)),
    }
}

/// Looks once more, a while later, for objects that were not there or of another size: what is still wrong with each.
/// Fails when that is more than `most`: so many at once are a part of the store that is away.
pub(super) async fn gone(
    location: &Location,
    copies: &[&Placement],
    most: usize,
) -> Result<Vec<Option<Kind>>, StepError> {
    sleep(PAUSE).await;
    let mut kinds = Vec::new();
    for copy in copies {
        // What cannot be told is looked at anew.
        kinds.push(stat(location, copy).await.map_or(None, Result::err));
    }
    confirm(location).await?;
    let still = kinds.iter().flatten().count();
    if still <= most {
        return Ok(kinds);
    }
    let text = format!(
        "more than {most} objects are missing at once, as if a part of the store were away, and none is recorded: bring \
         it back, or run `roadstead scrub` if they are really gone"
    );
    let source = Error::new(ErrorKind::Unavailable, text);
    Err(StepError::Storage { location: location.name.clone(), source })
}

async fn read(location: &Location, key: &ObjectKey, range: Range<u64>, hasher: &mut Hasher) -> Result<(), Error> {
    let end = range.end;
    let mut body = location.engine.read(key, Some(range)).await?.body;
    while let Some(chunk) = body.next().await {
        hasher.update(&chunk?);
    }
    if hasher.length() == end { Ok(()) } else { Err(Error::too_short(key, hasher.length(), end)) }
}

/// Fails unless the store is there and ours: on an unmounted filesystem everything is missing, and in the store of
/// another installation nothing is known.
pub(super) async fn confirm(location: &Location) -> Result<(), StepError> {
    let wrong = |source| StepError::Storage { location: location.name.clone(), source };
    let mut probed = location.engine.probe().await;
    // Health may be at it just now, and a store is probed by one at a time.
    if probed.as_ref().is_err_and(Error::retryable) {
        sleep(Duration::from_millis(100)).await;
        probed = location.engine.probe().await;
    }
    match probed {
        // It says who it is all the same, and a filesystem that was damaged is often made read-only.
        Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::ReadOnly) => {}
        probed => probed.map_err(wrong)?,
    }
    match Identity::found(&*location.engine).await.map_err(wrong)? {
        Some(found) if found.location == location.id => Ok(()),
        found => {
            let found = found.map_or("none that can be read".to_owned(), |found| found.location.to_string());
            let text = format!("the store should be location {}, its identity is {found}", location.id);
            Err(wrong(Error::new(ErrorKind::Foreign, text)))
        }
    }
}
