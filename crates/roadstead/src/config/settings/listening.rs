//! Where the server listens, for whom, and whether with TLS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::Check;
use crate::config::auth::{self, Guarded};
use crate::config::parsed::{Http, Parsed};
use crate::config::sources::{self, Htpasswd, Oidc};
use crate::config::tls::{self, Spoken};

impl Check<'_> {
    pub(super) fn listen(&mut self, key: &str, addr: &str) -> SocketAddr {
        let (host, port) = addr.rsplit_once(':').unwrap_or((addr, ""));
        let ip = match host.trim_start_matches('[').trim_end_matches(']') {
            "" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            host => host.parse().ok(),
        };
        let (Some(ip), Ok(port)) = (ip, port.parse()) else {
            self.error(
                key,
                format!("`{addr}` is not an IP address with a port, as in 127.0.0.1:5000, [::1]:5000 or :5000"),
            );
            return SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        };
        SocketAddr::new(ip, port)
    }

    pub(super) fn host(&mut self, host: &str) -> String {
        let base = host.trim_end_matches('/');
        let authority = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://")).unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
        if authority.is_empty() || !authority.bytes().all(plain) {
            self.error("http.host", format!("`{host}` is not of the form https://HOST or https://HOST:PORT"));
        }
        base.to_owned()
    }

    pub(super) fn names(&mut self, names: &[String]) -> Vec<String> {
        for name in names.iter().filter(|name| name.starts_with("*.") || !tls::is_name(name)) {
            let text = "is neither a host name without port, as in registry.example.com, nor an IP address";
            self.error("http.names", format!("`{name}` {text}"));
        }
        names.to_vec()
    }

    /// Who may do what, if that is asked.
    pub(super) fn auth(&mut self, parsed: &Parsed, network: bool) -> Option<Guarded> {
        // Whom a proxy speaks for is not on this machine.
        let reached = network || !parsed.http.proxy_protocol.trusted.is_empty();
        let guarded = auth::validate(&parsed.auth, reached, &mut |key, text| self.error(&format!("auth.{key}"), text));
        // Of nothing below it only this is left.
        if self.tree.get("auth.htpasswd").is_some() && parsed.auth.htpasswd == Htpasswd::default() {
            self.error("auth.htpasswd", sources::WITHOUT_PATH.into());
        }
        if self.tree.get("auth.oidc").is_some() && parsed.auth.oidc == Oidc::default() {
            self.error("auth.oidc", sources::WITHOUT_ISSUER.into());
        }
        if parsed.auth.htpasswd.realm.is_some() {
            let origin = self.origin("auth.htpasswd.realm");
            self.report.warn(
                &origin,
                "auth.htpasswd.realm",
                "ignored: clients are told of /auth/token, not of a realm",
            );
        }
        if guarded.is_none() && reached {
            let origin = self.origin("auth.enabled");
            let text = "everybody who can reach the server may pull, push and delete";
            self.report.warn(&origin, "auth.enabled", text);
        }
        guarded
    }

    /// TLS, and the listener that sends clients there.
    pub(super) fn tls(
        &mut self,
        http: &Http,
        listen: SocketAddr,
        network: bool,
    ) -> (Option<Spoken>, Option<SocketAddr>) {
        let spoken = tls::validate(http, network, &mut |key, text| self.error(&format!("http.tls.{key}"), text));
        let plain = http.plain.addr.as_deref().map(|addr| self.listen("http.plain.addr", addr));
        if plain.is_some() && spoken.is_none() {
            let text = "sends clients to TLS, and http.addr speaks none: give http.tls.certificate and http.tls.key, or set http.tls.generate: true";
            self.error("http.plain.addr", text.into());
        }
        if plain.is_some_and(|plain| plain == listen && plain.port() != 0) {
            self.error(
                "http.plain.addr",
                "is http.addr, where TLS is spoken; it needs a port of its own, 80 as a rule".into(),
            );
        }
        if self.tree.get("http.tls.clientauth").is_some() && http.tls.clientcas.is_empty() {
            let origin = self.origin("http.tls.clientauth");
            self.report.warn(&origin, "http.tls.clientauth", "has no effect without http.tls.clientcas");
        }
        if spoken.is_some() && http.host.as_ref().is_some_and(|host| host.starts_with("http://")) {
            let origin = self.origin("http.host");
            self.report.warn(
                &origin,
                "http.host",
                "sends clients to http://, and the server speaks TLS: write https://",
            );
        }
        (spoken, plain)
    }

    pub(super) fn proxies(&mut self, trusted: &[String]) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for text in trusted {
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let text = format!("`{text}` is neither a network, as in 10.0.0.0/24, nor an address");
                    self.error("http.proxy_protocol.trusted", text);
                }
            }
        }
        networks
    }
}
