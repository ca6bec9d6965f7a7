//! The configuration once it makes sense: addresses parsed, directories resolved, values within their bounds.
//! Made only from [`Parsed`], only without errors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::document::Node;
use super::parsed::{Log, Parsed};
use super::report::{Origin, Report};
use super::units::Span;

/// What the process runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub http: Http,
    /// The root of the filesystem location.
    pub blobs: PathBuf,
    /// The directory of the embedded metadata engine.
    pub metadata: PathBuf,
    /// Unfinished uploads.
    pub uploads: Uploads,
    /// Blobs that nothing names.
    pub gc: Gc,
    /// Damage of what is stored.
    pub scrub: Scrub,
    /// The log.
    pub log: Log,
}

impl Settings {
    /// The Unix socket of the admin API.
    pub fn admin_socket(&self) -> PathBuf {
        self.metadata.join("admin.sock")
    }
}

/// The server.
#[derive(Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `scheme://host[:port]` that absolute URLs begin with; relative without it.
    pub host: Option<String>,
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
    let mut check = Check { tree, report };
    let http = &parsed.http;
    let listen = check.listen(&http.addr, http.allow_anonymous_network);
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
        host: http.host.as_deref().map(|host| check.host(host)),
        secret: http.secret.clone(),
        drain_delay: check.span("http.drain_delay", http.drain_delay, 0, 3_600),
        drain_deadline: check.span("http.draintimeout", http.draintimeout, 0, 3_600),
        max_connections: http.max_connections as usize,
        header_timeout: check.span("http.header_timeout", http.header_timeout, 1, 600),
        idle_timeout: check.span("http.idle_timeout", http.idle_timeout, 1, 86_400),
        body_timeout: check.span("http.body_timeout", http.body_timeout, 1, 3_600),
        max_manifest,
    };
    let (blobs, metadata) = check.directories(&parsed);
    // Twice the life of a session's token without a row: an upload that can still go on must not be removed.
    let uploads = Uploads {
        expiry: check.span("uploads.expiry", parsed.uploads.expiry, 7_200, 365 * 86_400),
        purge_interval: check.span("uploads.purge_interval", parsed.uploads.purge_interval, 1, 7 * 86_400),
    };
    if let Some(filter) = &parsed.log.filter
        && let Err(error) = tracing_subscriber::EnvFilter::try_new(filter)
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
    Settings { http: settings_http, blobs, metadata, uploads, gc, scrub, log: parsed.log }
}

struct Check<'a> {
    tree: &'a Node,
    report: &'a mut Report,
}

impl Check<'_> {
    fn origin(&self, key: &str) -> Origin {
        self.tree.get(key).map_or(Origin::Default, |node| node.origin.clone())
    }

    fn error(&mut self, key: &str, text: String) {
        let origin = self.origin(key);
        self.report.error(&origin, key, text);
    }

    fn span(&mut self, key: &str, span: Span, least: u64, most: u64) -> Duration {
        let (least, most) = (Span::seconds(least), Span::seconds(most));
        if span < least || span > most {
            self.error(key, format!("must be between {least} and {most}"));
        }
        span.get()
    }

    fn listen(&mut self, addr: &str, allowed: bool) -> SocketAddr {
        let (host, port) = addr.rsplit_once(':').unwrap_or((addr, ""));
        let ip = match host.trim_start_matches('[').trim_end_matches(']') {
            "" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            host => host.parse().ok(),
        };
        let (Some(ip), Ok(port)) = (ip, port.parse()) else {
            self.error(
                "http.addr",
                format!("`{addr}` is not an IP address with a port, as in 127.0.0.1:5000, [::1]:5000 or :5000"),
            );
            return SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        };
        if !ip.to_canonical().is_loopback() && !allowed {
            self.error(
                "http.addr",
                format!(
                    "{addr} can be reached from other machines, and nothing authenticates them: everyone could push and delete. \
                     Listen on 127.0.0.1:{port} behind an authenticating proxy, or accept it with http.allow_anonymous_network: true"
                ),
            );
        }
        SocketAddr::new(ip, port)
    }

    fn host(&mut self, host: &str) -> String {
        let base = host.trim_end_matches('/');
        let authority = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://")).unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
        if authority.is_empty() || !authority.bytes().all(plain) {
            self.error("http.host", format!("`{host}` is not of the form https://HOST or https://HOST:PORT"));
        }
        base.to_owned()
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
