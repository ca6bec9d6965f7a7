//! The S3 engine in the configuration: keys as distribution names them, and what they mean.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Size, Span};

/// A bucket of S3 or of a server that speaks like it.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct S3 {
    /// The bucket. It has to be there, and empty at the first start. With it blobs are kept there, and not on the
    /// filesystem.
    pub bucket: Option<String>,
    /// The region that the bucket is in. With `storage.s3.regionendpoint` the default is `us-east-1`.
    pub region: Option<String>,
    /// The server, when it is not Amazon's: `http://HOST:PORT` or `https://HOST`. Without a scheme
    /// `storage.s3.secure` decides.
    pub regionendpoint: Option<String>,
    /// The access key. Without keys they are looked for where Amazon's tools do: `AWS_ACCESS_KEY_ID` and its
    /// companions, the profile, web identity, the machine's role.
    pub accesskey: Option<String>,
    /// The secret key that belongs to the access key.
    pub secretkey: Option<String>,
    /// The session token of temporary keys.
    pub sessiontoken: Option<String>,
    /// What the key of every object begins with, so that a bucket can be shared with others. It cannot be changed
    /// later.
    pub rootdirectory: Option<String>,
    /// Whether an endpoint without a scheme is spoken to by TLS.
    pub secure: bool,
    /// Whether any certificate of the server is accepted.
    pub skipverify: bool,
    /// Whether the bucket stands in the path of a URL; with `false` it stands before the host.
    pub forcepathstyle: bool,
    /// The size of a part of a large object, between `5MiB` and `512MiB`. In memory an object under way holds up
    /// to four of them; an upload in chunks has two under way, one that is being stored and one that arrives.
    pub chunksize: Size,
    /// What all uploads together hold in memory, at least `16MiB`; one that finds no room waits, and so does its client.
    /// Two parts and 2 MiB, or a part for each core, they get in any case. The default is a quarter of what this process may use: of
    /// the machine's memory, or of its control group's.
    pub memory: Option<Size>,
    /// Whether the server is asked to encrypt what it stores.
    pub encrypt: bool,
    /// The key of the key management service to encrypt with; with `storage.s3.encrypt`. Without one the store's own
    /// keys are used.
    pub keyid: Option<String>,
    /// The storage class of new objects, `STANDARD_IA`. One that has to be restored before it can be read is of no use.
    pub storageclass: Option<String>,
    /// How long the server may take to begin an answer, or stand still in the middle of one.
    pub timeout: Span,
    /// How long the server may take to store a part, to put an object together from parts, or to copy one.
    pub write_timeout: Span,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: None,
            region: None,
            regionendpoint: None,
            accesskey: None,
            secretkey: None,
            sessiontoken: None,
            rootdirectory: None,
            secure: true,
            skipverify: false,
            forcepathstyle: true,
            chunksize: Size::mebibytes(8),
            memory: None,
            encrypt: false,
            keyid: None,
            storageclass: None,
            timeout: Span::seconds(30),
            write_timeout: Span::seconds(300),
        }
    }
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

/// A bucket as it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub bucket: String,
    /// The region to sign for.
    pub region: String,
    /// The server's URL; Amazon's without one.
    pub endpoint: Option<String>,
    /// Access key and secret key.
    pub keys: Option<(String, String)>,
    /// Of temporary keys.
    pub session_token: Option<String>,
    /// What keys begin with; may be empty.
    pub root: String,
    /// Whether the bucket stands before the host.
    pub virtual_host: bool,
    /// Whether any certificate is accepted.
    pub skip_verify: bool,
    /// Bytes of a part.
    pub part_size: usize,
    /// Bytes of all uploads in memory.
    pub memory: Option<usize>,
    /// Whether the server encrypts.
    pub encrypt: bool,
    /// With this key of its key management service.
    pub encryption_key: Option<String>,
    /// The class of new objects.
    pub storage_class: Option<String>,
    /// For an answer.
    pub timeout: Duration,
    /// For a part, a copy, an end.
    pub write_timeout: Duration,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("bucket", &self.bucket).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let root = if self.root.is_empty() { String::new() } else { format!("/{}", self.root) };
        write!(f, "bucket {}{root} at {}", self.bucket, self.endpoint.as_deref().unwrap_or("Amazon S3"))
    }
}

/// Checks what was written under `storage.s3`; each fault goes to `fault` with its key.
pub(super) fn validate(parsed: &S3, fault: &mut dyn FnMut(&str, String)) -> Bucket {
    for (key, value) in [
        ("bucket", &parsed.bucket),
        ("region", &parsed.region),
        ("regionendpoint", &parsed.regionendpoint),
        ("accesskey", &parsed.accesskey),
        ("secretkey", &parsed.secretkey),
        ("keyid", &parsed.keyid),
    ] {
        if value.as_ref().is_some_and(String::is_empty) {
            fault(key, "is empty; give it a value or leave it out".to_owned());
        }
    }
    if parsed.bucket.is_none() {
        fault("bucket", "is missing; name the bucket that blobs are kept in".to_owned());
    }
    let endpoint = parsed.regionendpoint.as_deref().map(|text| endpoint(text, parsed.secure, fault));
    if parsed.region.is_none() && endpoint.is_none() {
        fault("region", "is missing; name the region that the bucket is in".to_owned());
    }
    let keys = match (&parsed.accesskey, &parsed.secretkey) {
        (Some(access), Some(secret)) => Some((access.clone(), secret.clone())),
        (None, None) => None,
        (Some(_), None) => {
            fault("secretkey", "is missing; it belongs to storage.s3.accesskey".to_owned());
            None
        }
        (None, Some(_)) => {
            fault("accesskey", "is missing; it belongs to storage.s3.secretkey".to_owned());
            None
        }
    };
    if parsed.sessiontoken.is_some() && keys.is_none() {
        fault("sessiontoken", "belongs to storage.s3.accesskey and storage.s3.secretkey; give all three".to_owned());
    }
    if parsed.keyid.is_some() && !parsed.encrypt {
        fault("keyid", "has no effect without storage.s3.encrypt: true".to_owned());
    }
    let part = parsed.chunksize.bytes();
    if !(5 << 20..=512 << 20).contains(&part) {
        fault("chunksize", "must be between 5MiB and 512MiB".to_owned());
    }
    if parsed.memory.is_some_and(|memory| memory.bytes() < 16 << 20) {
        fault("memory", "must be at least 16MiB".to_owned());
    }
    for (key, span) in [("timeout", parsed.timeout), ("write_timeout", parsed.write_timeout)] {
        if span < Span::seconds(1) || span > Span::seconds(3_600) {
            fault(key, "must be between 1s and 1h".to_owned());
        }
    }
    Bucket {
        bucket: parsed.bucket.clone().unwrap_or_default(),
        region: parsed.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        endpoint,
        keys,
        session_token: parsed.sessiontoken.clone(),
        root: root(parsed.rootdirectory.as_deref().unwrap_or_default(), fault),
        virtual_host: !parsed.forcepathstyle,
        skip_verify: parsed.skipverify,
        part_size: usize::try_from(part).unwrap_or(usize::MAX),
        memory: parsed.memory.map(|memory| usize::try_from(memory.bytes()).unwrap_or(usize::MAX)),
        encrypt: parsed.encrypt,
        encryption_key: parsed.keyid.clone(),
        storage_class: parsed.storageclass.clone().filter(|class| !class.is_empty()),
        timeout: parsed.timeout.get(),
        write_timeout: parsed.write_timeout.get(),
    }
}

fn endpoint(text: &str, secure: bool, fault: &mut dyn FnMut(&str, String)) -> String {
    let scheme = if secure { "https" } else { "http" };
    let url = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let url = url.trim_end_matches('/').to_owned();
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
    if host.is_empty() || !host.bytes().all(plain) {
        fault("regionendpoint", format!("`{text}` is not of the form http://HOST:PORT or https://HOST"));
    }
    url
}

/// Without the slashes around it.
fn root(text: &str, fault: &mut dyn FnMut(&str, String)) -> String {
    let root = text.trim_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
    if !root.is_empty() && (root.len() > 200 || !root.split('/').all(good)) {
        fault("rootdirectory", format!("`{text}` is not of up to 200 letters, digits, `.`, `_`, `-` between slashes"));
    }
    root.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::settings::Blobs;
    use super::super::tests::load_with;
    use super::*;

    fn bucket(text: &str, variables: &[(&str, &str)]) -> (Bucket, Vec<String>) {
        let (settings, report) = load_with(text, variables);
        let warnings = report.warnings.iter().map(|finding| report.line(finding)).collect();
        match settings.unwrap_or_else(|| panic!("{report}")).blobs {
            Blobs::S3(bucket) => (*bucket, warnings),
            Blobs::Filesystem(directory) => panic!("blobs in {}", directory.display()),
        }
    }

    #[test]
    fn a_section_of_distribution_is_understood() {
        let text = "
version: 0.1
storage:
  s3:
    accesskey: AK
    secretkey: SK
    region: us-west-1
    regionendpoint: minio.example:9000
    bucket: images
    encrypt: true
    keyid: mykey
    secure: false
    v4auth: true
    chunksize: 10485760
    rootdirectory: /s3/object/name/prefix
    multipartcopychunksize: 33554432
    loglevel: off
";
        let (bucket, warnings) = bucket(text, &[]);
        assert_eq!(bucket.endpoint.as_deref(), Some("http://minio.example:9000"));
        assert_eq!((bucket.root.as_str(), bucket.part_size), ("s3/object/name/prefix", 10_485_760));
        assert_eq!(bucket.keys, Some(("AK".into(), "SK".into())));
        assert_eq!((bucket.encryption_key.as_deref(), bucket.virtual_host), (Some("mykey"), false));
        assert_eq!(bucket.to_string(), "bucket images/s3/object/name/prefix at http://minio.example:9000");
        assert!(
            warnings.iter().any(|line| line.contains("storage.s3.multipartcopychunksize: ignored")),
            "{warnings:?}"
        );
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(!format!("{bucket:?}").contains("SK"));
    }

    #[test]
    fn variables_make_a_bucket_without_a_file() {
        let distribution = [("REGISTRY_STORAGE_S3_BUCKET", "b"), ("REGISTRY_STORAGE_S3_REGION", "eu-west-1")];
        let (its, _) = bucket("", &distribution);
        assert_eq!((its.bucket.as_str(), its.region.as_str(), its.endpoint), ("b", "eu-west-1", None));
        let ours = [
            ("ROADSTEAD_STORAGE__S3__BUCKET", "b"),
            ("ROADSTEAD_STORAGE__S3__REGIONENDPOINT", "https://s3.example/"),
            ("ROADSTEAD_STORAGE__S3__ACCESSKEY", "AK"),
            ("ROADSTEAD_STORAGE__S3__SECRETKEY_FILE", "/run/secrets/s3"),
        ];
        let (ours, _) = bucket("", &ours);
        assert_eq!(ours.keys, Some(("AK".into(), "from-a-file".into())));
        assert_eq!((ours.endpoint.as_deref(), ours.region.as_str()), (Some("https://s3.example"), "us-east-1"));
    }

    #[test]
    fn what_is_wrong_or_missing_is_told() {
        for (text, key, words) in [
            ("{region: r}", "bucket", "is missing"),
            ("{bucket: b}", "region", "is missing"),
            ("{bucket: b, region: r, accesskey: a}", "secretkey", "belongs to storage.s3.accesskey"),
            ("{bucket: b, region: r, sessiontoken: a}", "sessiontoken", "all three"),
            ("{bucket: b, region: r, chunksize: 1MiB}", "chunksize", "5MiB"),
            ("{bucket: b, region: r, memory: 1MiB}", "memory", "16MiB"),
            ("{bucket: b, regionendpoint: 'ftp://x'}", "regionendpoint", "`ftp://x`"),
            ("{bucket: b, region: r, rootdirectory: '/a/../b'}", "rootdirectory", "`/a/../b`"),
            ("{bucket: b, region: r, v4auth: false}", "v4auth", "version 4"),
            ("{bucket: b, region: r, keyid: k}", "keyid", "storage.s3.encrypt"),
            ("{bucket: b, region: r, timeout: 0s}", "timeout", "between 1s and 1h"),
            ("{bukket: b, bucket: b, region: r}", "bukket", "did you mean storage.s3.bucket"),
        ] {
            let (settings, report) = load_with(&format!("storage: {{s3: {text}}}"), &[]);
            assert!(settings.is_none(), "{text}");
            let told = report.to_string();
            assert!(told.contains(&format!("storage.s3.{key}: ")) && told.contains(words), "{told}");
        }
        let both = "storage: {filesystem: {rootdirectory: /x}, s3: {bucket: b, region: r}}";
        assert!(load_with(both, &[]).1.to_string().contains("one place"));
    }
}
