//! The configuration as it is written: every key with its type and its default. What the doc comments here say
//! is what `config reference` prints, so they are written for operators.
//!
//! Whether the values make sense together is decided in [`super::settings`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::audit::Audit;
use super::auth::Auth;
use super::postgres::Postgres;
use super::s3::S3;
use super::tls::Tls;
use super::units::{Size, Span};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Parsed {
    /// The directory for everything that has no directory of its own in `storage` and `metadata`: blobs go to
    /// `blobs/` and metadata to `metadata/` in it. Made when absent. The flag `--data-dir` sets it.
    pub data_dir: String,
    /// The server.
    pub http: Http,
    /// Who may do what.
    pub auth: Auth,
    /// This process among others over the same metadata.
    pub instance: Instance,
    /// Where blobs are kept.
    pub storage: Storage,
    /// Where repositories, tags, manifests and upload sessions are kept.
    pub metadata: Metadata,
    /// Unfinished uploads.
    pub uploads: Uploads,
    /// Blobs that nothing names.
    pub gc: Gc,
    /// Damage of what is stored.
    pub scrub: Scrub,
    /// Who did what.
    pub audit: Audit,
    /// Numbers for graphs and alerts.
    pub metrics: Metrics,
    /// The log, on standard error.
    pub log: Log,
}

impl Default for Parsed {
    fn default() -> Self {
        Self {
            data_dir: "./roadstead-data".into(),
            http: Http::default(),
            auth: Auth::default(),
            instance: Instance::default(),
            storage: Storage::default(),
            metadata: Metadata::default(),
            uploads: Uploads::default(),
            gc: Gc::default(),
            scrub: Scrub::default(),
            audit: Audit::default(),
            metrics: Metrics::default(),
            log: Log::default(),
        }
    }
}

/// Numbers for graphs and alerts, at `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Metrics {
    /// Whether `/metrics` is shown to everybody who can reach the server, where clients are asked who they are. Without it
    /// it is for system admins, for their access tokens with the scope `metrics`, and for this machine.
    pub anonymous: bool,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Http {
    /// IP address and port to listen on. Without an address (`:5000`) it is every address of the machine; port 0
    /// takes a free port, which is printed. The flag `--listen` sets it. At an address that other
    /// machines can reach clients are asked who they are (`auth.enabled`), over TLS (`http.tls`).
    pub addr: String,
    /// The URL under which clients reach the server, `https://registry.example.com`, when it stands behind a
    /// proxy that changes the host; `Location` and `Link` headers then begin with it. Without it they are
    /// relative to the request, which every client resolves. A server on a loopback address that asks nobody who it
    /// is answers to no other names than this one, `http.names` and those of this machine.
    pub host: Option<String>,
    /// Further host names and addresses, without port, to which a server on a loopback address answers that asks nobody who
    /// it is: those under which proxies on this machine are reached, for instance. Any other server answers to all names.
    pub names: Vec<String>,
    /// Signs upload sessions, at least 16 characters. Without it a key is generated and kept in the metadata.
    /// Changing it ends the uploads that have begun.
    pub secret: Option<String>,
    /// TLS, which this server ends itself.
    pub tls: Tls,
    /// A second listener without TLS.
    pub plain: Plain,
    /// Proxies that say for whom they connect.
    pub proxy_protocol: ProxyProtocol,
    /// How long health answers 503 after SIGTERM while everything is still served, so that load balancers can look
    /// elsewhere before the listener closes. SIGINT skips it, SIGHUP is a SIGTERM.
    pub drain_delay: Span,
    /// How long requests in flight may go on once the listener has closed; then they are cut off. When a fifth of it
    /// is left, and at least `1s`, uploads still coming are acknowledged as far as they came and answered 503.
    /// Afterwards the process takes up to `12s` to end: with the defaults of this key and of `http.drain_delay` that
    /// is `29s` at most. Give it as much before it is killed (Kubernetes: `terminationGracePeriodSeconds`, 30 by
    /// default), more when you raise either. A second signal ends it at once.
    pub draintimeout: Span,
    /// Connections served at a time. For one more the one that rests longest between requests is closed. Each needs two open files, its own and that of a blob,
    /// so that `ulimit -n` must be twice as high and 1,024; with a lower limit fewer connections are served, and
    /// the log says how many.
    pub max_connections: u32,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Span,
    /// How long a connection may stay open between two requests.
    pub idle_timeout: Span,
    /// How long a request body, or a response body that the client reads, may stand still.
    pub body_timeout: Span,
    /// The largest manifest accepted.
    pub max_manifest_size: Size,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            addr: "127.0.0.1:5000".into(),
            host: None,
            names: Vec::new(),
            secret: None,
            tls: Tls::default(),
            plain: Plain::default(),
            proxy_protocol: ProxyProtocol::default(),
            drain_delay: Span::seconds(5),
            draintimeout: Span::seconds(12),
            max_connections: 16_384,
            header_timeout: Span::seconds(15),
            idle_timeout: Span::seconds(120),
            body_timeout: Span::seconds(60),
            max_manifest_size: Size::mebibytes(4),
        }
    }
}

/// A second listener without TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Plain {
    /// IP address and port, as in `http.addr`; `:80` where clients come without saying how. It sends them to the same
    /// host with TLS, at the port of `http.host` if that is set, else that of `http.addr`, and answers health and `/ca`.
    /// It takes a sixteenth of `http.max_connections`, 512 at most.
    pub addr: Option<String>,
}

/// Proxies that say for whom they connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct ProxyProtocol {
    /// Addresses or networks (`10.0.0.0/24`) of load balancers that begin every connection with a header of the PROXY
    /// protocol, version 1 or 2: the log then has the address of the client. From elsewhere no header is taken. A
    /// connection from there without one is answered health only, and 403 otherwise.
    pub trusted: Vec<String>,
}

/// This process among others over the same metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Instance {
    /// Where other machines reach this process, `host:port`, as `roadstead status` shows it. Default: the name of the
    /// machine and the port of `http.addr`; for a loopback address that address.
    pub address: Option<String>,
    /// The region it runs in, a name of your choice.
    pub region: Option<String>,
}

/// Where blobs are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Storage {
    /// A directory of this machine, or of a file server that several instances mount.
    pub filesystem: Filesystem,
    /// A bucket, in place of a directory.
    pub s3: S3,
    /// Sending clients to the store.
    pub redirect: Redirect,
}

/// Sending clients to the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Redirect {
    /// Whether all bytes of blobs go through this process. Otherwise a client that pulls a blob is sent to the bucket with
    /// a URL that is good for five minutes and for this blob only; one that comes back for the same blob within a
    /// minute gets it from here. A directory has no URLs: from there all bytes go through this process.
    pub disable: bool,
}

/// The filesystem engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Filesystem {
    /// The directory. Made when absent; one that holds something else is refused. Default: `blobs` in `data_dir`.
    pub rootdirectory: Option<String>,
}

/// Where repositories, tags, manifests and upload sessions are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Metadata {
    /// The embedded engine: SQLite with a replicated log.
    pub raft: Raft,
    /// A PostgreSQL database, in place of the embedded engine.
    pub postgres: Postgres,
}

/// The embedded metadata engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Raft {
    /// The directory, on a disk of this machine. Made when absent; one that holds something else is refused.
    /// Default: `metadata` in `data_dir`.
    pub directory: Option<String>,
}

/// Unfinished uploads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Uploads {
    /// How long an upload may stand untouched before it is removed with its bytes; at least `2h`.
    pub expiry: Span,
    /// How often expired uploads are looked for.
    pub purge_interval: Span,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { expiry: Span::seconds(7 * 86_400), purge_interval: Span::seconds(600) }
    }
}

/// Blobs that nothing names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Gc {
    /// How long a blob that no manifest names is kept after a push last relied on it. A push that takes longer from
    /// its first blob to its manifest has to send blobs again, so make it longer than the longest push.
    pub grace: Span,
    /// How often blobs that may go are looked for. It costs what there is to collect.
    pub interval: Span,
    /// How long a manifest is kept that no tag points at, no index names, and whose subject is not there. After that
    /// it is deleted, and can no longer be pulled by its digest. Without a value it is kept for ever.
    pub untagged: Option<Span>,
}

impl Default for Gc {
    fn default() -> Self {
        Self { grace: Span::seconds(86_400), interval: Span::seconds(600), untagged: None }
    }
}

/// Damage of what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Scrub {
    /// How long after the last pass over all blobs the next one begins by itself.
    pub interval: Span,
    /// Whether such a pass reads and hashes every blob. Otherwise it looks only whether they are there and of the right
    /// size.
    pub deep: bool,
    /// Bytes that a pass reads in a second at most; at least `64KiB`.
    pub rate: Size,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { interval: Span::seconds(7 * 86_400), deep: true, rate: Size::mebibytes(20) }
    }
}

/// The log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Log {
    /// The least important messages written. Libraries are one level quieter below `debug`.
    pub level: Level,
    /// `text` for people, `json` with one object a line for machines.
    pub format: Format,
    /// Overrides `log.level` in parts, in the syntax of `tracing-subscriber`'s `EnvFilter`:
    /// `info,roadstead_http=debug`. Values of fields are compared as they stand, not as regular expressions. The variable
    /// `RUST_LOG` is not read.
    pub filter: Option<String>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// Starts, stops and each request.
    #[default]
    Info,
    /// What is decided on the way.
    Debug,
    /// Everything.
    Trace,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}
