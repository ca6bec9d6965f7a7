//! Keys that are understood although they are no keys of this version: the whole schema of distribution v0.1,
//! and what coming versions of Roadstead will have.
//!
//! Each is honoured under our name for it, or refused, or ignored with a warning that names it. Refused is what
//! must not be ignored: an operator who wrote `auth` believes the registry is protected.

use super::document::{Content, Node};
use super::report::Report;

/// What becomes of a known key.
#[derive(Debug, Clone, Copy)]
enum Standing {
    /// Ours has the same name.
    Same,
    /// Ours has this name.
    Moved(&'static str),
    /// Has no effect; the text says why, or what to do.
    Ignored(&'static str),
    /// Has no effect and needs none when it has this value, otherwise ignored with the text.
    Needless(&'static str, &'static str),
    /// An error, always.
    Refused(&'static str),
    /// An error unless it has this value.
    Only(&'static str, &'static str),
}

use Standing::{Ignored, Moved, Needless, Only, Refused, Same};

const ENGINE: &str = "this version keeps blobs on the filesystem or in S3; use storage.filesystem or storage.s3";
const COPIES: &str = "ignored: copies inside of the store follow the sizes of what is copied";
const LOCATIONS: &str = "this version has one storage location; use storage.filesystem.rootdirectory";
const NO_EFFECT: &str = "ignored: this version has nothing that it would set";

/// Every known key, the more special before the more general.
const KNOWN: &[(&str, Standing)] = &[
    ("version", Only("0.1", "0.1 is the only version of this format; the key may also be left out")),
    ("log.level", Same),
    ("log.formatter", Moved("log.format")),
    ("loglevel", Moved("log.level")),
    ("log.accesslog.disabled", Needless("false", "ignored: requests are logged at level info; set log.level to warn")),
    ("log.accesslog", Ignored(NO_EFFECT)),
    ("log.fields", Ignored(NO_EFFECT)),
    ("log.hooks", Ignored(NO_EFFECT)),
    ("http.addr", Same),
    ("http.host", Same),
    ("http.secret", Same),
    ("http.draintimeout", Same),
    ("http.net", Only("tcp", "only tcp is supported; put a proxy in front for a unix socket")),
    ("http.prefix", Only("/", "the API is served at /v2/ and nowhere else; let a proxy strip the prefix")),
    ("http.relativeurls", Needless("true", "ignored: URLs are relative unless http.host is set")),
    ("http.tls.certificate", Same),
    ("http.tls.key", Same),
    ("http.tls.clientcas", Same),
    ("http.tls.clientauth", Same),
    ("http.tls.minimumtls", Same),
    ("http.tls.ciphersuites", Refused("the cipher suites are fixed, all of them with forward secrecy; remove the key")),
    (
        "http.tls.letsencrypt",
        Refused(
            "this server gets no certificates by ACME; let a client of it, as certbot, write http.tls.certificate and http.tls.key: replaced files are taken over",
        ),
    ),
    ("http.debug", Ignored("ignored: metrics are at /metrics and health at /health of http.addr")),
    ("http.headers", Ignored("ignored: response headers are fixed; let a proxy add more")),
    ("http.http2.disabled", Needless("false", "ignored: HTTP/2 is spoken with the clients that ask for it")),
    ("http.http2", Ignored(NO_EFFECT)),
    ("http.h2c.enabled", Needless("true", "ignored: HTTP/2 without TLS is spoken with the clients that ask for it")),
    ("http.h2c", Ignored(NO_EFFECT)),
    ("storage.filesystem.rootdirectory", Same),
    ("storage.filesystem.maxthreads", Ignored("ignored: the number of threads follows the load")),
    ("storage.s3.bucket", Same),
    ("storage.s3.region", Same),
    ("storage.s3.regionendpoint", Same),
    ("storage.s3.accesskey", Same),
    ("storage.s3.secretkey", Same),
    ("storage.s3.sessiontoken", Same),
    ("storage.s3.rootdirectory", Same),
    ("storage.s3.secure", Same),
    ("storage.s3.skipverify", Same),
    ("storage.s3.forcepathstyle", Same),
    ("storage.s3.chunksize", Same),
    ("storage.s3.encrypt", Same),
    ("storage.s3.keyid", Same),
    ("storage.s3.storageclass", Same),
    ("storage.s3.v4auth", Only("true", "requests are always signed with version 4; remove the key")),
    ("storage.s3.accelerate", Needless("false", "ignored: name the accelerated endpoint in storage.s3.regionendpoint")),
    (
        "storage.s3.usedualstack",
        Needless("false", "ignored: name the dual stack endpoint in storage.s3.regionendpoint"),
    ),
    ("storage.s3.multipartcopychunksize", Ignored(COPIES)),
    ("storage.s3.multipartcopymaxconcurrency", Ignored(COPIES)),
    ("storage.s3.multipartcopythresholdsize", Ignored(COPIES)),
    ("storage.s3.useragent", Ignored(NO_EFFECT)),
    ("storage.s3.loglevel", Ignored("ignored: set log.level or log.filter")),
    ("storage.s3.logS3APIRequests", Ignored("ignored: set log.level or log.filter")),
    ("storage.s3.objectacl", Ignored("ignored: objects get the access rules of the bucket")),
    ("storage.s3aws", Refused("write storage.s3 in place of storage.s3aws; its keys are the same")),
    ("storage.azure", Refused(ENGINE)),
    ("storage.azblob", Refused(ENGINE)),
    ("storage.gcs", Refused(ENGINE)),
    ("storage.oss", Refused(ENGINE)),
    ("storage.swift", Refused(ENGINE)),
    (
        "storage.inmemory",
        Refused("blobs in memory are lost at the end of the process; use storage.filesystem.rootdirectory"),
    ),
    ("storage.preferred", Refused(LOCATIONS)),
    ("storage.locations", Refused(LOCATIONS)),
    ("storage.replicate_to", Refused(LOCATIONS)),
    (
        "storage.delete.enabled",
        Only("true", "this version cannot refuse deletion; remove the key to accept that, or refuse DELETE in a proxy"),
    ),
    ("storage.delete", Ignored(NO_EFFECT)),
    ("storage.redirect.disable", Same),
    ("storage.cache", Ignored("ignored: descriptors are kept in the metadata and need no cache")),
    ("storage.tag", Ignored("ignored: tags are kept in the metadata; listing them needs no concurrency limit")),
    ("storage.maintenance.uploadpurging.age", Moved("uploads.expiry")),
    ("storage.maintenance.uploadpurging.interval", Moved("uploads.purge_interval")),
    (
        "storage.maintenance.uploadpurging.enabled",
        Needless("true", "ignored: unfinished uploads always expire after uploads.expiry"),
    ),
    (
        "storage.maintenance.uploadpurging.dryrun",
        Needless("false", "ignored: unfinished uploads always expire after uploads.expiry"),
    ),
    (
        "storage.maintenance.readonly.enabled",
        Only("false", "this version has no read-only mode; stop the server, or refuse writes in a proxy"),
    ),
    ("storage.maintenance", Ignored(NO_EFFECT)),
    ("storage.middleware", Ignored(NO_EFFECT)),
    ("auth.none", Refused("to let everybody in, write auth.enabled: false")),
    ("auth.htpasswd.path", Same),
    ("auth.htpasswd.realm", Same),
    ("auth.token", Refused("this server issues its tokens itself, at /auth/token: remove the key")),
    ("auth.silly", Refused("it would let everybody in; remove the key, or write auth.enabled: false")),
    ("auth", Same),
    (
        "http.allow_anonymous_network",
        Refused(
            "clients are asked who they are where other machines reach the server; auth.enabled: false lets everybody in",
        ),
    ),
    ("middleware", Ignored(NO_EFFECT)),
    ("notifications", Ignored("ignored: this version sends no notifications")),
    ("redis", Ignored("ignored: no cache is needed")),
    ("health", Ignored("ignored: storage and metadata are always probed; the result is at /load_balancer_status")),
    ("proxy", Refused("this version does not pull through from another registry")),
    ("compatibility", Ignored("ignored: schema 1 manifests are not served")),
    ("validation", Ignored("ignored: every manifest is validated, and what it names must exist")),
    ("policy", Ignored(NO_EFFECT)),
    ("catalog.maxentries", Ignored("ignored: a page of the catalog has a fixed maximum")),
    ("catalog", Ignored(NO_EFFECT)),
    ("reporting", Ignored(NO_EFFECT)),
];

/// The paths of all known keys.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(path, _)| *path)
}

/// Whether `path` is a known key or stands under one that is known as a whole.
pub(super) fn covers(path: &str) -> bool {
    paths().any(|known| path == known || path.strip_prefix(known).is_some_and(|rest| rest.starts_with('.')))
}

/// The path that a variable of distribution (`REGISTRY_HTTP_ADDR`, given without `REGISTRY_`) sets.
pub(super) fn by_variable(name: &str) -> Option<String> {
    KNOWN.iter().find_map(|(path, standing)| {
        let rest = name.strip_prefix(&path.to_ascii_uppercase().replace('.', "_"))?;
        let whole = !matches!(standing, Same | Moved(_) | Needless(..) | Only(..));
        match rest.strip_prefix('_') {
            None if rest.is_empty() => Some((*path).to_owned()),
            Some(below) if whole => Some(format!("{path}.{}", below.to_ascii_lowercase())),
            _ => None,
        }
    })
}

/// Removes the known keys from one layer of the configuration: what we have under another name goes there, the
/// rest is refused or ignored, and said.
pub(super) fn settle(layer: &mut Node, report: &mut Report) {
    for (path, standing) in KNOWN {
        if matches!(standing, Same) {
            continue;
        }
        let Some(node) = layer.take(path) else { continue };
        if is_empty(&node) && !matches!(standing, Refused(_)) {
            continue;
        }
        let is = |wanted: &str| matches!(&node.content, Content::Scalar(text) if text.eq_ignore_ascii_case(wanted));
        match standing {
            Moved(to) if layer.get(to).is_some() => {
                report.warn(&node.origin, *path, format!("ignored: {to} is set too"))
            }
            Moved(to) => layer.put(to, node),
            Ignored(text) => report.warn(&node.origin, *path, *text),
            Needless(value, text) if !is(value) => report.warn(&node.origin, *path, *text),
            Refused(text) => report.error(&node.origin, *path, *text),
            Only(value, text) if !is(value) => report.error(&node.origin, *path, *text),
            Needless(..) | Only(..) | Same => {}
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.content {
        Content::Null => true,
        Content::Map(entries) => entries.is_empty(),
        Content::List(items) => items.is_empty(),
        Content::Scalar(_) => false,
    }
}
