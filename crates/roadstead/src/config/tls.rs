//! TLS of the server: what an operator may write, and what it comes to.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parsed::Http;
use super::units::Span;

/// TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct Tls {
    /// Whether the server speaks no TLS although other machines can reach it: something in front of it does, or the
    /// network is trusted.
    pub disabled: bool,
    /// The PEM file with the server's certificate, and after it those of intermediate authorities. Replaced files are
    /// taken over within seconds, once certificate and key fit together. Without it a server that other machines can
    /// reach makes a certificate (`http.tls.generate`), and one on a loopback address speaks no TLS.
    pub certificate: Option<String>,
    /// The PEM file with the private key of `http.tls.certificate`, not encrypted.
    pub key: Option<String>,
    /// Whether the server makes its certificate itself, for a loopback address, too. It is signed by an authority that is
    /// made once for the whole installation and kept in the metadata; clients get that at `/ca` and trust it.
    pub generate: bool,
    /// Host names and addresses that a made certificate is for, beside the host of `http.host`, the name and the
    /// addresses of the machine and `localhost`: those of the load balancer, for instance.
    pub names: Vec<String>,
    /// PEM files with the authorities of client certificates. With any, a client needs a certificate of one of them.
    pub clientcas: Vec<String>,
    /// What is asked of clients when there are `http.tls.clientcas`.
    pub clientauth: ClientAuth,
    /// The oldest version of TLS that is spoken.
    pub minimumtls: Minimum,
    /// How long browsers are told to come with TLS only (`Strict-Transport-Security`); `0s` tells them nothing.
    pub hsts: Span,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            disabled: false,
            certificate: None,
            key: None,
            generate: false,
            names: Vec::new(),
            clientcas: Vec::new(),
            clientauth: ClientAuth::default(),
            minimumtls: Minimum::default(),
            hsts: Span::seconds(365 * 86_400),
        }
    }
}

/// What is asked of clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// A certificate, which is verified.
    #[default]
    RequireAndVerifyClientCert,
    /// One that is shown is verified; a client may also show none.
    VerifyClientCertIfGiven,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Minimum {
    /// 1.2.
    #[default]
    #[serde(rename = "tls1.2")]
    Tls12,
    /// 1.3.
    #[serde(rename = "tls1.3")]
    Tls13,
}

/// TLS as the server speaks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// The certificate.
    pub source: Source,
    /// Authorities of client certificates; clients are not asked without any.
    pub client_authorities: Vec<PathBuf>,
    /// Whether a client may come without.
    pub client_optional: bool,
    /// The oldest version.
    pub minimum: Minimum,
    /// For browsers; zero says nothing.
    pub strict: Duration,
    /// The host of `http.host`.
    pub host: Option<String>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The operator's files.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// Made for these names, and those of the machine.
    Made(Vec<String>),
}

/// The host of a URL's beginning, `https://host:port`.
pub(super) fn host_of(base: &str) -> Option<&str> {
    let authority = base.split_once("://")?.1;
    match authority.strip_prefix('[') {
        Some(address) => address.split_once(']').map(|(address, _)| address),
        None => authority.split(':').next().filter(|host| !host.is_empty()),
    }
}

/// Whether TLS is spoken, and how. `network` is whether other machines can reach the server; `wrong` takes the key below
/// `http.tls` and what is wrong about it.
pub(super) fn validate(http: &Http, network: bool, wrong: &mut dyn FnMut(&'static str, String)) -> Option<Spoken> {
    let tls = &http.tls;
    for (key, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
        if path.as_ref().is_some_and(String::is_empty) {
            wrong(key, "is empty; a file is expected".into());
        }
    }
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => wrong("certificate", "needs http.tls.key, the file with its private key".into()),
        (None, Some(_)) => wrong("key", "needs http.tls.certificate, the file with its certificate".into()),
        _ => {}
    }
    if tls.certificate.is_some() && (tls.generate || !tls.names.is_empty()) {
        let key = if tls.generate { "generate" } else { "names" };
        wrong(
            key,
            "is about a certificate that is made here, and http.tls.certificate gives one: remove one of them".into(),
        );
    }
    let wants = tls.certificate.is_some() || tls.generate || !tls.clientcas.is_empty() || !tls.names.is_empty();
    if tls.disabled && wants {
        wrong("disabled", "is set beside keys that need TLS: remove it or them".into());
    }
    for name in &tls.names {
        if !is_name(name) {
            wrong("names", format!("`{name}` is neither a host name, as in registry.example.com, nor an IP address"));
        }
    }
    let spoken = !tls.disabled && (wants || network);
    let host = http.host.as_deref().and_then(host_of).map(str::to_owned);
    let source = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Source::Files { certificate: certificate.into(), key: key.into() },
        _ => Source::Made(host.iter().chain(&tls.names).cloned().collect()),
    };
    spoken.then(|| Spoken {
        source,
        client_authorities: tls.clientcas.iter().map(PathBuf::from).collect(),
        client_optional: tls.clientauth == ClientAuth::VerifyClientCertIfGiven,
        minimum: tls.minimumtls,
        strict: tls.hsts.get(),
        host,
    })
}

pub(super) fn is_name(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && host.split('.').all(label))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{contains, errors, settings, warnings};
    use super::*;

    fn source(text: &str) -> Option<Source> {
        settings(text, &[]).http.tls.map(|tls| tls.source)
    }

    #[test]
    fn who_can_be_reached_speaks_tls_unless_told_otherwise() {
        let network = "addr: ':5000'";
        assert_eq!(source(""), None);
        assert_eq!(source("http: {addr: '[::1]:5000', host: https://registry.example.com}"), None);
        assert_eq!(source(&format!("http: {{{network}, tls: {{disabled: true}}}}")), None);
        assert_eq!(source(&format!("http: {{{network}}}")), Some(Source::Made(vec![])));
        let made =
            format!("http: {{{network}, host: 'https://registry.example.com:8443', tls: {{names: [lb, 10.0.0.9]}}}}");
        let names = ["registry.example.com", "lb", "10.0.0.9"].map(str::to_owned);
        assert_eq!(source(&made), Some(Source::Made(names.into())));
        assert_eq!(source("http: {tls: {generate: true}}"), Some(Source::Made(vec![])));
        let files = Source::Files { certificate: "a".into(), key: "b".into() };
        assert_eq!(source("http: {tls: {certificate: a, key: b}}"), Some(files));
    }

    #[test]
    fn the_keys_of_distribution_are_those() {
        let tls = settings(
            "http: {tls: {certificate: a, key: b, clientcas: [c, d], clientauth: verify-client-cert-if-given, minimumtls: tls1.3}}",
            &[],
        );
        let tls = tls.http.tls.unwrap();
        assert_eq!((tls.client_authorities.len(), tls.client_optional, tls.minimum), (2, true, Minimum::Tls13));
        assert_eq!(tls.strict.as_secs(), 365 * 86_400);
        let theirs = [("REGISTRY_HTTP_TLS_CERTIFICATE", "a"), ("REGISTRY_HTTP_TLS_KEY", "b")];
        assert!(settings("", &theirs).http.tls.is_some());
        assert_eq!(warnings("", &theirs), Vec::<String>::new());
        let errors = errors(
            "http: {tls: {certificate: a, key: b, minimumtls: tls1.0, clientauth: request-client-cert, \
             letsencrypt: {email: me}, ciphersuites: [x]}}",
            &[],
        );
        contains(&errors, &["http.tls.minimumtls", "`tls1.0` is not one of tls1.2, tls1.3"]);
        contains(&errors, &["http.tls.clientauth", "require-and-verify-client-cert, verify-client-cert-if-given"]);
        contains(&errors, &["http.tls.letsencrypt", "certbot"]);
        contains(&errors, &["http.tls.ciphersuites", "remove the key"]);
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for (tls, parts) in [
            ("{certificate: a}", ["http.tls.certificate", "needs http.tls.key"]),
            ("{key: a}", ["http.tls.key", "needs http.tls.certificate"]),
            ("{certificate: '', key: a}", ["http.tls.certificate", "is empty"]),
            ("{certificate: a, key: b, generate: true}", ["http.tls.generate", "remove one of them"]),
            ("{certificate: a, key: b, names: [x]}", ["http.tls.names", "remove one of them"]),
            ("{certificate: a, key: b, disabled: true}", ["http.tls.disabled", "remove it or them"]),
            ("{generate: true, names: ['a b']}", ["http.tls.names", "`a b` is neither"]),
        ] {
            contains(&errors(&format!("http: {{tls: {tls}}}"), &[]), &parts);
        }
        contains(&errors("http: {plain: {addr: ':80'}}", &[]), &["http.plain.addr", "http.tls.generate: true"]);
        let same = "http: {addr: '127.0.0.1:5', tls: {generate: true}, plain: {addr: '127.0.0.1:5'}}";
        contains(&errors(same, &[]), &["http.plain.addr", "a port of its own"]);
        contains(&errors("http: {proxy_protocol: {trusted: [10.0.0.0/33]}}", &[]), &["trusted", "neither a network"]);
        let odd = "http: {host: 'http://a', tls: {generate: true, clientauth: verify-client-cert-if-given}}";
        contains(&warnings(odd, &[]), &["http.tls.clientauth", "no effect"]);
        contains(&warnings(odd, &[]), &["http.host", "write https://"]);
    }

    #[test]
    fn networks_and_addresses_are_trusted() {
        let settings = settings("http: {proxy_protocol: {trusted: [10.0.0.0/24, 192.0.2.1, '2001:db8::/32']}}", &[]);
        let networks: Vec<_> = settings.http.proxies.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/24", "192.0.2.1/32", "2001:db8::/32"]);
    }

    #[test]
    fn the_host_of_a_url_is_found() {
        for (base, host) in [
            ("https://a.example:8443", Some("a.example")),
            ("https://[2001:db8::1]:5", Some("2001:db8::1")),
            ("http://a", Some("a")),
            ("https://", None),
        ] {
            assert_eq!(host_of(base), host);
        }
    }
}
