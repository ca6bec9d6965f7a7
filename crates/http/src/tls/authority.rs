//! A certificate authority of the installation's own, for who has none: kept in the metadata, so that all instances have
//! the same one, and clients trust it once.

use std::fmt;
use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use roadstead_metadata::Millis;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::TlsError;
use super::material::{self, Material};

/// Of the authority, seconds: ten years.
const LIFE: i64 = 3_653 * 86_400;
/// Of a certificate that it signs.
pub(super) const LEAF_LIFE: i64 = 90 * 86_400;
/// With less than this left a certificate is made anew.
pub(super) const RENEWED: i64 = 30 * 86_400;
/// Clocks of clients may be behind.
const BEFORE: i64 = 3_600;
/// The longest common name.
const COMMON_NAME: usize = 64;

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    certificate: String,
    key: String,
}

/// An authority that signs the certificates of instances.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    fingerprint: String,
    not_after: i64,
}

impl Authority {
    /// Makes one, as the text to be kept. Nobody but instances may read it: the private key is in it.
    pub fn make(now: Millis) -> Result<String, TlsError> {
        // Two installations must not have authorities of the same name, or clients that trust both confuse them.
        let name = format!("Roadstead CA {}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let mut params = params(&name);
        (params.not_before, params.not_after) = span(now / 1000, LIFE)?;
        let key = KeyPair::generate().map_err(unusable)?;
        let certificate = params.self_signed(&key).map_err(unusable)?.pem();
        let kept = Kept { name, certificate, key: key.serialize_pem() };
        serde_json::to_string(&kept).map_err(|_| TlsError::Authority("it cannot be written as text".into()))
    }

    /// Reads what [`Authority::make`] answered.
    pub fn read(text: &str) -> Result<Self, TlsError> {
        // What the parsers say may quote what they read.
        let damaged = || TlsError::Authority("it is damaged".into());
        let kept: Kept = serde_json::from_str(text).map_err(|_| damaged())?;
        let key = KeyPair::from_pem(&kept.key).map_err(|_| damaged())?;
        let der = CertificateDer::from_pem_slice(kept.certificate.as_bytes()).map_err(|_| damaged())?;
        let (_, not_after) = material::validity(&der).map_err(|_| damaged())?;
        let hash = Sha256::digest(&der);
        let fingerprint = hash.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let issuer = Issuer::new(params(&kept.name), key);
        Ok(Self { issuer, certificate: kept.certificate, fingerprint, not_after })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// SHA-256 of its certificate, as `openssl x509 -fingerprint -sha256` writes it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Its end, seconds since the Unix epoch.
    pub(super) fn not_after(&self) -> i64 {
        self.not_after
    }

    /// A warning within its last year. `now` is in seconds.
    pub(super) fn ends_soon(&self, now: i64) -> Option<String> {
        (self.not_after - now < 365 * 86_400).then(|| {
            "the certificate authority that was made here ends within a year, and all certificates with it: give \
             certificates of your own before (http.tls.certificate, http.tls.key)"
                .to_owned()
        })
    }

    /// A certificate for these host names and addresses, with a new key.
    pub(super) fn issue(&self, names: &[String], now: i64) -> Result<Material, TlsError> {
        let now = now / 1000;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let common = names.iter().find(|name| name.len() <= COMMON_NAME).map_or("roadstead", String::as_str);
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let life = LEAF_LIFE.min(self.not_after - now);
        (params.not_before, params.not_after) = span(now, life)?;
        let key = KeyPair::generate().map_err(unusable)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(unusable)?;
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Material { chain, key, not_after: now + life, not_before: now - BEFORE })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// What the authority is, and signs as.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Roadstead");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn alternative(name: &str) -> Result<SanType, TlsError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => name.try_into().map(SanType::DnsName).map_err(|_| TlsError::Name(name.to_owned())),
    }
}

fn span(now: i64, life: i64) -> Result<(OffsetDateTime, OffsetDateTime), TlsError> {
    let at = |seconds| {
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| TlsError::Authority("the clock is wrong".into()))
    };
    Ok((at(now - BEFORE)?, at(now + life)?))
}

fn unusable(error: rcgen::Error) -> TlsError {
    TlsError::Authority(error.to_string())
}
