//! From settings to a running server: the only file that names concrete engines.
//!
//! Order: metadata first, for it knows whose installation this is; then the store, which must be of that
//! installation; then the registry over both, its workers, and the server in front.

mod access;
mod audit;
mod metadata;
mod sources;
mod store;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;

use roadstead_http::{
    AdminApi, AdminSocket, App, AuditApi, Bounds, Component, Health, Metrics, OciApi, OwnHosts, Plain, Prober, Proxies,
    Redirects, Setting, Tls, TlsError,
};
use roadstead_metadata::{Metered as MeteredSql, MigrateError, QueryError, Sql, migrate, schema};
use roadstead_metadata_raft::{OpenError, memory};
use roadstead_registry::audit::Audit;
use roadstead_registry::identities::IdentityError;
use roadstead_registry::{Clock, KeyringError, Limits, Parts, Registry, StartError, SystemClock};
use roadstead_storage::{Engine, ErrorKind, Filesystem, Location, Locations, Metered, Scope};
use roadstead_storage_cloud::S3;
use roadstead_workers::{
    Collect, Collection, Instances, PurgeCredentials, PurgeOperations, PurgeUploads, Reaper, RemoveRepositories, Scrub,
    Supervisor, SweepTemporary,
};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::descriptors::Descriptors;
use crate::config::Settings;
use crate::config::settings::{Blobs, Metadata};
use crate::config::told;
use access::Access;
pub(crate) use sources::check as check_sources;
use store::{check_mounted, claim, open_bucket};
pub(crate) use tls::check as check_tls;

/// Memory for manifests while they are pushed, all together.
const HELD_BYTES: usize = 256 << 20;

/// The name of the only location.
const LOCATION: &str = "default";

/// The parts of a server that is ready to serve.
#[derive(Debug)]
pub(crate) struct Composed {
    /// The metadata engine itself, for its end.
    pub(crate) metadata: metadata::Engine,
    /// Background work, which runs already.
    pub(crate) workers: Arc<Supervisor>,
    /// This process among the others.
    pub(crate) instances: Arc<Instances>,
    /// Who did what, when that is kept.
    pub(crate) audit: Option<audit::Auditing>,
    /// What is served from, for its end.
    pub(crate) registry: Arc<Registry>,
    /// What is served.
    pub(crate) app: App,
    /// TLS of the listener.
    pub(crate) tls: Option<Tls>,
    /// Keeps its certificate current while it lives.
    _certificate: Option<AbortOnDropHandle<()>>,
    /// The password that was made for the first system admin, to be shown once.
    pub(crate) password: Option<String>,
    /// Keeps signing keys current while it lives.
    _keys: Option<AbortOnDropHandle<()>>,
    /// Keeps those who vouch for users current while it lives.
    _sources: Vec<AbortOnDropHandle<()>>,
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
    /// The database does not open.
    #[error(transparent)]
    Database(#[from] roadstead_metadata_postgres::OpenError),
    /// There are blobs of an installation, and nothing of its metadata.
    #[error(
        "metadata directory {} is empty, and the blobs in {} are those of an installation: is the filesystem of the \
         metadata mounted? Mount it, or restore a backup; a new installation needs an empty directory for blobs, too",
        metadata.display(),
        blobs
    )]
    Unmounted {
        /// The metadata directory.
        metadata: PathBuf,
        /// Where the blobs are.
        blobs: String,
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
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is nothing to sign tokens with.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// Who else vouches for users cannot be asked.
    #[error(transparent)]
    Sources(#[from] sources::SourceError),
    /// The first system admin cannot be made.
    #[error("the first system admin cannot be made: {0}")]
    Admin(IdentityError),
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
            ComposeError::Database(_)
            | ComposeError::Query(_)
            | ComposeError::Start(_)
            | ComposeError::Tls(_)
            | ComposeError::Keys(_)
            | ComposeError::Sources(_)
            | ComposeError::Admin(_) => false,
        }
    }
}

/// Opens everything that `settings` name. `accept_lost_commits` opens metadata that lost some.
pub(crate) async fn compose(
    settings: &Settings,
    descriptors: Descriptors,
    accept_lost_commits: bool,
) -> Result<Composed, ComposeError> {
    let bucket = match &settings.blobs {
        Blobs::Filesystem(_) => None,
        Blobs::S3(bucket) => Some(open_bucket(bucket).await?),
    };
    if let Metadata::Raft(directory) = &settings.metadata {
        check_mounted(settings, bucket.as_ref(), directory).await?;
    }
    let metadata = metadata::Engine::open(&settings.metadata, accept_lost_commits).await?;
    match over(settings, descriptors, metadata.clone(), bucket).await {
        Ok(composed) => Ok(composed),
        Err(error) => {
            metadata.shutdown().await;
            Err(error)
        }
    }
}

async fn over(
    settings: &Settings,
    descriptors: Descriptors,
    metadata: metadata::Engine,
    bucket: Option<S3>,
) -> Result<Composed, ComposeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));

    let sql: Arc<dyn Sql> = Arc::new(MeteredSql::new(metadata.sql(), metrics.metadata_recorder()));
    migrate(&*sql, schema::MIGRATIONS, clock.now()).await?;
    let tls = tls::open(settings.http.tls.as_ref(), &*sql, clock.clone()).await?;

    let recorder = metrics.storage_recorder(LOCATION);
    let shared = bucket.is_some();
    let engine: Arc<dyn Engine> = match (&settings.blobs, bucket) {
        (Blobs::Filesystem(directory), _) => Arc::new(Metered::new(Filesystem::open(directory)?, recorder)),
        (Blobs::S3(_), Some(bucket)) => Arc::new(Metered::new(bucket, recorder)),
        (Blobs::S3(bucket), None) => Arc::new(Metered::new(open_bucket(bucket).await?, recorder)),
    };
    let cluster = metadata.cluster(&*sql, clock.now()).await?;
    let id = claim(&*engine, &*sql, cluster, clock.now()).await?;
    let location = Location { name: LOCATION.into(), id, scope: Scope::Shared, engine: engine.clone() };

    let audit = settings.audit.map(|_| Arc::new(Audit::new(clock.clone())));
    let access = Access::open(settings.auth.as_ref(), &sql, &clock, audit.as_ref()).await?;
    // Of a small machine's memory an eighth.
    let kept = memory::allowed().map_or(Limits::KEPT, |bytes| (bytes / 8).min(Limits::KEPT));
    let parts = Parts {
        sql: sql.clone(),
        locations: Locations::single(location),
        clock: clock.clone(),
        policy: access.policy.clone(),
        limits: Limits { manifest: settings.http.max_manifest, grace: settings.gc.grace, kept, ..Limits::default() },
    };
    let registry = Registry::start_with_key(parts, settings.http.secret.as_deref().map(str::as_bytes)).await?;

    // Where commits of others cannot go unseen there are no others.
    let among_others = sql.revision().is_none();
    let instances =
        Instances::new(registry.clone(), among_others, env!("CARGO_PKG_VERSION"), &settings.instance.region);
    let auditing = audit::open(settings, audit.as_ref(), &registry, &instances).await?;
    let auth = access.auth(&registry, &clock, settings.http.host.as_deref());
    let auth = match (auth, &audit) {
        (Some(auth), Some(audit)) => Some(auth.with_audit(audit.clone())),
        (auth, _) => auth,
    };
    let workers = Arc::new(Supervisor::new(clock));
    workers.spawn(instances.clone());
    let uploads = PurgeUploads::new(registry.clone(), settings.uploads.expiry);
    let uploads = uploads.with_period(settings.uploads.purge_interval);
    workers.spawn_leased(Arc::new(uploads), instances.lease("uploads"));
    workers.spawn_leased(Arc::new(PurgeOperations::new(registry.clone())), instances.lease("operations"));
    let credentials = instances.lease("credentials");
    let purge = PurgeCredentials::new(registry.clone()).with_lease(credentials.clone());
    workers.spawn_leased(Arc::new(purge), credentials);
    workers.spawn_leased(Arc::new(RemoveRepositories::new(registry.clone())), instances.lease("removals"));
    let collecting = instances.lease("collect");
    let collect = Collect::new(registry.clone()).with_period(settings.gc.interval).with_untagged(settings.gc.untagged);
    let collect = Arc::new(collect.with_lease(collecting.clone()));
    let reaper = Arc::new(Reaper::new(registry.clone()).with_period(settings.gc.interval));
    workers.spawn_leased(collect.clone(), collecting);
    workers.spawn_leased(reaper.clone(), instances.lease("reap"));
    workers.spawn(Arc::new(SweepTemporary::new(registry.clone())));
    let scrub = Scrub::new(registry.clone()).with_interval(settings.scrub.interval);
    let scrub = scrub.with_deep(settings.scrub.deep).with_rate(settings.scrub.rate);
    let scrub = Arc::new(scrub.with_lease(instances.lease("scrub")));
    workers.spawn(scrub.clone());
    // Not owned: the workers own the registry.
    let woken = Arc::downgrade(&workers);
    registry.suspects().wake(move || {
        woken.upgrade().map(|workers| workers.wake("scrub"));
    });
    if let (Some(auditing), Some(kept)) = (&auditing, &settings.audit) {
        audit::start(auditing, kept, &registry, &instances, &workers);
        metrics.show_audit(auditing.log.clone());
    }
    metrics.show_workers(workers.clone());
    metrics.show_sources(access.sources.current());
    let identities = access.identities.clone();
    metrics.show_password_hashes(move || identities.password_hashes());
    let counted = scrub.clone();
    metrics.show_damage(move || counted.damaged());

    // A directory is this instance's own: while it is down this instance cannot pull. A bucket is down for all.
    let health = Health::new(vec![Component::metadata(sql), Component::storage(LOCATION, engine, !shared)]);
    let prober = health.probe_every_second();
    let bounds = Bounds::new(HELD_BYTES, descriptors.blobs);
    let api = OciApi::new(registry.clone()).with_body_timeout(settings.http.body_timeout).with_bounds(bounds);
    let api = match settings.redirect {
        true => {
            let health = health.clone();
            api.with_redirects(Redirects::new(move |location| health.location_works(location)))
        }
        false => api,
    };
    let api = match &settings.http.host {
        Some(host) => api.with_host(host),
        None => api,
    };
    let api = match audit {
        Some(audit) => api.with_audit(audit),
        None => api,
    };
    let collection = Arc::new(Collection::new(collect, reaper));
    let admin = AdminApi::new(workers.clone(), collection, scrub, instances.clone(), access.identities.clone());
    let told = settings.told.iter().cloned().map(|told::Setting { key, value, from }| Setting { key, value, from });
    let admin = admin.with_keys(access.keys()).with_settings(told.collect());
    // Behind a proxy everybody is on this machine; and where clients are asked who they are, these are, too.
    let loopback = settings.http.listen.ip().to_canonical().is_loopback();
    let local = loopback && settings.http.proxies.is_empty() && auth.is_none();
    let scraping = auth.clone();
    let events = auditing.as_ref().map(|auditing| AuditApi::new(auditing.log.clone()));
    let api = match auth {
        Some(auth) => {
            let events = events.clone().map(|events| events.with_identities(access.identities.clone()).router());
            let guarded = auth.guard(admin.clone().for_callers().merge(events.unwrap_or_default()));
            auth.router().merge(guarded).merge(api.with_auth(auth).router())
        }
        None => api.router(),
    };
    let api = if local { admin.clone().shown().merge(api) } else { api };
    let admin = administer(settings, admin, events);
    let app = App::new(health, metrics, api);
    let app = match (scraping, loopback) {
        (Some(auth), _) if !settings.metrics.anonymous => app.with_metrics_for(auth),
        (Some(_), _) | (None, false) => app,
        (None, true) => app.only_for(OwnHosts::new(settings.http.host.as_deref(), &settings.http.names)),
    };
    let certificate = tls.as_ref().map(Tls::watch);
    Ok(Composed {
        metadata,
        workers,
        instances,
        audit: auditing,
        registry,
        app,
        tls,
        _certificate: certificate,
        password: access.password,
        _keys: access.watch,
        _sources: access.sources.tasks,
        _prober: prober,
        _admin: admin,
    })
}

/// Serves the admin API beside the metadata, or else in the data directory. A registry that cannot be administered still serves.
fn administer(settings: &Settings, api: AdminApi, events: Option<AuditApi>) -> Option<AbortOnDropHandle<()>> {
    let path = settings.admin_socket();
    match AdminSocket::bind(&path) {
        Ok(socket) => Some(socket.serve(api.router().merge(events.map(AuditApi::for_operator).unwrap_or_default()))),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no admin API: its socket cannot be made");
            None
        }
    }
}

/// The listener's part of the settings.
pub(crate) fn listener(settings: &Settings, descriptors: Descriptors, tls: Option<Tls>) -> roadstead_http::Settings {
    let http = &settings.http;
    // Clients that name no port go to 443, wherever this process listens.
    let port = http.host.as_deref().and_then(port_of);
    roadstead_http::Settings {
        max_connections: descriptors.connections,
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        body_timeout: http.body_timeout,
        drain_delay: http.drain_delay,
        drain_deadline: http.drain_deadline,
        tls,
        plain: http.plain.map(|addr| Plain { addr, port }),
        proxies: Proxies::new(http.proxies.iter().copied()),
        ..roadstead_http::Settings::new(http.listen)
    }
}

/// The port of a URL's beginning with TLS.
fn port_of(base: &str) -> Option<u16> {
    let authority = base.strip_prefix("https://")?;
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port.parse());
    port.map_or(Some(443), Result::ok)
}
