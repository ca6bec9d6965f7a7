//! What all use cases share: engines, clock, policy, limits, the key that signs upload sessions.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use roadstead_metadata::records::location::LocationRecord;
use roadstead_metadata::records::{location, setting};
use roadstead_metadata::{Batch, Millis, QueryError, Sql, commit_once};
use roadstead_oci::RepositoryName;
use roadstead_storage::{Location, Locations, Scope};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::cached_index::CachedIndex;
use crate::index::at_hand;
use crate::upload::Sessions;
use crate::verified::Verified;
use crate::{Clock, Index, Policy, SqlIndex, Suspects, commit};

/// Bounds that an operator may set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest manifest in bytes; a larger one is [`crate::Error::TooLarge`].
    pub manifest: u64,
    /// Largest blob in bytes; `None`: as large as the store takes.
    pub blob: Option<u64>,
    /// Entries of a page of tags, catalog or referrers when the client does not say, and the most it may ask for.
    pub page: usize,
    /// Bytes of an upload between two commits of its offset. One step is in flight while the next arrives, so that a
    /// crash loses less than twice as much. Not for operators: tests take small ones.
    pub step: u64,
    /// Staged objects that an upload may consist of at a store that cannot extend them: its row names them all, and has
    /// to fit into a commit. More are [`crate::Error::TooManyPieces`]. Not for operators: tests take few.
    pub pieces: usize,
    /// How long after a push last relied on a blob it may be collected, when nothing names it.
    pub grace: Duration,
    /// Bytes of answers of metadata, manifests above all, that are kept in memory.
    pub kept: u64,
}

impl Limits {
    /// Bytes of [`Limits::kept`] unless memory is short.
    pub const KEPT: u64 = 32 << 20;

    /// A pusher that finds a blob by HEAD relies on it: its time is refreshed when older than this, which is far less
    /// than the grace.
    pub(crate) fn refresh(&self) -> Millis {
        Millis::try_from((self.grace / 24).as_millis()).unwrap_or(Millis::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        let grace = Duration::from_secs(24 * 3600);
        Self { manifest: 4 << 20, blob: None, page: 1000, step: 16 << 20, pieces: 6_000, grace, kept: Self::KEPT }
    }
}

/// What a registry is made of.
#[derive(Debug)]
pub struct Parts {
    /// Metadata.
    pub sql: Arc<dyn Sql>,
    /// Where bytes go and come from.
    pub locations: Locations,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who may do what.
    pub policy: Arc<dyn Policy>,
    /// Bounds.
    pub limits: Limits,
}

/// The registry: its methods are the use cases.
#[derive(Debug)]
pub struct Registry {
    pub(crate) sql: Arc<dyn Sql>,
    /// The same for lists, which are read only to be told: while it is read-only it answers with what is at hand.
    pub(crate) at_hand: Arc<dyn Sql>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) locations: Locations,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) limits: Limits,
    pub(crate) sessions: Sessions,
    pub(crate) suspects: Arc<Suspects>,
    pub(crate) verified: Verified,
    /// Work that goes on when its request is gone.
    pub(crate) tasks: TaskTracker,
    /// This run of this instance: what it staged, only it may extend.
    pub(crate) incarnation: Uuid,
}

/// Why a registry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Metadata does not answer or cannot be written.
    #[error("metadata: {0}")]
    Metadata(String),
    /// Metadata knows this location differently than the configuration does.
    #[error(
        "location {name}: metadata knows it with id {known}, the store says {found}; \
         mount the store that belongs here, or give the new one a name of its own"
    )]
    Location {
        /// The location's configured name.
        name: String,
        /// Its permanent id in metadata.
        known: Uuid,
        /// The id in the `roadstead.json` of the store.
        found: Uuid,
    },
}

const UPLOAD_KEY: &str = "upload-session-key";

impl Registry {
    /// Starts a registry over migrated metadata and claimed stores: makes its locations known, and makes or reads
    /// the key that signs upload sessions, which all instances share.
    pub async fn start(parts: Parts) -> std::result::Result<Arc<Self>, StartError> {
        Self::start_with_key(parts, None).await
    }

    /// [`Registry::start`] with a key from outside for upload sessions, at least 16 bytes; it must be that of all other
    /// instances, and sessions signed with another one are unknown.
    pub async fn start_with_key(parts: Parts, key: Option<&[u8]>) -> std::result::Result<Arc<Self>, StartError> {
        let Parts { sql, locations, clock, policy, limits } = parts;
        for configured in locations.iter() {
            register_location(&*sql, configured, clock.now()).await?;
        }
        let key = match key {
            Some(key) => key.to_vec(),
            None => session_key(&*sql, clock.now()).await?,
        };
        let suspects = Arc::<Suspects>::default();
        Ok(Arc::new(Self {
            index: Arc::new(CachedIndex::new(SqlIndex::new(sql.clone()), sql.clone(), limits.kept)),
            sessions: Sessions::new(key),
            verified: Verified::new(suspects.clone()),
            suspects,
            tasks: TaskTracker::new(),
            incarnation: Uuid::now_v7(),
            at_hand: at_hand(sql.clone()),
            sql,
            locations,
            clock,
            policy,
            limits,
        }))
    }

    /// Where a push writes.
    pub(crate) fn preferred(&self) -> &Location {
        self.locations.preferred()
    }

    /// An empty batch that begins now.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new(Uuid::now_v7(), self.clock.now())
    }

    /// The bounds in force; the HTTP floor refuses what is announced to be larger.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits for what requests left behind when their clients went or were cut off: what arrived of an upload is
    /// acknowledged, staged objects are removed. Metadata may stop only afterwards, or all of that is lost.
    pub async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Whether a request writes to this upload session here and now; its rows and staged bytes are not to be purged.
    pub fn is_uploading(&self, session: Uuid) -> bool {
        self.sessions.is_active(session)
    }

    /// Metadata, for the workers.
    pub fn sql(&self) -> &Arc<dyn Sql> {
        &self.sql
    }

    /// Locations, for the workers and health.
    pub fn locations(&self) -> &Locations {
        &self.locations
    }

    /// Copies that pulls found damaged, for scrub.
    pub fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// The clock, for the workers and health.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

/// `library/x` and `x` are one repository, shown as `x`.
pub(crate) fn canonical(name: &RepositoryName) -> RepositoryName {
    match name.as_str().split_once('/') {
        Some(("library", bare)) if !bare.contains('/') => bare.parse().unwrap_or_else(|_| name.clone()),
        _ => name.clone(),
    }
}

async fn register_location(sql: &dyn Sql, configured: &Location, now: Millis) -> std::result::Result<(), StartError> {
    let replica = match configured.scope {
        Scope::Shared => 0,
        Scope::Replica(id) => id,
    };
    let record = LocationRecord { id: configured.id, name: configured.name.clone(), replica };
    // Two rounds: another instance may make it known between the look and the commit.
    for _ in 0..2 {
        let known = location::all(sql).await.map_err(metadata)?;
        match known.iter().find(|l| l.name == record.name || l.id == record.id) {
            Some(l) if l.id == record.id => return Ok(()),
            Some(l) => return Err(StartError::Location { name: l.name.clone(), known: l.id, found: record.id }),
            None => {}
        }
        let mut batch = Batch::new(Uuid::now_v7(), now);
        batch.push(location::add(&record, now));
        match commit_once(sql, batch, commit::PATIENCE).await {
            Ok(_) | Err(roadstead_metadata::CommitError::Conflict(_)) => {}
            Err(error) => return Err(StartError::Metadata(error.to_string())),
        }
    }
    Ok(())
}

async fn session_key(sql: &dyn Sql, now: Millis) -> std::result::Result<Vec<u8>, StartError> {
    if let Some(key) = setting::get(sql, UPLOAD_KEY).await.map_err(metadata)? {
        return decode_key(&key);
    }
    let fresh = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    let mut batch = Batch::new(Uuid::now_v7(), now);
    batch.push(setting::add(UPLOAD_KEY, &STANDARD_NO_PAD.encode(fresh), now));
    commit_once(sql, batch, commit::PATIENCE).await.map_err(|e| StartError::Metadata(e.to_string()))?;
    let kept = setting::get(sql, UPLOAD_KEY).await.map_err(metadata)?;
    decode_key(&kept.ok_or_else(|| StartError::Metadata(format!("setting {UPLOAD_KEY} vanished")))?)
}

fn decode_key(text: &str) -> std::result::Result<Vec<u8>, StartError> {
    STANDARD_NO_PAD.decode(text).map_err(|e| StartError::Metadata(format!("setting {UPLOAD_KEY} is damaged: {e}")))
}

fn metadata(error: QueryError) -> StartError {
    StartError::Metadata(error.to_string())
}
