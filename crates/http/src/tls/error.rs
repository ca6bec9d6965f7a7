//! Why there is no TLS. Each text names the file and the way out, and none has anything of a key.

use std::io;
use std::path::PathBuf;

/// TLS that cannot be set up, or a replacement that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}; {}", path.display(), way_to_read(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// No certificate in it.
    #[error(
        "{} holds no certificate: it must be PEM, `-----BEGIN CERTIFICATE-----`, the server's certificate first and \
         those of intermediate authorities after it ({why})",
        path.display()
    )]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// No private key in it.
    #[error("{} holds no private key: it must be PEM, `-----BEGIN PRIVATE KEY-----`; {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: &'static str,
    },
    /// A key that belongs to another certificate.
    #[error(
        "the key in {} is not that of the certificate in {}: name the two files that were made together, with the \
         server's certificate first in its file",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file of an authority for clients is not one.
    #[error("{} holds no authority for client certificates: {why}", path.display())]
    ClientAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The authority that is kept in the metadata cannot be used.
    #[error(
        "the certificate authority in the metadata cannot be used ({0}); give a certificate of your own: http.tls.certificate and http.tls.key"
    )]
    Authority(String),
    /// A name that no certificate can have.
    #[error("no certificate can be made for `{0}`: see http.tls.names and http.host")]
    Name(String),
    /// The library refuses.
    #[error("TLS: {0}")]
    Library(rustls::Error),
}

fn way_to_read(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "is the path right, and the volume mounted?",
        io::ErrorKind::PermissionDenied => "let the user that the server runs as read it",
        _ => "it must be a file in PEM form",
    }
}
