//! From settings to a running server: the only file that names concrete engines.
//!
//! Order: metadata first, for it knows whose installation this is; then the store, which must be of that
//! installation; then the registry over both, its workers, and the server in front.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roadstead_http::{AdminApi, AdminSocket, App, Bounds, Component, Health, Metrics, OciApi, Prober};
use roadstead_metadata::records::location;
use roadstead_metadata::{Metered as MeteredSql, MigrateError, QueryError, Sql, migrate, schema};
use roadstead_metadata_raft::{OpenError, Options, RaftSql};
use roadstead_registry::{Clock, Everyone, Limits, Parts, Registry, StartError, SystemClock};
use roadstead_storage::{Engine, ErrorKind, Filesystem, IDENTITY_KEY, Identity, Location, Locations, Metered, Scope};
use roadstead_workers::{
    Collect, Collection, PurgeOperations, PurgeUploads, Reaper, Scrub, Supervisor, SweepTemporary,
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::cli::descriptors::Descriptors;
use crate::config::Settings;

/// Memory for manifests while they are pushed, all together.
const HELD_BYTES: usize = 256 << 20;

/// The name of the only location.
const LOCATION: &str = "default";

/// The parts of a server that is ready to serve.
#[derive(Debug)]
pub(crate) struct Composed {
    /// The metadata engine itself, for its end.
    pub(crate) metadata: Arc<RaftSql>,
    /// Background work, which runs already.
    pub(crate) workers: Arc<Supervisor>,
    /// What is served from, for its end.
    pub(crate) registry: Arc<Registry>,
    /// What is served.
    pub(crate) app: App,
    /// Keeps health current while it lives.
    _prober: Prober,
    /// Serves the admin API while it lives.
    _admin: Option<AbortOnDropHandle<()>>,
}

/// Why a server cannot be composed. Each text names the way out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComposeError {
    /// The metadata directory does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There are blobs of an installation, and nothing of its metadata.
    #[error(
        "metadata directory {} is empty, and the blobs in {} are those of an installation: is the filesystem of the \
         metadata mounted? Mount it, or restore a backup; a new installation needs an empty directory for blobs, too",
        metadata.display(),
        blobs.display()
    )]
    Unmounted {
        /// The metadata directory.
        metadata: PathBuf,
        /// The directory of blobs.
        blobs: PathBuf,
    },
    /// The schema cannot be brought to this version.
    #[error("metadata: {0}")]
    Migrate(#[from] MigrateError),
    /// Metadata opened and does not answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The store does not open, or is somebody else's.
    #[error("storage: {0}")]
    Storage(#[from] roadstead_storage::Error),
    /// The registry refuses its parts.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl ComposeError {
    /// Whether the data on disk is refused, so that trying again cannot help.
    pub(crate) fn refuses_data(&self) -> bool {
        match self {
            ComposeError::Open(error) => match error {
                OpenError::LostCommits { .. }
                | OpenError::NoHighWater { .. }
                | OpenError::Damaged { .. }
                | OpenError::DamagedLog { .. } => true,
                OpenError::Identity(error) => matches!(error.kind(), ErrorKind::Foreign | ErrorKind::Corrupt),
                _ => false,
            },
            ComposeError::Migrate(error) => matches!(error, MigrateError::Newer { .. }),
            ComposeError::Start(StartError::Location { .. }) | ComposeError::Unmounted { .. } => true,
            ComposeError::Storage(error) => matches!(error.kind(), ErrorKind::Foreign | ErrorKind::Corrupt),
            ComposeError::Query(_) | ComposeError::Start(_) => false,
        }
    }
}

/// Opens everything that `settings` name. `accept_lost_commits` opens metadata that lost some.
pub(crate) async fn compose(
    settings: &Settings,
    descriptors: Descriptors,
    accept_lost_commits: bool,
) -> Result<Composed, ComposeError> {
    check_mounted(settings).await?;
    let options = Options { accept_lost_commits, ..Options::new(&settings.metadata) };
    let metadata = Arc::new(RaftSql::open(options).await?);
    match over(settings, descriptors, metadata.clone()).await {
        Ok(composed) => Ok(composed),
        Err(error) => {
            metadata.shutdown().await;
            Err(error)
        }
    }
}

/// Refuses to make new metadata beside blobs that have some: an empty directory is then what an unmounted filesystem
/// leaves. Nothing is written before that is known.
async fn check_mounted(settings: &Settings) -> Result<(), ComposeError> {
    let claimed = async |directory: &Path| tokio::fs::try_exists(directory.join(IDENTITY_KEY)).await.unwrap_or(false);
    if claimed(&settings.blobs).await && !claimed(&settings.metadata).await {
        let mut entries = tokio::fs::read_dir(&settings.metadata).await;
        let first = match &mut entries {
            Ok(entries) => entries.next_entry().await.ok().flatten(),
            Err(_) => None,
        };
        // One that holds something else is refused for that.
        if first.is_none() {
            let (metadata, blobs) = (settings.metadata.clone(), settings.blobs.clone());
            return Err(ComposeError::Unmounted { metadata, blobs });
        }
    }
    Ok(())
}

async fn over(settings: &Settings, descriptors: Descriptors, metadata: Arc<RaftSql>) -> Result<Composed, ComposeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));

    let sql: Arc<dyn Sql> = Arc::new(MeteredSql::new(metadata.clone(), metrics.metadata_recorder()));
    migrate(&*sql, schema::MIGRATIONS, clock.now()).await?;

    let blobs = Filesystem::open(&settings.blobs)?;
    let id = claim(&blobs, &*sql, metadata.cluster()).await?;
    let engine: Arc<dyn Engine> = Arc::new(Metered::new(blobs, metrics.storage_recorder(LOCATION)));
    let location = Location { name: LOCATION.into(), id, scope: Scope::Shared, engine: engine.clone() };

    let parts = Parts {
        sql: sql.clone(),
        locations: Locations::single(location),
        clock: clock.clone(),
        policy: Arc::new(Everyone),
        limits: Limits { manifest: settings.http.max_manifest, grace: settings.gc.grace, ..Limits::default() },
    };
    let registry = Registry::start_with_key(parts, settings.http.secret.as_deref().map(str::as_bytes)).await?;

    let workers = Arc::new(Supervisor::new(clock));
    let uploads = PurgeUploads::new(registry.clone(), settings.uploads.expiry);
    workers.spawn(Arc::new(uploads.with_period(settings.uploads.purge_interval)));
    workers.spawn(Arc::new(PurgeOperations::new(registry.clone())));
    let collect = Collect::new(registry.clone()).with_period(settings.gc.interval).with_untagged(settings.gc.untagged);
    let collect = Arc::new(collect);
    let reaper = Arc::new(Reaper::new(registry.clone()).with_period(settings.gc.interval));
    workers.spawn(collect.clone());
    workers.spawn(reaper.clone());
    workers.spawn(Arc::new(SweepTemporary::new(registry.clone())));
    let scrub = Scrub::new(registry.clone()).with_interval(settings.scrub.interval);
    let scrub = Arc::new(scrub.with_deep(settings.scrub.deep).with_rate(settings.scrub.rate));
    workers.spawn(scrub.clone());
    // Not owned: the workers own the registry.
    let woken = Arc::downgrade(&workers);
    registry.suspects().wake(move || {
        woken.upgrade().map(|workers| workers.wake("scrub"));
    });
    metrics.show_workers(workers.clone());
    let counted = scrub.clone();
    metrics.show_damage(move || counted.damaged());

    // The store of one instance is its own: while it is down this instance cannot pull.
    let health = Health::new(vec![Component::metadata(sql), Component::storage(LOCATION, engine, true)]);
    let prober = health.probe_every_second();
    let bounds = Bounds::new(HELD_BYTES, descriptors.blobs);
    let api = OciApi::new(registry.clone()).with_body_timeout(settings.http.body_timeout).with_bounds(bounds);
    let api = match &settings.http.host {
        Some(host) => api.with_host(host),
        None => api,
    };
    let admin = AdminApi::new(workers.clone(), Arc::new(Collection::new(collect, reaper)), scrub);
    let admin = administer(settings, admin);
    let app = App::new(health, metrics, api.router());
    Ok(Composed { metadata, workers, registry, app, _prober: prober, _admin: admin })
}

/// Serves the admin API beside the metadata. A registry that cannot be administered still serves.
fn administer(settings: &Settings, api: AdminApi) -> Option<AbortOnDropHandle<()>> {
    let path = settings.admin_socket();
    match AdminSocket::bind(&path) {
        Ok(socket) => Some(socket.serve(api.router())),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no admin API: its socket cannot be made");
            None
        }
    }
}

/// The listener's part of the settings.
pub(crate) fn listener(settings: &Settings, descriptors: Descriptors) -> roadstead_http::Settings {
    let http = &settings.http;
    roadstead_http::Settings {
        max_connections: descriptors.connections,
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        body_timeout: http.body_timeout,
        drain_delay: http.drain_delay,
        drain_deadline: http.drain_deadline,
        ..roadstead_http::Settings::new(http.listen)
    }
}

/// Makes an empty store ours, or checks that it is, and answers the location's permanent id: the one that metadata
/// knows; before that the one on the store, where a start that was cut short may have put it; else a new one.
async fn claim(engine: &dyn Engine, sql: &dyn Sql, cluster: Uuid) -> Result<Uuid, ComposeError> {
    let known = location::all(sql).await?.into_iter().find(|location| location.name == LOCATION);
    if let Some(known) = known {
        // An empty root is now a filesystem that is not mounted.
        Identity::verify(engine, &Identity::new(cluster, known.id)).await?;
        return Ok(known.id);
    }
    let id = match Identity::found(engine).await? {
        Some(found) if found.cluster == cluster => found.location,
        _ => Uuid::now_v7(),
    };
    Identity::claim(engine, &Identity::new(cluster, id)).await?;
    Ok(id)
}
