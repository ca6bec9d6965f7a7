//! A look at one object, and a second one before it is called bad.

use std::ops::Range;
use std::time::Duration;

use futures::StreamExt;
use roadstead_metadata::records::damage::Kind;
use roadstead_metadata::records::placement::Placement;
use roadstead_metadata::records::scrub::Hashing;
use roadstead_oci::Hasher;
use roadstead_storage::{Error, ErrorKind, Identity, Location, ObjectKey};
use tokio::time::sleep;

use super::turn::Turn;
use crate::StepError;

/// How an object looks.
#[derive(Debug)]
pub(super) enum Seen {
    /// As its blob: by its size, and, in a deep look, by its bytes.
    Whole,
    /// Not as its blob, on two looks at a store that is there and ours.
    Bad(Kind),
    /// The step is over before its end.
    Partly(Hashing),
}

enum Once {
    Whole,
    Bad(Kind),
    Partly(Box<Hasher>),
}

/// Looks at the object of `copy`, going on where `begun` ended.
pub(super) async fn look(
    location: &Location,
    copy: &Placement,
    deep: bool,
    begun: Option<Hashing>,
    turn: &mut Turn<'_>,
) -> Result<Seen, StepError> {
    let fresh = || Hasher::new(copy.digest.algorithm());
    let begun = begun.filter(|begun| begun.object_key == copy.object_key);
    let mut again = begun.as_ref().is_some_and(|begun| begun.again);
    // A state that this version cannot read is no loss: the object is read from its beginning.
    let restored = begun.and_then(|begun| Hasher::restore(&begun.state));
    let fits = |hasher: &Hasher| hasher.algorithm() == copy.digest.algorithm() && hasher.length() <= copy.size;
    let mut hasher = restored.filter(fits).unwrap_or_else(fresh);
    loop {
        let (kind, trouble) = match once(location, copy, deep, hasher, turn).await {
            Ok(Once::Whole) => return Ok(Seen::Whole),
            Ok(Once::Partly(hasher)) => {
                let (object_key, state) = (copy.object_key.clone(), hasher.save());
                return Ok(Seen::Partly(Hashing { object_key, again, state }));
            }
            Ok(Once::Bad(kind)) => (kind, None),
            Err(error) => (Kind::Unreadable, Some(error)),
        };
        confirm(location).await?;
        if again {
            if let Some(error) = trouble {
                tracing::warn!(location = location.name, key = copy.object_key, %error, "object cannot be read");
            }
            return Ok(Seen::Bad(kind));
        }
        (again, hasher) = (true, fresh());
    }
}

async fn once(
    location: &Location,
    copy: &Placement,
    deep: bool,
    mut hasher: Hasher,
    turn: &mut Turn<'_>,
) -> Result<Once, Error> {
    let key = ObjectKey::new(copy.object_key.as_str())?;
    match location.engine.stat(&key).await {
        Ok(found) if found.size != copy.size => return Ok(Once::Bad(Kind::WrongSize)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Once::Bad(Kind::Missing)),
        found => found?,
    };
    if !deep {
        return Ok(Once::Whole);
    }
    while hasher.length() < copy.size {
        // A step that has read something may end; one that has not would never come to an end.
        if turn.over() && turn.bytes > 0 {
            return Ok(Once::Partly(Box::new(hasher)));
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
    Ok(if hasher.finish() == copy.digest { Once::Whole } else { Once::Bad(Kind::WrongHash) })
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
        // It says who it is all the same.
        Err(error) if error.kind() == ErrorKind::Full => {}
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
