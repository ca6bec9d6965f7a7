//! The keys that sign bearer tokens: in metadata, so that every instance signs with the newest and knows those of the others.
//!
//! A new key is first made known and only then used, and an old one is known until its last token has ended: so a rotation
//! fails no request, unless it is to end stolen keys at once. For that what tokens are signed and verified by is as new as a
//! second. Without metadata the keys that were read last go on.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::{Mutex, RwLock};
use roadstead_metadata::records::signing_key::{self, SigningKey};
use roadstead_metadata::{Batch, CommitError, Millis, QueryError, Sql, Statement, commit_once};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, timeout};
use uuid::Uuid;

use super::token::LIFE;
use crate::Clock;
use crate::clock::new_id;
use crate::commit::{PATIENCE, ROUNDS};

/// How often instances look for new keys.
const LOOKED_FOR: Duration = Duration::from_secs(10);
/// From the making of a key to its first use: every instance has looked by then, one that missed a look, too.
const MADE_KNOWN: Millis = 30_000;
/// How soon keys are looked for again because of a token that names an unknown one, which anybody can send.
const AT_LEAST_BETWEEN: Duration = Duration::from_millis(100);
/// For how long those that were read count as all there are: a key that was ended is refused within a second.
const FRESH: Duration = Duration::from_millis(800);
/// A request waits no longer for keys to be read; those that are known go on.
const WAITED_FOR: Duration = Duration::from_secs(1);
/// By so much clocks of instances may differ.
const SKEW: Millis = 60_000;
/// The only algorithm.
const ALGORITHM: &str = "ES256";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[error("signing keys: {0}")]
pub struct KeyringError(String);

impl From<QueryError> for KeyringError {
    fn from(error: QueryError) -> Self {
        Self(error.to_string())
    }
}

/// The keys that are known.
#[derive(Debug)]
pub struct Keyring {
    sql: Arc<dyn Sql>,
    clock: Arc<dyn Clock>,
    keys: RwLock<Arc<Vec<Key>>>,
    looks: Mutex<Looks>,
    /// A look is over.
    looked: Notify,
}

/// When keys were looked for, by the monotonic clock.
#[derive(Debug, Default)]
struct Looks {
    /// The beginning of the one whose keys these are.
    read: Duration,
    /// The engine's own revision then: while it stays, nothing was committed.
    engine: Option<u64>,
    /// The end of the last one that failed.
    failed: Option<Duration>,
    /// The beginning of the one that requests wait for.
    under_way: Option<Duration>,
}

/// A key, ready for use.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Uuid,
    pub(super) signs: EncodingKey,
    pub(super) verifies: DecodingKey,
    point: Vec<u8>,
    not_before: Millis,
    retired_at: Option<Millis>,
}

/// Without the private key.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("retired_at", &self.retired_at).finish_non_exhaustive()
    }
}

/// What becomes of the keys that there are, when a new one comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Their tokens stay good until they end.
    Overlapping,
    /// They and their tokens are refused at once: somebody may have stolen them.
    AtOnce,
}

/// A new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// Its id.
    pub id: Uuid,
    /// How many keys ended for it whose tokens were good until then; `None`: none, they go on.
    pub ended: Option<usize>,
}

/// A public key as it is published (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedKey {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
    y: String,
}

impl Keyring {
    /// Reads the keys, and makes the first one where there is none; of several instances that start at once one makes it.
    pub async fn open(sql: Arc<dyn Sql>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, KeyringError> {
        let ring = Self { sql, clock, keys: RwLock::default(), looks: Mutex::default(), looked: Notify::new() };
        ring.look().await?;
        if ring.signing().is_none() {
            let now = ring.clock.now();
            let first = ring.make(now)?;
            match ring.commit(signing_key::create_first(&first)).await {
                // Whoever was first made it.
                Ok(()) | Err(CommitError::Conflict(_)) => ring.look().await?,
                Err(error) => return Err(KeyringError(error.to_string())),
            }
        }
        match ring.signing() {
            Some(_) => Ok(Arc::new(ring)),
            None => Err(KeyringError("the one that was made is not there".to_owned())),
        }
    }

    /// Looks for new keys for as long as anybody uses them.
    pub fn watch(self: &Arc<Self>) -> tokio_util::task::AbortOnDropHandle<()> {
        let ring = self.clone();
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOKED_FOR);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = ring.look().await {
                    tracing::warn!(%error, "new keys were not looked for; those that are known go on");
                }
            }
        }))
    }

    /// A new key in place of those there are: in use within a minute, these being known until their last token has ended;
    /// or at once, these being over everywhere within a second. The caller has asked whether it may be made.
    pub(crate) async fn rotate(&self, rotation: Rotation) -> Result<Rotated, CommitError> {
        let now = self.clock.now();
        let made = |in_use| self.make(in_use).map_err(|error| CommitError::Failed(error.to_string()));
        let (key, ended) = match rotation {
            Rotation::Overlapping => {
                let in_use = now.saturating_add(MADE_KNOWN);
                let key = made(in_use)?;
                self.commit(signing_key::rotate(&key, in_use)).await?;
                (key, None)
            }
            Rotation::AtOnce => {
                let key = made(now)?;
                let ended = self.replace(&key).await?;
                (key, Some(ended))
            }
        };
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "the new key was made and is not known here yet");
        }
        Ok(Rotated { id: key.id, ended })
    }

    /// Ends all other keys, and tells how many could verify anything.
    async fn replace(&self, key: &SigningKey) -> Result<usize, CommitError> {
        let mut round = 1;
        loop {
            let others = signing_key::newest(&*self.sql).await.map_err(|error| match error {
                QueryError::Unavailable(cause) => CommitError::Unavailable(cause),
                QueryError::Failed(cause) => CommitError::Failed(cause),
            })?;
            match self.commit(signing_key::replace(key, others.iter().map(|other| other.id))).await {
                // Somebody made another one meanwhile.
                Err(CommitError::Conflict(_)) if round < ROUNDS => round += 1,
                done => {
                    done?;
                    let now = self.clock.now();
                    return Ok(others.into_iter().map(Key::from).filter(|other| other.is_known(now)).count());
                }
            }
        }
    }

    /// What others verify tokens by: all keys whose tokens may still be good, and those to come.
    pub fn published(&self) -> Vec<PublishedKey> {
        let now = self.clock.now();
        let keys = self.keys.read().clone();
        keys.iter().filter(|key| key.is_known(now)).filter_map(Key::publish).collect()
    }

    /// The key to sign with.
    pub(super) fn signing(&self) -> Option<Key> {
        let now = self.clock.now();
        let keys = self.keys.read().clone();
        // One that is not to be used yet is better than none: where it is not known, it is looked for.
        keys.iter().max_by_key(|key| (key.not_before <= now, key.not_before, key.id)).cloned()
    }

    /// The key of this id, if its tokens may still be good.
    pub(super) async fn verifying(self: &Arc<Self>, id: Uuid) -> Option<Key> {
        if let Some(key) = self.find(id) {
            return Some(key);
        }
        self.look_since(self.clock.monotonic().saturating_sub(AT_LEAST_BETWEEN)).await;
        self.find(id)
    }

    /// Sees to it that what is known of keys is not older than a second, as far as the metadata answers.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let engine = self.looks.lock().engine;
        if engine.is_none() || engine != self.sql.revision() {
            self.look_since(self.clock.monotonic().saturating_sub(FRESH)).await;
        }
    }

    /// Looks for keys, unless somebody has since then, in vain or not. One look is for all who wait; it goes on when they
    /// give up, and who comes when it has lasted for long does not wait at all: metadata that hangs keeps nobody from
    /// pulling who is known already.
    async fn look_since(self: &Arc<Self>, since: Duration) {
        let done = async {
            loop {
                let mut over = std::pin::pin!(self.looked.notified());
                over.as_mut().enable();
                if !self.is_under_way(since) {
                    return;
                }
                over.await;
            }
        };
        let _ = timeout(WAITED_FOR, done).await;
    }

    /// Whether there is a look to wait for; begins it where that is due.
    fn is_under_way(self: &Arc<Self>, since: Duration) -> bool {
        let now = self.clock.monotonic();
        let mut looks = self.looks.lock();
        if looks.read >= since || looks.failed.is_some_and(|failed| failed >= since) {
            return false;
        }
        match looks.under_way {
            Some(begun) => now.saturating_sub(begun) < WAITED_FOR,
            None => {
                looks.under_way = Some(now);
                let ring = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = ring.look().await {
                        tracing::warn!(%error, "keys could not be read; those that are known go on");
                    }
                    ring.looks.lock().under_way = None;
                    ring.looked.notify_waiters();
                });
                true
            }
        }
    }

    /// Whether tokens of this key may be good.
    pub(super) fn knows(&self, id: Uuid) -> bool {
        let now = self.clock.now();
        self.keys.read().iter().any(|key| key.id == id && key.is_known(now))
    }

    fn find(&self, id: Uuid) -> Option<Key> {
        let now = self.clock.now();
        self.keys.read().iter().find(|key| key.id == id && key.is_known(now)).cloned()
    }

    async fn look(&self) -> Result<(), KeyringError> {
        let (begun, engine) = (self.clock.monotonic(), self.sql.revision());
        let found = signing_key::all(&*self.sql).await;
        let mut looks = self.looks.lock();
        let found = found.inspect_err(|_| looks.failed = Some(self.clock.monotonic()))?;
        // Of two at once the one that began later knows better.
        if begun >= looks.read {
            (looks.read, looks.engine) = (begun, engine);
            // Those of algorithms to come are not for this version.
            let found = found.into_iter().filter(|key| key.algorithm == ALGORITHM).map(Key::from).collect();
            *self.keys.write() = Arc::new(found);
        }
        Ok(())
    }

    fn make(&self, not_before: Millis) -> Result<SigningKey, KeyringError> {
        let fault = |what: &str| KeyringError(format!("a key cannot be {what}"));
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).map_err(|_| fault("made"))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref()).map_err(|_| fault("read"))?;
        Ok(SigningKey {
            id: new_id(&*self.clock),
            algorithm: ALGORITHM.to_owned(),
            private_key: private.as_ref().to_vec(),
            public_key: pair.public_key().as_ref().to_vec(),
            created_at: self.clock.now(),
            not_before,
            retired_at: None,
        })
    }

    async fn commit(&self, statements: impl IntoIterator<Item = Statement>) -> Result<(), CommitError> {
        let mut batch = Batch::new(Uuid::now_v7(), self.clock.now());
        batch.extend(statements);
        commit_once(&*self.sql, batch, PATIENCE).await.map(drop)
    }
}

impl From<SigningKey> for Key {
    fn from(key: SigningKey) -> Self {
        Self {
            id: key.id,
            signs: EncodingKey::from_ec_der(&key.private_key),
            verifies: DecodingKey::from_ec_der(&key.public_key),
            point: key.public_key,
            not_before: key.not_before,
            retired_at: key.retired_at,
        }
    }
}

impl Key {
    /// Whether there may be tokens of it that are good.
    fn is_known(&self, now: Millis) -> bool {
        self.retired_at.is_none_or(|end| now < end.saturating_add(LIFE).saturating_add(SKEW))
    }

    /// From the uncompressed point: `04`, then x and y.
    fn publish(&self) -> Option<PublishedKey> {
        let (x, y) = self.point.strip_prefix(&[4])?.split_at_checked(32)?;
        Some(PublishedKey {
            kty: "EC",
            crv: "P-256",
            alg: ALGORITHM,
            usage: "sig",
            kid: self.id.to_string(),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        })
    }
}
