//! Uploads in parts that neither ended nor were given up: what a process leaves that is killed in the middle of one.
//!
//! No key names them, no listing of objects shows them, and their bytes are paid for. OpenDAL cannot list them, so these
//! requests are signed here. Servers without this listing have to be told to expire them by a rule of the bucket.

use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use opendal::{Buffer, HttpTransporter};
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, OsEnv, ProvideCredentialChain, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use roadstead_storage::{Error, ErrorKind, Sweep, Swept};
use serde::Deserialize;

use super::{S3, S3Options};

/// Signs requests that OpenDAL does not have.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    /// The URL of the bucket, without a slash at its end.
    bucket: String,
    /// What our keys begin with: empty, or with a slash at its end.
    root: String,
    signer: Signer<Credential>,
    transport: HttpTransporter,
    timeout: Duration,
}

impl Signed {
    pub(super) fn new(options: &S3Options, transport: HttpTransporter) -> Self {
        let chain = ProvideCredentialChain::new();
        let chain = match &options.credentials {
            Some((access, secret)) => {
                let fixed = StaticCredentialProvider::new(access.reveal(), secret.reveal());
                chain.push(match &options.session_token {
                    Some(token) => fixed.with_session_token(token.reveal()),
                    None => fixed,
                })
            }
            None => chain.push(DefaultCredentialProvider::new()),
        };
        let context = Context::new().with_file_read(TokioFileRead).with_env(OsEnv).with_http_send(transport.clone());
        let root = options.root.trim_matches('/');
        Self {
            bucket: bucket_url(options),
            root: if root.is_empty() { String::new() } else { format!("{root}/") },
            signer: Signer::new(context, chain, RequestSigner::new("s3", &options.region)),
            transport,
            timeout: options.timeout,
        }
    }

    /// Status, the server's own time, and body of the answer.
    async fn send(
        &self,
        method: Method,
        path_and_query: &str,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let request = Request::builder().method(method).uri(format!("{}{path_and_query}", self.bucket));
        let (mut parts, body) = request.body(Buffer::new())?.into_parts();
        let sent = async {
            self.signer.sign(&mut parts, None).await?;
            let answer = self.transport.send(Request::from_parts(parts, body)).await?;
            let now = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
            let now = now.and_then(|date| opendal::raw::Timestamp::parse_rfc2822(date).ok());
            let (status, now) = (answer.status(), now.map(|now| now.into_inner().as_second()));
            Ok(Answer { status, now, body: answer.into_body().to_vec() })
        };
        tokio::time::timeout(self.timeout, sent).await?
    }
}

struct Answer {
    status: StatusCode,
    now: Option<i64>,
    body: Vec<u8>,
}

/// `https://host/bucket` or `https://bucket.host`.
fn bucket_url(options: &S3Options) -> String {
    let endpoint = match &options.endpoint {
        Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
        None => format!("https://s3.{}.amazonaws.com", options.region),
    };
    match endpoint.split_once("://") {
        Some((scheme, host)) if options.virtual_host => format!("{scheme}://{}.{host}", options.bucket),
        _ => format!("{endpoint}/{}", options.bucket),
    }
}

/// A page of the listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: String,
}

impl Upload {
    /// Whether it began `before` this second.
    fn began(&self, before: i64) -> bool {
        self.initiated.parse::<opendal::raw::Timestamp>().is_ok_and(|at| at.into_inner().as_second() < before)
    }
}

/// Percent-encodes all but what needs none anywhere.
fn encoded(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b'/' if keep_slash => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[async_trait]
impl Sweep for S3 {
    /// Gives up uploads that began before `unused_for`, by the server's clock: it does not tell when their last part
    /// came. A push that takes longer than that fails.
    async fn remove_stale(&self, unused_for: Duration) -> Result<Swept, Error> {
        let failed = |error: String| {
            Error::new(ErrorKind::Unavailable, format!("{}: cannot list unfinished uploads: {error}", self.place))
        };
        let signed = &self.signed;
        let (mut swept, mut key_marker, mut upload_marker) = (Swept::default(), String::new(), String::new());
        loop {
            let query = format!(
                "/?key-marker={}&prefix={}&upload-id-marker={}&uploads=",
                encoded(&key_marker, false),
                encoded(&signed.root, false),
                encoded(&upload_marker, false)
            );
            let answer = signed.send(Method::GET, &query).await.map_err(|error| failed(error.to_string()))?;
            if matches!(answer.status, StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED) {
                tracing::debug!(place = self.place, "the server does not list unfinished uploads");
                return Ok(swept);
            }
            let text = String::from_utf8_lossy(&answer.body);
            if !answer.status.is_success() {
                return Err(failed(format!(
                    "status {}: {}",
                    answer.status,
                    text.chars().take(300).collect::<String>()
                )));
            }
            let page: Page = quick_xml::de::from_str(&text).map_err(|error| failed(error.to_string()))?;
            let now = answer.now.ok_or_else(|| failed("the answer does not say what time it is".to_owned()))?;
            let before = now.saturating_sub_unsigned(unused_for.as_secs());
            for upload in
                page.uploads.iter().filter(|upload| upload.key.starts_with(&signed.root) && upload.began(before))
            {
                let (key, id) = (encoded(&upload.key, true), encoded(&upload.upload_id, false));
                let given_up = signed.send(Method::DELETE, &format!("/{key}?uploadId={id}")).await;
                match given_up {
                    Ok(answer) if answer.status.is_success() => swept.files += 1,
                    // Another process was faster.
                    Ok(answer) if answer.status == StatusCode::NOT_FOUND => {}
                    Ok(answer) => return Err(failed(format!("one cannot be given up: status {}", answer.status))),
                    Err(error) => return Err(failed(error.to_string())),
                }
            }
            let onward = (page.next_key_marker, page.next_upload_id_marker);
            if !page.is_truncated || onward == (key_marker.clone(), upload_marker.clone()) {
                return Ok(swept);
            }
            (key_marker, upload_marker) = onward;
        }
    }
}
