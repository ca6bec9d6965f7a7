//! TLS of the listener: which certificate new connections get, and how it is replaced while they come.
//!
//! A certificate comes from files of the operator ([`material`], watched by [`watching`]) or is made here, signed by an
//! authority of the installation's own ([`authority`]). In both cases a configuration is built whole, from parts that
//! belong together, and then takes the place of the one before: connections that are open keep theirs, new ones get the
//! new one, and what does not fit together replaces nothing. Session tickets go with their configuration, so that nobody
//! resumes past a changed certificate or a changed set of client authorities.
//!
//! Private keys are in no error and in no `Debug`.

mod authority;
mod error;
mod material;
mod names;
mod watching;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::RwLock;
use roadstead_registry::Clock;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

pub use authority::Authority;
pub use error::TlsError;
use material::Material;

/// Where the certificate comes from.
#[derive(Debug)]
pub enum Source {
    /// From PEM files: a chain that begins with the server's certificate, and its private key.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made here for these names and the addresses of the machine, and renewed before it ends.
    Made {
        /// Who signs it.
        authority: Box<Authority>,
        /// Host names and addresses beside those of the machine.
        names: Vec<String>,
    },
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Oldest {
    /// 1.2.
    #[default]
    Tls12,
    /// 1.3.
    Tls13,
}

/// What a client must show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM files with the authorities of client certificates; without any, clients are not asked.
    pub authorities: Vec<PathBuf>,
    /// Whether a client may come without a certificate. One that it shows is verified in any case.
    pub optional: bool,
}

/// How a listener speaks TLS.
#[derive(Debug)]
pub struct TlsOptions {
    /// The certificate.
    pub source: Source,
    /// The oldest version.
    pub oldest: Oldest,
    /// Certificates of clients.
    pub clients: ClientAuth,
    /// How long browsers are told to use nothing but TLS for this host (`Strict-Transport-Security`); zero says
    /// nothing.
    pub strict: Duration,
    /// The host that clients know, for a warning when the certificate is not for it.
    pub host: Option<String>,
}

/// What a connection is made with, and until when.
#[derive(Debug, Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// End of the certificate, seconds since the Unix epoch.
    not_after: i64,
    /// Of a made certificate: what it is for.
    names: Vec<String>,
}

struct Inner {
    options: TlsOptions,
    current: RwLock<Current>,
    clock: Arc<dyn Clock>,
}

/// TLS of a listener. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

impl Tls {
    /// Reads or makes what is needed; what of it is odd is logged.
    pub async fn open(options: TlsOptions, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let (current, warnings) = build(&options, clock.now()).await?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self(Arc::new(Inner { options, current: RwLock::new(current), clock })))
    }

    /// Looks whether it could be opened, for `config check`: what is odd, or why not.
    pub async fn check(options: &TlsOptions, clock: &dyn Clock) -> Result<Vec<String>, TlsError> {
        build(options, clock.now()).await.map(|(_, warnings)| warnings)
    }

    /// The end of the certificate that new connections get, in seconds since the Unix epoch.
    pub fn not_after(&self) -> i64 {
        self.0.current.read().not_after
    }

    /// For how many days that is.
    pub(crate) fn days_left(&self) -> i64 {
        (self.not_after() - self.0.clock.now() / 1000).div_euclid(86_400)
    }

    /// The authority that made the certificate; `None` when it is the operator's own.
    pub fn authority(&self) -> Option<&Authority> {
        match &self.0.options.source {
            Source::Files { .. } => None,
            Source::Made { authority, .. } => Some(authority),
        }
    }

    /// For one new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0.current.read().config).into()
    }

    /// What every answer says of TLS.
    pub(crate) fn strict(&self) -> Option<HeaderValue> {
        let seconds = self.0.options.strict.as_secs();
        (seconds > 0).then(|| HeaderValue::from_str(&format!("max-age={seconds}")).ok()).flatten()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("not_after", &self.not_after()).finish_non_exhaustive()
    }
}

/// Puts together what new connections get at this time, milliseconds since the Unix epoch, and says what is odd about it.
async fn build(options: &TlsOptions, now: i64) -> Result<(Current, Vec<String>), TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (material, names) = match &options.source {
        Source::Files { certificate, key } => (Material::read(certificate, key).await?, Vec::new()),
        Source::Made { authority, names } => {
            let names = names::all(names);
            (authority.issue(&names, now)?, names)
        }
    };
    let clients = client_verifier(&options.clients, &provider).await?;
    let mut warnings = Vec::new();
    if let Source::Files { certificate, .. } = &options.source {
        warnings.extend(material.oddities(certificate, options.host.as_deref(), now / 1000));
    }
    if let Source::Made { authority, .. } = &options.source {
        warnings.extend(authority.ends_soon(now / 1000));
    }
    let not_after = material.not_after;
    let certified = material.certified(&provider, &options.source)?;
    let versions = match options.oldest {
        Oldest::Tls12 => &[&TLS13, &TLS12][..],
        Oldest::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsError::Library)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Library)?;
    Ok((Current { config: Arc::new(config), not_after, names }, warnings))
}

async fn client_verifier(
    clients: &ClientAuth,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if clients.authorities.is_empty() {
        return Ok(Arc::new(NoClientAuth));
    }
    let roots = Arc::new(material::authorities(&clients.authorities).await?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = if clients.optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| TlsError::ClientAuthority {
        path: clients.authorities.first().cloned().unwrap_or_default(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
