//! TLS of a client that trusts one authority and nobody else.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Pair;

/// How a client speaks TLS. Each connection makes a whole handshake.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Trusts the authority with this certificate (PEM), and expects a server called `name`.
    pub fn trusting(authority: &str, name: &str) -> Self {
        Self::made(authority, name, None, &[&TLS13, &TLS12])
    }

    /// The same, and shows a certificate of its own.
    pub fn showing(authority: &str, name: &str, own: &Pair) -> Self {
        Self::made(authority, name, Some(own), &[&TLS13, &TLS12])
    }

    /// The same as the first by a client that knows nothing newer than TLS 1.2.
    pub fn old(authority: &str, name: &str) -> Self {
        Self::made(authority, name, None, &[&TLS12])
    }

    fn made(
        authority: &str,
        name: &str,
        own: Option<&Pair>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(certificate.expect("a certificate")).expect("an authority");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions that there are")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain.map(|c| c.expect("a certificate")).collect(), key).expect("a pair")
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        Self { config: Arc::new(config), name: ServerName::try_from(name.to_owned()).expect("a name") }
    }

    /// Makes the handshake on a connection that is there.
    pub fn handshake(&self, socket: TcpStream) -> io::Result<impl Read + Write + use<>> {
        self.connect(socket)
    }

    pub(crate) fn connect(&self, mut socket: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut connection =
            ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    }

    /// The certificate that the server at `addr` shows now, DER.
    pub fn served(&self, addr: SocketAddr) -> io::Result<Vec<u8>> {
        let stream = self.connect(TcpStream::connect(addr)?)?;
        let chain = stream.conn.peer_certificates().unwrap_or_default();
        Ok(chain.first().map(|certificate| certificate.to_vec()).unwrap_or_default())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A connection's bytes.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
