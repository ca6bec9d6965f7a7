//! The way to a bucket: OpenDAL with our transport beneath it and its layers above.
//!
//! Two operators with the same credentials. One retries, for everything that is small or that can be repeated as it
//! is; the other does not, for bodies, whose reader goes on where they broke (`reading.rs`).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use opendal::layers::{RetryEvent, RetryLayer, TimeoutLayer};
use opendal::{Buffer, HttpBody, HttpTransport, HttpTransporter, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use roadstead_storage::{Error, ErrorKind};
use tokio::sync::Semaphore;

use super::errors::Said;
use super::options::{Encryption, S3Options};
use super::ranges;

/// Connecting takes a round trip or two; what takes longer is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// Servers close connections that rest; one they are about to close must not get a request.
const IDLE: Duration = Duration::from_secs(15);
/// How often a request is repeated that failed in a way that passes.
const RETRIES: usize = 4;

/// The pause before a write that was denied is tried once more.
const DENIED: Duration = Duration::from_millis(50);

/// The operators of one location.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// Repeats what failed in a way that passes.
    pub(super) sure: Operator,
    /// Does not.
    pub(super) plain: Operator,
    /// What both send through.
    pub(super) transport: HttpTransporter,
}

impl Client {
    pub(super) fn new(options: &S3Options) -> Result<Self, Error> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Other, format!("{}: cannot be used as configured: {error}", options.place()))
        };
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            // A redirect means another region, and a signature is good for one host only.
            .redirect(reqwest::redirect::Policy::none())
            .danger_accept_invalid_certs(options.skip_verify)
            .build()
            .map_err(|error| wrong(&error))?;
        let transport = HttpTransporter::new(Wire(ReqwestTransport::new(client)));
        let bare = Operator::new(builder(options)).map_err(|error| wrong(&error))?;
        let over = |transport| bare.clone().with_context(bare.base_context().with_http_transport(transport));
        let requests = Arc::new(Semaphore::new(options.requests.clamp(1, Semaphore::MAX_PERMITS)));
        let limited = HttpTransporter::new(Limited { wire: transport.clone(), requests });
        let timeout = |io| TimeoutLayer::new().with_timeout(options.timeout).with_io_timeout(io);
        let retry = RetryLayer::new()
            .with_max_times(RETRIES)
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .with_notify(told(options.place()));
        let sure = over(limited).layer(timeout(options.write_timeout)).layer(retry);
        let plain = over(transport.clone()).layer(timeout(options.timeout));
        Ok(Self { sure, plain, transport })
    }
}

/// Tells of each request that is repeated, in one line: what passes by itself, an operator wants to see all the same.
fn told(place: String) -> impl for<'a> Fn(RetryEvent<'a>) + Send + Sync + 'static {
    move |event| {
        let (error, pause) = (Said::of(event.err), event.retry_after);
        tracing::info!(place, operation = %event.op, attempt = event.attempt, ?pause, %error, "request is repeated");
    }
}

fn builder(options: &S3Options) -> services::S3 {
    let mut builder = services::S3::default().bucket(&options.bucket).region(&options.region).root(&options.root);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint(endpoint);
    }
    if let Some((access, secret)) = &options.credentials {
        builder = builder.access_key_id(access.reveal()).secret_access_key(secret.reveal());
        // What is configured is meant: nothing of the environment may take its place.
        builder = builder.disable_config_load().disable_ec2_metadata();
    }
    if let Some(token) = &options.session_token {
        builder = builder.session_token(token.reveal());
    }
    if options.virtual_host {
        builder = builder.enable_virtual_host_style();
    }
    builder = match &options.encryption {
        None => builder,
        Some(Encryption::Store) => builder.server_side_encryption_with_s3_key(),
        Some(Encryption::Kms(None)) => builder.server_side_encryption_with_aws_managed_kms_key(),
        Some(Encryption::Kms(Some(key))) => builder.server_side_encryption_with_customer_managed_kms_key(key),
    };
    match &options.storage_class {
        Some(class) => builder.default_storage_class(class),
        None => builder,
    }
}

/// Mends requests on their way out.
#[derive(Debug)]
struct Wire(ReqwestTransport);

impl HttpTransport for Wire {
    async fn fetch(&self, mut request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        // An empty body is sent as none, and Ceph answers 411 to a copy that does not say so.
        let carries = matches!(*request.method(), Method::PUT | Method::POST);
        if carries && request.body().is_empty() && !request.headers().contains_key(header::CONTENT_LENGTH) {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if !carries {
            let asked = request.headers().clone();
            let answer = self.0.fetch(request).await?;
            ranges::check(&asked, &answer)?;
            return Ok(answer);
        }
        let again = request.clone();
        let answer = self.0.fetch(request).await?;
        if answer.status() != StatusCode::FORBIDDEN {
            return Ok(answer);
        }
        // MinIO says so of a write that meets a delete in the same directory. Who is really denied hears it twice.
        tokio::time::sleep(DENIED).await;
        self.0.fetch(again).await
    }
}

/// Sends so many requests at a time. A request counts from its start until its answer begins, and waits for nothing but
/// the server meanwhile: what would count while a writer is open, or a body is read, could wait for itself.
#[derive(Debug)]
struct Limited {
    wire: HttpTransporter,
    requests: Arc<Semaphore>,
}

impl HttpTransport for Limited {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        // Never closed.
        let _permit = self.requests.acquire().await;
        self.wire.fetch(request).await
    }
}
