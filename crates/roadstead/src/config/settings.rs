//! The configuration once it makes sense: addresses parsed, directories resolved, values within their bounds.
//! Made only from [`Parsed`], only without errors.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

mod listening;

use super::audit::Kept;
use super::auth::Guarded;
use super::document::Node;
use super::parsed::{Log, Metrics, Parsed};
use super::postgres::{self, Database};
use super::report::{Origin, Report};
use super::s3::{self, Bucket};
use super::tls::Spoken;
use super::told::{self, Setting};
use super::units::Span;

/// What the process runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub http: Http,
    /// Access control, if it is exercised.
    pub auth: Option<Guarded>,
    /// This process among others.
    pub instance: Instance,
    /// Where blobs are kept.
    pub blobs: Blobs,
    /// Whether clients are sent there for the bytes of blobs, where that can be.
    pub redirect: bool,
    /// Where metadata is kept.
    pub metadata: Metadata,
    /// Unfinished uploads.
    pub uploads: Uploads,
    /// Blobs that nothing names.
    pub gc: Gc,
    /// Damage of what is stored.
    pub scrub: Scrub,
    /// Who did what, when that is kept.
    pub audit: Option<Kept>,
    /// Who sees the metrics.
    pub metrics: Metrics,
    /// The log.
    pub log: Log,
    /// All of it as it was written, for people: without secrets.
    pub told: Vec<Setting>,
}

impl Settings {
    /// The Unix socket of the admin API.
    pub fn admin_socket(&self) -> PathBuf {
        match &self.metadata {
            Metadata::Raft(directory) => directory.join("admin.sock"),
            Metadata::Postgres(database) => database.data_dir.join("admin.sock"),
        }
    }
}

/// Where metadata is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// In the embedded engine, in a directory.
    Raft(PathBuf),
    /// In a database.
    Postgres(Box<Database>),
}

impl std::fmt::Display for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Metadata::Raft(directory) => write!(f, "{}", directory.display()),
            Metadata::Postgres(database) => write!(f, "{database}"),
        }
    }
}

/// Where blobs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blobs {
    /// Below a directory.
    Filesystem(PathBuf),
    /// In a bucket.
    S3(Box<Bucket>),
}

impl std::fmt::Display for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Blobs::Filesystem(directory) => write!(f, "{}", directory.display()),
            Blobs::S3(bucket) => write!(f, "{bucket}"),
        }
    }
}

/// The server.
#[derive(Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS there, if any.
    pub tls: Option<Spoken>,
    /// Where it sends clients to TLS.
    pub plain: Option<SocketAddr>,
    /// From whom PROXY headers are taken.
    pub proxies: Vec<IpNet>,
    /// `scheme://host[:port]` that absolute URLs begin with; relative without it.
    pub host: Option<String>,
    /// By which names it is reached beside that, where only its own are served.
    pub names: Vec<String>,
    /// Signs upload sessions; generated and kept when absent.
    pub secret: Option<String>,
    /// From SIGTERM to the closing of the listener.
    pub drain_delay: Duration,
    /// From then to the end of the process, at most.
    pub drain_deadline: Duration,
    /// Connections at a time.
    pub max_connections: usize,
    /// For the head of a request.
    pub header_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// Without a byte of a body.
    pub body_timeout: Duration,
    /// The largest manifest, bytes.
    pub max_manifest: u64,
}

/// This process among others over the same metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Where other machines reach it, when that is not what it listens on.
    pub address: Option<String>,
    /// The region it runs in; may be empty.
    pub region: String,
}

/// Unfinished uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploads {
    /// Untouched for this long, an upload is removed.
    pub expiry: Duration,
    /// How often that is looked for.
    pub purge_interval: Duration,
}

/// Blobs that nothing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gc {
    /// Kept so long after a push last relied on one.
    pub grace: Duration,
    /// How often they are looked for.
    pub interval: Duration,
    /// Manifests that nothing holds are kept so long; for ever without it.
    pub untagged: Option<Duration>,
}

/// Damage of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrub {
    /// From the end of one pass to the beginning of the next.
    pub interval: Duration,
    /// Whether it hashes.
    pub deep: bool,
    /// Bytes read in a second.
    pub rate: u64,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("listen", &self.listen).field("host", &self.host).finish_non_exhaustive()
    }
}

/// Checks `parsed`; `tree` tells where each value was written. The answer counts only if `report` has no errors.
pub(super) fn validate(parsed: Parsed, tree: &Node, report: &mut Report) -> Settings {
    let told = told::of(tree, &report.file);
    let mut check = Check { tree, report };
    let http = &parsed.http;
    let listen = check.listen("http.addr", &http.addr);
    let network = !listen.ip().to_canonical().is_loopback();
    let auth = check.auth(&parsed, network);
    let (tls, plain) = check.tls(http, listen, network);
    if !(8..=1_000_000).contains(&http.max_connections) {
        check.error("http.max_connections", "must be between 8 and 1000000".into());
    }
    if http.secret.as_ref().is_some_and(|secret| secret.len() < 16) {
        check.error(
            "http.secret",
            "must have at least 16 characters; leave it out to have one generated and kept".into(),
        );
    }
    // A manifest of 4 MiB must always be accepted: the specification says so, and the metadata takes 64 MiB at most.
    let max_manifest = http.max_manifest_size.bytes();
    if !(4 << 20..=64 << 20).contains(&max_manifest) {
        check.error("http.max_manifest_size", "must be between 4MiB and 64MiB".into());
    }
    let settings_http = Http {
        listen,
        tls,
        plain,
        proxies: check.proxies(&http.proxy_protocol.trusted),
        host: http.host.as_deref().map(|host| check.host(host)),
        names: check.names(&http.names),
        secret: http.secret.clone(),
        drain_delay: check.span("http.drain_delay", http.drain_delay, 0, 3_600),
        drain_deadline: check.span("http.draintimeout", http.draintimeout, 0, 3_600),
        max_connections: http.max_connections as usize,
        header_timeout: check.span("http.header_timeout", http.header_timeout, 1, 600),
        idle_timeout: check.span("http.idle_timeout", http.idle_timeout, 1, 86_400),
        body_timeout: check.span("http.body_timeout", http.body_timeout, 1, 3_600),
        max_manifest,
    };
    let instance = check.instance(&parsed.instance);
    let (blobs, metadata) = check.directories(&parsed);
    let blobs = check.bucket(&parsed).map_or(Blobs::Filesystem(blobs), Blobs::S3);
    let metadata = check.database(&parsed).map_or(Metadata::Raft(metadata), Metadata::Postgres);
    // Twice the life of a session's token without a row: an upload that can still go on must not be removed.
    let uploads = Uploads {
        expiry: check.span("uploads.expiry", parsed.uploads.expiry, 7_200, 365 * 86_400),
        purge_interval: check.span("uploads.purge_interval", parsed.uploads.purge_interval, 1, 7 * 86_400),
    };
    if let Some(filter) = &parsed.log.filter
        && let Err(error) = parse_filter(filter)
    {
        check.error("log.filter", format!("not a filter: {error}"));
    }
    let gc = Gc {
        grace: check.span("gc.grace", parsed.gc.grace, 1, 365 * 86_400),
        interval: check.span("gc.interval", parsed.gc.interval, 1, 7 * 86_400),
        untagged: parsed.gc.untagged.map(|kept| check.span("gc.untagged", kept, 1, 100 * 365 * 86_400)),
    };
    let rate = parsed.scrub.rate.bytes();
    if rate < 64 << 10 {
        check.error("scrub.rate", "must be at least 64KiB".into());
    }
    let interval = check.span("scrub.interval", parsed.scrub.interval, 1, 100 * 365 * 86_400);
    let scrub = Scrub { interval, deep: parsed.scrub.deep, rate };
    let audit = check.audit(&parsed.audit);
    let redirect = !parsed.storage.redirect.disable;
    Settings {
        http: settings_http,
        auth,
        instance,
        blobs,
        redirect,
        metadata,
        uploads,
        gc,
        scrub,
        audit,
        metrics: parsed.metrics,
        log: parsed.log,
        told,
    }
}

pub(super) struct Check<'a> {
    tree: &'a Node,
    report: &'a mut Report,
}

impl Check<'_> {
    fn origin(&self, key: &str) -> Origin {
        self.tree.get(key).map_or(Origin::Default, |node| node.origin.clone())
    }

    pub(super) fn error(&mut self, key: &str, text: String) {
        let origin = self.origin(key);
        self.report.error(&origin, key, text);
    }

    pub(super) fn span(&mut self, key: &str, span: Span, least: u64, most: u64) -> Duration {
        let (least, most) = (Span::seconds(least), Span::seconds(most));
        if span < least || span > most {
            self.error(key, format!("must be between {least} and {most}"));
        }
        span.get()
    }

    /// The bucket, when one is written of.
    fn bucket(&mut self, parsed: &Parsed) -> Option<Box<Bucket>> {
        self.tree.get("storage.s3")?;
        if parsed.storage.filesystem.rootdirectory.is_some() {
            let text = "is set beside storage.s3; blobs are kept in one place, so remove one of them";
            self.error("storage.filesystem.rootdirectory", text.into());
        }
        Some(Box::new(s3::validate(&parsed.storage.s3, &mut |key, text| {
            let key = format!("storage.s3.{key}");
            // What is missing is best told where the bucket is.
            let place = if self.tree.get(&key).is_some() { &key } else { "storage.s3" };
            let origin = self.origin(place);
            self.report.error(&origin, key, text);
        })))
    }

    fn instance(&mut self, given: &super::parsed::Instance) -> Instance {
        for (key, value) in [("instance.address", &given.address), ("instance.region", &given.region)] {
            let unfit = |text: &&String| text.is_empty() || text.len() > 255 || text.chars().any(|c| c.is_control());
            if value.as_ref().is_some_and(|value| unfit(&value)) {
                self.error(key, "must have 1 to 255 characters, none of them a control character".into());
            }
        }
        Instance { address: given.address.clone(), region: given.region.clone().unwrap_or_default() }
    }

    fn directories(&mut self, parsed: &Parsed) -> (PathBuf, PathBuf) {
        let blobs_key = "storage.filesystem.rootdirectory";
        let metadata_key = "metadata.raft.directory";
        let given = [
            ("data_dir", Some(&parsed.data_dir)),
            (blobs_key, parsed.storage.filesystem.rootdirectory.as_ref()),
            (metadata_key, parsed.metadata.raft.directory.as_ref()),
        ];
        for (key, value) in given {
            if value.is_some_and(String::is_empty) {
                self.error(key, "is empty; a directory is expected".into());
            }
        }
        if given[1].1.is_some() && given[2].1.is_some() && self.tree.get("data_dir").is_some() {
            let origin = self.origin("data_dir");
            self.report.warn(
                &origin,
                "data_dir",
                format!("has no effect: {blobs_key} and {metadata_key} are both set"),
            );
        }
        let data = Path::new(&parsed.data_dir);
        let place = |value: Option<&String>, name: &str| value.map_or_else(|| data.join(name), PathBuf::from);
        let (blobs, metadata) = (place(given[1].1, "blobs"), place(given[2].1, "metadata"));
        // A database is nowhere below.
        if self.tree.get("metadata.postgres").is_some() {
            return (blobs, metadata);
        }
        let (a, b) = (plain(&blobs), plain(&metadata));
        if a.starts_with(&b) || b.starts_with(&a) {
            let text = format!(
                "{} and {} must be two directories, neither inside of the other",
                blobs.display(),
                metadata.display()
            );
            self.error(metadata_key, text);
        }
        (blobs, metadata)
    }

    /// The database, when one is written of.
    fn database(&mut self, parsed: &Parsed) -> Option<Box<Database>> {
        self.tree.get("metadata.postgres")?;
        if parsed.metadata.raft.directory.is_some() {
            let text = "is set beside metadata.postgres; metadata is kept in one place, so remove one of them";
            self.error("metadata.raft.directory", text.into());
        }
        Some(Box::new(postgres::validate(&parsed.metadata.postgres, &parsed.data_dir, &mut |key, text| {
            let key = format!("metadata.postgres.{key}");
            // What is missing is best told where the database is.
            let origin = self.origin(if self.tree.get(&key).is_some() { &key } else { "metadata.postgres" });
            self.report.error(&origin, &key, text);
        })))
    }
}

/// Reads a filter. What it says of the values of fields is compared as it stands: as regular expressions they would become
/// automata, and a line of 60 characters makes one that takes 20 s and 800 MB.
pub(crate) fn parse_filter(text: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().with_regex(false).parse(text)
}

/// The path without `.` and `..` components, for comparison; links are not followed.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
