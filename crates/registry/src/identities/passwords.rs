//! Passwords: argon2id, a few at a time, on threads that may be blocked. Of those who come meanwhile some wait and the others
//! are refused: however many come, nobody waits long, and what waits takes little memory. What sources hash has turns and
//! places of its own: it may be many times as slow, and users of the registry's own shall not wait for it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::{IdentityError, Outcome};
use crate::Error;

/// How long a password may be, in characters.
pub const PASSWORD_CHARACTERS: RangeInclusive<usize> = 8..=128;

/// Memory in KiB, passes and lanes: what OWASP recommends at least for argon2id.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Hashes computed at once: each takes 19 MiB and some 20 ms of a core.
const AT_ONCE: usize = 2;
/// At most so many wait for their turn: the last of them well below a second.
const WAITING: usize = 64;
/// The hash of nobody's password, at the same cost: who is not there is told so as late as who is.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cm9hZHN0ZWFkLW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Some run and some wait.
#[derive(Debug)]
struct Queue {
    turns: Arc<Semaphore>,
    places: Semaphore,
}

impl Default for Queue {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), places: Semaphore::new(WAITING) }
    }
}

/// Hashes and verifies passwords.
#[derive(Debug, Default)]
pub struct Passwords {
    own: Queue,
    /// Of sources.
    others: Queue,
    /// How many hashes were computed so far.
    computed: Arc<AtomicU64>,
}

impl Passwords {
    /// The hash of a new password, in PHC form; `Invalid` when it is too short or too long, [`Error::Contended`] when too
    /// many wait already.
    pub async fn hash(&self, password: &str) -> Outcome<String> {
        Self::check(password)?;
        let password = password.to_owned();
        self.in_turn(&self.own, move || {
            let salt: [u8; 16] = rand::random();
            let hash: PasswordHash = argon2()?.hash_password_with_salt(password.as_bytes(), &salt).map_err(fault)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether a password can be one: `Invalid` when it is too short or too long.
    pub(super) fn check(password: &str) -> Outcome<()> {
        let (least, most) = (PASSWORD_CHARACTERS.start(), PASSWORD_CHARACTERS.end());
        match PASSWORD_CHARACTERS.contains(&password.chars().count()) {
            true => Ok(()),
            false => Err(IdentityError::Invalid(format!("a password has {least} to {most} characters"))),
        }
    }

    /// Whether a password is the one of this hash; without a hash it is not, after the same time. [`Error::Contended`] when
    /// too many wait already.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Outcome<bool> {
        // No password is longer, and hashing whatever is sent takes time.
        let password: String = password.chars().take(PASSWORD_CHARACTERS.end() + 1).collect();
        let (known, hash) = (hash.is_some(), hash.unwrap_or(NOBODY).to_owned());
        self.in_turn(&self.own, move || {
            let hash = PasswordHash::new(&hash).map_err(fault)?;
            let matches = argon2()?.verify_password(password.as_bytes(), &hash).is_ok();
            Ok(matches && known)
        })
        .await
    }

    /// Does the slow work of a source, as many at once and waiting as of what is hashed here, and beside that.
    /// [`Error::Contended`] when too many wait already.
    pub async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
        self.in_turn(&self.others, || Ok(work())).await
    }

    /// How many hashes were computed so far, of passwords that were right, wrong or new.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        queue: &Queue,
        work: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let place = queue.places.try_acquire().map_err(|_| Error::Contended)?;
        let turn = queue.turns.clone().acquire_owned().await.map_err(fault)?;
        drop(place);
        // The work goes on when whoever asked for it has gone, and so does its turn.
        let computed = self.computed.clone();
        let work = move || {
            let _turn = turn;
            computed.fetch_add(1, Ordering::Relaxed);
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(fault)?
    }
}

fn argon2() -> Outcome<Argon2<'static>> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(fault)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn fault(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Registry(Error::Internal(format!("password hashing: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap(), "salted");
        assert!(passwords.verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("correct horsf", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("", None).await.unwrap());
        // The hash of nobody is well formed, and costs what others cost.
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(Params::try_from(&nobody).unwrap().m_cost(), COST.0);
    }

    #[tokio::test]
    async fn no_more_run_at_once_though_those_who_asked_have_gone() {
        let passwords = Passwords::default();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        for _ in 0..AT_ONCE {
            let wait = wait.clone();
            let work = async {
                passwords
                    .in_turn(&passwords.own, move || {
                        let _ = wait.lock().unwrap().recv();
                        Ok(())
                    })
                    .await
            };
            // Begun and given up.
            assert!(futures::poll!(Box::pin(work)).is_pending());
        }
        let mut next = Box::pin(passwords.in_turn(&passwords.own, || Ok(())));
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(passwords.own.turns.available_permits(), 0);
        drop(release);
        next.await.unwrap();
    }

    #[tokio::test]
    async fn of_a_flood_some_wait_and_the_others_are_told_to_come_again() {
        let passwords = Passwords::default();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let work = |wait: Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>| {
            Box::pin(passwords.in_turn(&passwords.own, move || {
                let _ = wait.lock().unwrap().recv();
                Ok(())
            }))
        };
        let mut begun: Vec<_> = (0..AT_ONCE + WAITING).map(|_| work(wait.clone())).collect();
        for one in &mut begun {
            assert!(futures::poll!(one).is_pending());
        }
        for _ in 0..2 {
            let refused = futures::poll!(Box::pin(passwords.verify("correct horse", None)));
            assert!(matches!(refused, Poll::Ready(Err(IdentityError::Registry(Error::Contended)))), "{refused:?}");
        }
        // Who gives up makes room.
        begun.pop();
        let mut next = work(wait.clone());
        assert!(futures::poll!(&mut next).is_pending());
        drop(release);
        for one in begun {
            one.await.unwrap();
        }
        next.await.unwrap();
        assert_eq!(passwords.own.places.available_permits(), WAITING);
    }

    #[tokio::test]
    async fn short_and_long_ones_are_refused() {
        let passwords = Passwords::default();
        for bad in ["1234567", &"x".repeat(129), ""] {
            let refused = passwords.hash(bad).await.unwrap_err().to_string();
            assert_eq!(refused, "a password has 8 to 128 characters");
        }
        let longest = "ä".repeat(128);
        let hash = passwords.hash(&longest).await.unwrap();
        assert!(passwords.verify(&longest, Some(&hash)).await.unwrap());
        assert!(!passwords.verify(&format!("{longest}x"), Some(&hash)).await.unwrap());
    }
}
