//! An OCI client of the plain kind: what docker and others do, one method each, blocking.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::content::hex;
use crate::tls::Tls;
use crate::wire::{Body, Connection, Request, Response};
use crate::{Image, digest, digest_of};

/// Talks to one server. Each thread takes its own: requests of one client go one after another.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    tls: Option<Tls>,
    from: Option<IpAddr>,
    /// Sent with every request that says nothing else.
    authorization: Option<String>,
    idle: Mutex<Option<Connection>>,
}

/// An operation that did not end as it should.
#[derive(Debug)]
pub enum Refused {
    /// No answer: the connection broke, or none could be made.
    Unanswered(io::Error),
    /// Another answer than the one expected.
    Answer {
        /// `PUT /v2/...`
        request: String,
        /// What came.
        response: Box<Response>,
    },
    /// Content that is not what its name says.
    Content(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unanswered(error) => write!(f, "no answer: {error}"),
            Refused::Answer { request, response } => {
                write!(f, "{request}: {} {}", response.status, String::from_utf8_lossy(&response.body))
            }
            Refused::Content(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refused {}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused::Unanswered(error)
    }
}

/// An upload session as the server last described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Where the next request goes: path and query.
    pub location: String,
    /// How many bytes the server has acknowledged.
    pub offset: u64,
}

impl Client {
    /// A client of the server at `addr`.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, tls: None, from: None, authorization: None, idle: Mutex::new(None) }
    }

    /// The same over TLS.
    #[must_use]
    pub fn over(self, tls: &Tls) -> Self {
        Self { tls: Some(tls.clone()), ..self }
    }

    /// The same from this address of the machine.
    #[must_use]
    pub fn from(self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// The same by this user, or with this access token of it.
    #[must_use]
    pub fn user(self, name: &str, secret: &str) -> Self {
        let authorization = format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
        Self { authorization: Some(authorization), ..self }
    }

    /// The same with this token of the token endpoint.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self }
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends anything and returns whatever comes back.
    pub fn send(&self, request: &Request, body: Body<'_>) -> Result<Response, Refused> {
        self.send_to(request, body, None)
    }

    /// A request without headers and body.
    pub fn call(&self, method: &str, target: &str) -> Result<Response, Refused> {
        self.send(&Request::new(method, target), Body::None)
    }

    fn send_to(&self, request: &Request, body: Body<'_>, sink: Option<&mut dyn Write>) -> Result<Response, Refused> {
        let mut request = Request { target: path_of(&request.target), ..request.clone() };
        if let Some(authorization) = self.authorization.as_ref().filter(|_| !request.has("Authorization")) {
            request = request.header("Authorization", authorization);
        }
        let idle = self.idle.lock().unwrap().take().filter(Connection::is_open);
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open(self.addr, self.from, self.tls.as_ref())?,
        };
        let (response, again) = connection.exchange(&request, body, sink)?;
        if again {
            *self.idle.lock().unwrap() = Some(connection);
        }
        Ok(response)
    }

    fn expect(&self, request: &Request, body: Body<'_>, statuses: &[u16]) -> Result<Response, Refused> {
        let response = self.send(request, body)?;
        accept(request, response, statuses)
    }

    /// Whether a blob is there (end-2 with HEAD).
    pub fn has_blob(&self, repository: &str, digest: &str) -> Result<bool, Refused> {
        let request = Request::new("HEAD", format!("/v2/{repository}/blobs/{digest}"));
        Ok(self.expect(&request, Body::None, &[200, 404])?.status == 200)
    }

    /// Begins an upload (end-4a).
    pub fn begin(&self, repository: &str) -> Result<Upload, Refused> {
        let request = Request::new("POST", format!("/v2/{repository}/blobs/uploads/"));
        let response = self.expect(&request, Body::None, &[202])?;
        upload_of(&request, response)
    }

    /// Sends the bytes that follow the session's offset (end-5).
    pub fn append(&self, upload: &Upload, reader: &mut dyn Read, length: u64) -> Result<Upload, Refused> {
        let range = format!("{}-{}", upload.offset, (upload.offset + length).saturating_sub(1));
        let request = Request::new("PATCH", &upload.location)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Range", range);
        let response = self.expect(&request, Body::Sized(reader, length), &[202])?;
        upload_of(&request, response)
    }

    /// Asks where a session stands (end-13).
    pub fn status(&self, upload: &Upload) -> Result<Upload, Refused> {
        let request = Request::new("GET", &upload.location);
        let response = self.expect(&request, Body::None, &[204])?;
        upload_of(&request, response)
    }

    /// Ends an upload with the bytes that are left (end-6).
    pub fn finish(&self, upload: &Upload, digest: &str, rest: &[u8]) -> Result<(), Refused> {
        let request = Request::new("PUT", with_digest(&upload.location, digest))
            .header("Content-Type", "application/octet-stream");
        self.expect(&request, Body::Bytes(rest), &[201]).map(drop)
    }

    /// Pushes a blob as docker does: POST, one streamed PATCH, PUT.
    pub fn push_streamed(&self, repository: &str, bytes: &[u8]) -> Result<String, Refused> {
        let upload = self.begin(repository)?;
        let request = Request::new("PATCH", &upload.location).header("Content-Type", "application/octet-stream");
        let response = self.expect(&request, Body::Chunked(&mut &*bytes), &[202])?;
        let digest = digest(bytes);
        self.finish(&upload_of(&request, response)?, &digest, &[])?;
        Ok(digest)
    }

    /// Pushes a blob with POST and one PUT.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> Result<String, Refused> {
        let digest = digest(bytes);
        self.finish(&self.begin(repository)?, &digest, bytes)?;
        Ok(digest)
    }

    /// Pushes a blob in pieces of `chunk` bytes.
    pub fn push_chunked(
        &self,
        repository: &str,
        digest: &str,
        content: &mut dyn Read,
        length: u64,
        chunk: u64,
    ) -> Result<(), Refused> {
        let mut upload = self.begin(repository)?;
        while upload.offset < length {
            let piece = chunk.min(length - upload.offset);
            upload = self.append(&upload, content, piece)?;
        }
        self.finish(&upload, digest, &[])
    }

    /// Pushes a manifest under a tag or its digest (end-7).
    pub fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Response, Refused> {
        let request =
            Request::new("PUT", format!("/v2/{repository}/manifests/{reference}")).header("Content-Type", media_type);
        self.expect(&request, Body::Bytes(bytes), &[201])
    }

    /// Pushes an image and tags it. Blobs that are there are not sent.
    pub fn push_image(&self, repository: &str, tag: &str, image: &Image) -> Result<(), Refused> {
        for (index, blob) in image.blobs.iter().enumerate() {
            if self.has_blob(repository, &digest(blob))? {
                continue;
            }
            match index % 2 {
                0 => self.push_streamed(repository, blob)?,
                _ => self.push_blob(repository, blob)?,
            };
        }
        self.push_manifest(repository, tag, Image::MANIFEST, &image.manifest).map(drop)
    }

    /// Fetches a blob and checks it (end-2); answers its length. The bytes are not kept.
    pub fn pull_blob(&self, repository: &str, wanted: &str) -> Result<u64, Refused> {
        let mut hashing = Hashing::default();
        let request = Request::new("GET", format!("/v2/{repository}/blobs/{wanted}"));
        let response = self.send_to(&request, Body::None, Some(&mut hashing))?;
        if response.status != 200 {
            return Err(refused(&request, response));
        }
        let (found, length) = hashing.end();
        if found == wanted { Ok(length) } else { Err(Refused::Content(format!("{wanted} was served as {found}"))) }
    }

    /// Fetches a manifest and checks it against the digest the server states (end-3).
    pub fn manifest(&self, repository: &str, reference: &str) -> Result<Vec<u8>, Refused> {
        let request =
            Request::new("GET", format!("/v2/{repository}/manifests/{reference}")).header("Accept", Image::MANIFEST);
        let response = self.expect(&request, Body::None, &[200])?;
        let (stated, found) = (response.header("docker-content-digest").unwrap_or_default(), digest(&response.body));
        if stated != found || (reference.contains(':') && reference != found) {
            return Err(Refused::Content(format!("{reference} was served as {found}, stated as {stated}")));
        }
        Ok(response.body)
    }

    /// Pulls an image by tag or digest: its manifest and everything that names, each checked. Answers the
    /// manifest's digest.
    pub fn pull_image(&self, repository: &str, reference: &str) -> Result<String, Refused> {
        let bytes = self.manifest(repository, reference)?;
        let manifest: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| Refused::Content(format!("{reference}: {error}")))?;
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        for descriptor in layers.iter().chain([&manifest["config"]]) {
            let wanted = descriptor["digest"].as_str().unwrap_or_default();
            let length = self.pull_blob(repository, wanted)?;
            if descriptor["size"].as_u64() != Some(length) {
                return Err(Refused::Content(format!("{wanted} has {length} bytes, the manifest says {descriptor}")));
            }
        }
        Ok(digest(&bytes))
    }

    /// Pushes what a reader yields in one PUT. The reader is asked for twice, for the digest and for the bytes.
    pub fn push_reader<R: Read>(&self, repository: &str, content: impl Fn() -> R) -> Result<String, Refused> {
        let (digest, length) = digest_of(content())?;
        let upload = self.begin(repository)?;
        let request = Request::new("PUT", with_digest(&upload.location, &digest))
            .header("Content-Type", "application/octet-stream");
        self.expect(&request, Body::Sized(&mut content(), length), &[201])?;
        Ok(digest)
    }
}

/// `Location` headers may be absolute; the request goes to this server in any case.
fn path_of(location: &str) -> String {
    match location.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        _ => location.to_owned(),
    }
}

fn with_digest(location: &str, digest: &str) -> String {
    format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' })
}

fn upload_of(request: &Request, response: Response) -> Result<Upload, Refused> {
    let offset = match response.header("range") {
        // `0-0` is also what a session without bytes says; tests leave none at one byte.
        None | Some("0-0") => Some(0),
        Some(range) => range.strip_prefix("0-").and_then(|last| last.parse::<u64>().ok()).map(|last| last + 1),
    };
    match (response.header("location").map(path_of), offset) {
        (Some(location), Some(offset)) => Ok(Upload { location, offset }),
        _ => Err(refused(request, response)),
    }
}

fn refused(request: &Request, response: Response) -> Refused {
    Refused::Answer { request: format!("{} {}", request.method, request.target), response: Box::new(response) }
}

fn accept(request: &Request, response: Response, statuses: &[u16]) -> Result<Response, Refused> {
    if statuses.contains(&response.status) { Ok(response) } else { Err(refused(request, response)) }
}

/// A sink that keeps only the digest and the length.
#[derive(Default)]
struct Hashing {
    hash: sha2::Sha256,
    length: u64,
}

impl Hashing {
    fn end(self) -> (String, u64) {
        use sha2::Digest as _;
        (format!("sha256:{}", hex(&self.hash.finalize())), self.length)
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sha2::Digest::update(&mut self.hash, bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
