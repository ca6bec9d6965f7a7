//! Who logged in a moment ago: a client that sends its password with every request shall not cost a slow hash each time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use roadstead_registry::{Caller, Clock};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

/// How long a password is known without being hashed. That it does not hold any more is known sooner: by its epoch.
const LIFE: Duration = Duration::from_secs(60);
/// So long one waits for another who shows the same; then it is looked at beside that, whatever holds it up.
const WAITED_FOR: Duration = Duration::from_secs(5);
/// How many are known.
const ENTRIES: usize = 4_096;

/// What somebody showed, as nobody can read it back: hashed with a secret of this process.
pub(super) type Shown = [u8; 32];

/// Those who logged in.
pub(super) struct Remembered {
    clock: Arc<dyn Clock>,
    secret: [u8; 32],
    known: Cache<Shown, (Caller, Duration)>,
    /// Of what is looked at, and was of late.
    turns: Cache<Shown, Arc<Mutex<()>>>,
}

impl Remembered {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let secret = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
        let secret = Sha256::digest(secret).into();
        Self { clock, secret, known: Cache::new(ENTRIES), turns: Cache::new(ENTRIES) }
    }

    /// A secret with a name, or without one: a name that is empty is a wrong one.
    pub(super) fn shown(&self, name: Option<&str>, secret: &str) -> Shown {
        let length = name.map_or(u64::MAX, |name| name.len() as u64);
        let hash = Sha256::new().chain_update(self.secret).chain_update(length.to_le_bytes());
        hash.chain_update(name.unwrap_or_default()).chain_update(secret).finalize().into()
    }

    /// Whose it is. Who comes back in time is known for as long again.
    pub(super) fn find(&self, shown: &Shown) -> Option<Caller> {
        let (caller, until) = self.known.get(shown)?;
        let now = self.clock.monotonic();
        if now >= until {
            return None;
        }
        // Not with each request: a write for every read would cost more than it saves.
        if until - now < LIFE / 2 {
            self.keep(*shown, &caller);
        }
        Some(caller)
    }

    /// The turn to look at what was shown. Whoever waited for it looks first whether it is known by now: many who come at once
    /// with one password are one try at it.
    pub(super) async fn turn(&self, shown: &Shown) -> Option<OwnedMutexGuard<()>> {
        let turn = match self.turns.get_or_insert_with(shown, || Ok::<_, Infallible>(Arc::default())) {
            Ok(turn) => turn,
            Err(never) => match never {},
        };
        timeout(WAITED_FOR, turn.lock_owned()).await.ok()
    }

    pub(super) fn forget(&self, shown: &Shown) {
        self.known.remove(shown);
    }

    pub(super) fn keep(&self, shown: Shown, caller: &Caller) {
        self.known.insert(shown, (caller.clone(), self.clock.monotonic() + LIFE));
    }
}

/// Without the secret.
impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").field("entries", &self.known.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::auth::testing::ManualClock;

    use super::*;

    #[test]
    fn what_was_shown_is_known_for_a_minute() {
        let clock = Arc::new(ManualClock::default());
        let known = Remembered::new(clock.clone());
        let shown = known.shown(Some("alice"), "secret");
        assert!(known.find(&shown).is_none());
        known.keep(shown, &Caller::Operator);
        assert_eq!(known.find(&known.shown(Some("alice"), "secret")), Some(Caller::Operator));
        for (name, secret) in [("alice", "secres"), ("alic", "esecret"), ("alices", "ecret"), ("", "alicesecret")] {
            assert!(known.find(&known.shown(Some(name), secret)).is_none(), "{name} {secret}");
        }
        assert_ne!(known.shown(None, "token"), known.shown(Some(""), "token"));
        // Who comes back is known on.
        for _ in 0..10 {
            clock.advance(LIFE - Duration::from_secs(1));
            assert!(known.find(&shown).is_some());
        }
        clock.advance(LIFE);
        assert!(known.find(&shown).is_none());
        // Another process hashes it to something else.
        assert_ne!(Remembered::new(clock).shown(Some("alice"), "secret"), shown);
    }
}
