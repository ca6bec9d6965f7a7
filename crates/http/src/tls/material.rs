//! A certificate chain with its key, from files, and what is odd about it.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_cert::der::Decode as _;

use super::{Source, TlsError};

/// A certificate that ends sooner is warned of, seconds.
const SOON: i64 = 14 * 86_400;
/// More than any chain with its key has.
const LARGEST: u64 = 1 << 20;

/// What a server shows, and proves.
pub(super) struct Material {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// End of the first certificate, seconds since the Unix epoch.
    pub(super) not_after: i64,
    /// Its beginning.
    pub(super) not_before: i64,
}

impl Material {
    /// Reads both files.
    pub(super) async fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let text = read(certificate).await?;
        let chain = chain(&text)
            .and_then(|chain| if chain.is_empty() { Err("there is none in it".into()) } else { Ok(chain) })
            .map_err(|why| TlsError::Certificate { path: certificate.to_owned(), why })?;
        let (not_before, not_after) =
            validity(&chain[0]).map_err(|why| TlsError::Certificate { path: certificate.to_owned(), why })?;
        let key = private_key(&read(key).await?).map_err(|why| TlsError::Key { path: key.to_owned(), why })?;
        Ok(Self { chain, key, not_after, not_before })
    }

    /// Both as the library uses them, if they belong together.
    pub(super) fn certified(self, provider: &CryptoProvider, source: &Source) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_der(self.chain, self.key, provider).map_err(|error| match (error, source) {
            (rustls::Error::InconsistentKeys(_), Source::Files { certificate, key }) => {
                TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() }
            }
            (rustls::Error::General(_), Source::Files { key, .. }) => {
                TlsError::Key { path: key.clone(), why: "RSA from 2048 bits, ECDSA and Ed25519 keys can be used" }
            }
            (error, _) => TlsError::Library(error),
        })
    }

    /// What clients will complain about. `now` is in seconds.
    pub(super) fn oddities(&self, path: &Path, host: Option<&str>, now: i64) -> Vec<String> {
        let mut odd = Vec::new();
        let path = path.display();
        let days = (self.not_after - now) / 86_400;
        if self.not_after <= now {
            odd.push(format!("the certificate in {path} has expired: clients refuse it. Replace the file"));
        } else if self.not_after - now < SOON {
            odd.push(format!("the certificate in {path} expires in {days} days. Replace the file before"));
        }
        if self.not_before > now {
            odd.push(format!("the certificate in {path} is not valid yet: clients refuse it. Is the clock right?"));
        }
        let name = host.and_then(|host| ServerName::try_from(host).ok());
        if let (Some(name), Ok(parsed)) = (name, ParsedCertificate::try_from(&self.chain[0]))
            && verify_server_name(&parsed, &name).is_err()
        {
            let name = name.to_str().into_owned();
            odd.push(format!("the certificate in {path} is not for {name}, the host of http.host: clients refuse it"));
        }
        odd
    }
}

/// The authorities in these files, at least one in each.
pub(super) async fn authorities(paths: &[PathBuf]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for path in paths {
        let text = read(path).await?;
        let wrong = |why: String| TlsError::ClientAuthority { path: path.clone(), why };
        let certificates = chain(&text).map_err(wrong)?;
        if certificates.is_empty() {
            return Err(wrong("it must be PEM, `-----BEGIN CERTIFICATE-----`".into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    Ok(roots)
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Read { path: path.to_owned(), error };
    let found = tokio::fs::metadata(path).await.map_err(unreadable)?;
    // Not a device that never ends, and not the log that was named by mistake.
    if !found.is_file() || found.len() > LARGEST {
        return Err(unreadable(std::io::Error::other("not a file of less than 1 MiB")));
    }
    tokio::fs::read(path).await.map_err(unreadable)
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// The first key. Errors of the parser are not passed on: they quote lines.
fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(text).map_err(|_| {
        let encrypted =
            [&b"ENCRYPTED"[..], b"Proc-Type"].iter().any(|mark| text.windows(mark.len()).any(|w| w == *mark));
        match encrypted {
            true => "it is encrypted, and nobody is there to type a password: openssl pkey -in FILE -out DECRYPTED",
            false => "nothing of that kind is in it",
        }
    })
}

/// Beginning and end, seconds since the Unix epoch.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Result<(i64, i64), String> {
    let parsed = x509_cert::Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let validity = parsed.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Ok((seconds(validity.not_before), seconds(validity.not_after)))
}
