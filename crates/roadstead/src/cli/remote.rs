//! A server anywhere: its URL, whom its certificate has to be vouched for by, and one request to it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, Uri};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::admin::{Answer, Refused, converse, told, variable};

/// How long a connection may take to come about.
const CONNECTS: Duration = Duration::from_secs(10);

/// Whom to believe.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Trust {
    /// A PEM file with the authorities that vouch for the server, in place of those that this machine trusts: of a server
    /// that made its own it is to be had at /ca. Without it the file that ROADSTEAD_CA names
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Send credentials without TLS, to a server that is not on this machine
    #[arg(long, global = true)]
    pub(super) plain_http: bool,
}

impl Trust {
    /// What was asked for, else these authorities.
    pub(super) fn or(&self, kept: Option<PathBuf>) -> Self {
        let ca = self.ca.clone().or_else(|| variable("ROADSTEAD_CA").map(PathBuf::from)).or(kept);
        Self { ca, plain_http: self.plain_http }
    }
}

/// A server by its URL. Displayed as one URL, however it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    secure: bool,
    host: String,
    port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Server {
    /// From `https://HOST[:PORT]` or `http://HOST[:PORT]`.
    pub(super) fn parse(url: &str) -> Result<Self, Refused> {
        let wrong = || Refused::Usage(format!("{url} is not of the form https://HOST:PORT or http://HOST:PORT"));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        if authority.host().is_empty() || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let written = authority.as_str().len() > authority.host().len();
        let port = if written { authority.port_u16().ok_or_else(wrong)? } else { default_port(secure) };
        Ok(Self { secure, host: authority.host().to_ascii_lowercase(), port })
    }

    fn authority(&self) -> String {
        match self.port == default_port(self.secure) {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The host without the brackets of an IPv6 address.
    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn is_this_machine(&self) -> bool {
        let address = self.bare_host().parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// Asks; the answer's head has come, and says that it is being done.
    pub(super) async fn ask(
        &self,
        trust: &Trust,
        authorization: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, Refused> {
        if authorization.is_some() && !self.secure && !self.is_this_machine() && !trust.plain_http {
            return Err(told(format!(
                "{self} speaks no TLS, and everybody on the way could read the credentials: use https, or --plain-http"
            )));
        }
        let config = if self.secure { Some(tls(trust.ca.as_deref())?) } else { None };
        let failed = |why: String| told(format!("cannot reach an instance at {self}: {why}"));
        let late = |_| failed(format!("no answer within {} s", CONNECTS.as_secs()));
        let connecting = TcpStream::connect((self.bare_host().to_owned(), self.port));
        let stream = tokio::time::timeout(CONNECTS, connecting).await.map_err(late)?;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let authority = self.authority();
        let Some(config) = config else {
            return converse(stream, &authority, authorization, method, path, body).await;
        };
        let name = ServerName::try_from(self.bare_host().to_owned()).map_err(|error| failed(error.to_string()))?;
        let secured = tokio::time::timeout(CONNECTS, TlsConnector::from(Arc::new(config)).connect(name, stream));
        let stream = secured.await.map_err(late)?.map_err(|error| {
            let text = error.to_string();
            let hint = if text.contains("UnknownIssuer") { "; name the authority by --ca FILE" } else { "" };
            failed(format!("{text}{hint}"))
        })?;
        converse(stream, &authority, authorization, method, path, body).await
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// TLS that believes the authorities in `ca`, or else those that this machine believes.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, Refused> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca {
        let wrong = |error: &dyn fmt::Display| told(format!("--ca {}: {error}", file.display()));
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
    } else {
        // One that cannot be read vouches for nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(told("this machine trusts no authority; name the one of the server by --ca FILE"));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(told)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Server;

    #[test]
    fn a_url_is_read_in_one_way() {
        for (written, read) in [
            ("https://registry.example.com", "https://registry.example.com"),
            ("https://Registry.example.com:443/", "https://registry.example.com"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://[::1]:5000", "https://[::1]:5000"),
        ] {
            assert_eq!(Server::parse(written).unwrap().to_string(), read, "{written}");
        }
        for wrong in
            ["", "127.0.0.1:9", "https://", "ftp://x", "https://x/y", "https://a@x", "https://x?y", "https://x:"]
        {
            assert!(Server::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_on_this_machine_needs_no_tls() {
        for (url, is) in [
            ("http://localhost:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Server::parse(url).unwrap().is_this_machine(), is, "{url}");
        }
    }
}
