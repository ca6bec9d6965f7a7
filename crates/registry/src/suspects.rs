//! Copies that a pull found not to be what they should be, until scrub has looked at them.
//!
//! Only a hint, so it stays in memory and is bounded: what is lost here the next pass of scrub finds by itself. A pull
//! judges nothing and writes nothing; what it met is settled by a worker that looks twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use parking_lot::Mutex;
use roadstead_oci::Digest;
use uuid::Uuid;

/// Copies remembered at most; more at once is an outage of a store and not damage.
const MOST: usize = 1024;

/// A copy that may be damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Where it is.
    pub location: Uuid,
    /// Its key there.
    pub object_key: String,
    /// The blob that it should be.
    pub digest: Digest,
}

/// The copies that nobody has looked at yet, each once.
#[derive(Default)]
pub struct Suspects {
    noted: Mutex<BTreeMap<(Uuid, String), Digest>>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Suspects {
    /// Calls `wake` whenever a copy is noted that was not. Only the first call counts.
    pub fn wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Notes a copy.
    pub fn note(&self, suspect: Suspect) {
        {
            let mut noted = self.noted.lock();
            let key = (suspect.location, suspect.object_key);
            if noted.len() >= MOST || noted.insert(key, suspect.digest).is_some() {
                return;
            }
        }
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Takes at most `limit` of them: they are the caller's to look at.
    pub fn take(&self, limit: usize) -> Vec<Suspect> {
        let mut noted = self.noted.lock();
        let taken = std::iter::from_fn(|| noted.pop_first()).take(limit);
        taken.map(|((location, object_key), digest)| Suspect { location, object_key, digest }).collect()
    }
}

impl fmt::Debug for Suspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspects").field("noted", &self.noted.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use roadstead_oci::Algorithm;

    use super::*;

    #[test]
    fn each_copy_is_noted_once_and_only_so_many() {
        let (suspects, woken) = (Suspects::default(), Arc::new(AtomicUsize::new(0)));
        let counted = woken.clone();
        suspects.wake(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let suspect = |number: usize| Suspect {
            location: Uuid::from_u128(1),
            object_key: format!("key-{number:05}"),
            digest: Digest::of(Algorithm::Sha256, b"x"),
        };
        for number in 0..2 * MOST {
            suspects.note(suspect(number));
            suspects.note(suspect(number));
        }
        assert_eq!(woken.load(Ordering::Relaxed), MOST);
        assert_eq!(suspects.take(2), [suspect(0), suspect(1)]);
        assert_eq!(suspects.take(2 * MOST).len(), MOST - 2);
        assert_eq!(suspects.take(1), []);
        suspects.note(suspect(0));
        assert_eq!(suspects.take(1), [suspect(0)]);
    }
}
