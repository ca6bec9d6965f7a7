//! Certificates as an operator would have them: an authority, and pairs that it signs.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

/// An authority.
#[derive(Debug)]
pub struct Issuer(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Issuer {
    /// A new one of this name.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, key()).expect("an authority"))
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// Signs a server's certificate for these names.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.sign(params(names, ExtendedKeyUsagePurpose::ServerAuth))
    }

    /// The same of one that expired long ago.
    pub fn expired(&self, names: &[&str]) -> Pair {
        let mut params = params(names, ExtendedKeyUsagePurpose::ServerAuth);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    /// Signs a client's certificate.
    pub fn client(&self, name: &str) -> Pair {
        self.sign(params(&[name], ExtendedKeyUsagePurpose::ClientAuth))
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    /// Writes both into a directory, and answers the two files.
    #[allow(clippy::disallowed_methods, reason = "files of a test")]
    pub fn write(&self, directory: &Path) -> (PathBuf, PathBuf) {
        let files = (directory.join("tls.crt"), directory.join("tls.key"));
        std::fs::write(&files.0, &self.certificate).expect("a file");
        std::fs::write(&files.1, &self.key).expect("a file");
        files
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn params(names: &[&str], usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}
