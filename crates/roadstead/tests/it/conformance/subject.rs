//! The server as a clause sees it: a repository of its own, requests, and answers that can be held to something.

use std::net::SocketAddr;

use roadstead_testkit::{Body, Client, Content, Image, Request, Response, Seed, digest};
use serde_json::{Value, json};

use super::Verdict;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(super) const OCTETS: &str = "application/octet-stream";

/// A clause's view of the server.
pub(super) struct Subject {
    pub(super) client: Client,
    /// A repository that no other clause and no other run uses.
    pub(super) name: String,
    /// Whether it is somebody in particular who asks, in a namespace of its own.
    pub(super) guarded: bool,
    seed: Seed,
}

impl Subject {
    /// By this user with this password, if the server asks; then in its namespace.
    pub(super) fn new(addr: SocketAddr, user: Option<(&str, &str)>, seed: Seed, clause: &str) -> Self {
        let (namespace, client) = match user {
            Some((name, password)) => (name, Client::new(addr).user(name, password)),
            None => ("conformance", Client::new(addr)),
        };
        let name = format!("{namespace}/{:x}/{clause}", seed.0);
        Self { client, name, guarded: user.is_some(), seed }
    }

    /// A path in the clause's repository.
    pub(super) fn at(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    /// Bytes of this run's own: no other run has pushed them to the server.
    pub(super) fn bytes(&self, number: u64, length: u64) -> Vec<u8> {
        let seed = self.name.bytes().fold(self.seed, |seed, byte| seed.derive(u64::from(byte)));
        Content::new(seed.derive(number), length).to_vec()
    }

    pub(super) fn call(&self, method: &str, target: &str) -> Result<Answer, String> {
        self.send(Request::new(method, target), Body::None)
    }

    pub(super) fn send(&self, request: Request, body: Body<'_>) -> Result<Answer, String> {
        let what = format!("{} {}", request.method, request.target);
        let response = self.client.send(&request, body).map_err(|error| format!("{what}: {error}"))?;
        Ok(Answer { what, response })
    }

    /// A blob that is there.
    pub(super) fn blob(&self, number: u64, length: u64) -> Result<(Vec<u8>, String), String> {
        let bytes = self.bytes(number, length);
        let digest = self.client.push_blob(&self.name, &bytes).map_err(|error| error.to_string())?;
        Ok((bytes, digest))
    }

    /// Begins an upload; the answer is where it goes on.
    pub(super) fn begin(&self) -> Result<String, String> {
        self.call("POST", &self.at("blobs/uploads/"))?.is(202)?.location()
    }

    /// Sends a chunk.
    pub(super) fn patch(&self, location: &str, from: usize, bytes: &[u8]) -> Result<Answer, String> {
        let range = format!("{from}-{}", (from + bytes.len()).saturating_sub(1));
        let request = Request::new("PATCH", location).header("Content-Type", OCTETS).header("Content-Range", range);
        self.send(request, Body::Bytes(bytes))
    }

    /// Ends an upload.
    pub(super) fn put(&self, location: &str, digest: &str, bytes: &[u8]) -> Result<Answer, String> {
        let target = format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' });
        self.send(Request::new("PUT", target).header("Content-Type", OCTETS), Body::Bytes(bytes))
    }

    pub(super) fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<Answer, String> {
        let request = Request::new("PUT", self.at(&format!("manifests/{reference}")));
        self.send(request.header("Content-Type", media_type), Body::Bytes(bytes))
    }

    pub(super) fn get_manifest(&self, reference: &str) -> Result<Answer, String> {
        self.call("GET", &self.at(&format!("manifests/{reference}")))
    }

    /// Pushes what an image needs, and answers its manifest, which is not pushed.
    pub(super) fn image(&self, number: u64) -> Result<Value, String> {
        let seed = Seed(u64::from_le_bytes(self.bytes(number, 8).try_into().unwrap()));
        let image = Image::generate(seed, &[64, 65]);
        for blob in &image.blobs {
            self.client.push_blob(&self.name, blob).map_err(|error| error.to_string())?;
        }
        Ok(serde_json::from_slice(&image.manifest).unwrap())
    }

    /// Pushes an image and tags it; answers its descriptor.
    pub(super) fn tagged(&self, number: u64, tag: &str) -> Result<Value, String> {
        let bytes = self.image(number)?.to_string().into_bytes();
        self.put_manifest(tag, Image::MANIFEST, &bytes)?.is(201)?;
        Ok(descriptor(Image::MANIFEST, &bytes))
    }
}

/// A descriptor of bytes.
pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

/// The digest that a descriptor names.
pub(super) fn digest_in(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// An answer, with the request for the text of a failure. Each method holds it to one thing.
#[derive(Debug)]
pub(super) struct Answer {
    what: String,
    pub(super) response: Response,
}

impl Answer {
    fn wrong(&self, text: &str) -> String {
        let body = String::from_utf8_lossy(&self.response.body);
        format!("{}: {text}; it answered {} {:?} {body:.300}", self.what, self.response.status, self.response.headers)
    }

    pub(super) fn is(self, status: u16) -> Result<Self, String> {
        self.among(&[status])
    }

    pub(super) fn among(self, statuses: &[u16]) -> Result<Self, String> {
        if statuses.contains(&self.response.status) {
            Ok(self)
        } else {
            Err(self.wrong(&format!("{statuses:?} expected")))
        }
    }

    /// A header is there; its value.
    pub(super) fn value(&self, name: &str) -> Result<String, String> {
        self.response.header(name).map(str::to_owned).ok_or_else(|| self.wrong(&format!("no {name} header")))
    }

    pub(super) fn has(self, name: &str, value: &str) -> Result<Self, String> {
        let found = self.value(name)?;
        if found == value { Ok(self) } else { Err(self.wrong(&format!("{name} should be {value}"))) }
    }

    pub(super) fn lacks(self, name: &str) -> Result<Self, String> {
        if self.response.header(name).is_none() {
            Ok(self)
        } else {
            Err(self.wrong(&format!("{name} should be absent")))
        }
    }

    pub(super) fn location(&self) -> Result<String, String> {
        self.value("location")
    }

    /// The body is exactly this.
    pub(super) fn body(self, bytes: &[u8]) -> Result<Self, String> {
        if self.response.body == bytes { Ok(self) } else { Err(self.wrong("another body expected")) }
    }

    /// The body is an error of the OCI form with this code.
    pub(super) fn code(self, code: &str) -> Result<Self, String> {
        let body = self.response.json();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        let form = |error: &Value| error["code"].is_string() && error.get("message").is_none_or(Value::is_string);
        if errors.is_empty() || !errors.iter().all(form) {
            return Err(self.wrong("an error body {\"errors\": [{\"code\": ...}]} expected"));
        }
        if errors[0]["code"] != code {
            return Err(self.wrong(&format!("error code {code} expected")));
        }
        Ok(self)
    }

    pub(super) fn json(&self) -> Value {
        self.response.json()
    }

    pub(super) fn done(self) -> Verdict {
        Ok(())
    }
}

/// Fails with a text unless something holds.
pub(super) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(text()) }
}
