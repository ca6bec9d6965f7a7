//! end-4, end-5, end-6, end-11, end-13 and the cancelling of uploads.
//!
//! `Range` in answers is `0-N`, N being the last byte received, and `0-0` for none as well as for one: the form every
//! client knows. There is no smallest chunk, hence no `OCI-Chunk-Min-Length`.

use axum::body::Body;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderName, Response, StatusCode};
use roadstead_oci::{Algorithm, ContentRange, Digest, RepositoryName};
use roadstead_registry::{Chunk, Mount, UploadProgress};

use super::Answer;
use super::call::{Call, Payload, empty, set};
use super::conditional;
use crate::error_table::Failure;

/// Docker's name of a session.
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// end-4a, end-4b (`digest`) and end-11 (`mount`).
pub(super) async fn start(call: &Call, body: Payload, name: &RepositoryName) -> Answer {
    conditional::of_a_session(&call.headers)?;
    if let Some(digest) = call.query.get("mount") {
        let digest: Digest = digest.parse()?;
        let from = call.query.get("from").filter(|from| !from.is_empty());
        let from = from.map(str::parse::<RepositoryName>).transpose()?;
        match call.registry().mount_blob(&call.caller, name, &digest, from.as_ref()).await? {
            Mount::Mounted => return call.blob_created(name, &digest),
            Mount::NotMounted => {}
        }
    } else if let Some(digest) = call.query.get("digest") {
        let (digest, length, body) = (digest.parse()?, body.length(), body.into_blob().await?);
        call.registry().push_blob(&call.caller, name, digest, length, body).await?;
        return call.blob_created(name, &digest);
    }
    let progress = call.registry().start_upload(&call.caller, name, expected_algorithm(call)?).await?;
    accepted(call, name, &progress)
}

/// What the final digest will use: as `digest-algorithm` says, or as the mount that was wished for.
fn expected_algorithm(call: &Call) -> Result<Algorithm, Failure> {
    if let Some(algorithm) = call.query.get("digest-algorithm") {
        return Ok(algorithm.parse()?);
    }
    let mount = call.query.get("mount").and_then(|digest| digest.parse::<Digest>().ok());
    Ok(mount.map_or(Algorithm::Sha256, |digest| digest.algorithm()))
}

/// end-13.
pub(super) async fn status(call: &Call, name: &RepositoryName, session: &str) -> Answer {
    let progress = call.registry().upload_status(&call.caller, name, session).await?;
    let mut response = accepted(call, name, &progress)?;
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// end-5.
pub(super) async fn append(call: &Call, body: Payload, name: &RepositoryName, session: &str) -> Answer {
    conditional::of_a_session(&call.headers)?;
    let (chunk, body) = (chunk(call, &body)?, body.into_blob().await?);
    let progress = call.registry().append_upload(&call.caller, name, session, chunk, body).await?;
    accepted(call, name, &progress)
}

/// end-6.
pub(super) async fn finish(call: &Call, body: Payload, name: &RepositoryName, session: &str) -> Answer {
    conditional::of_a_session(&call.headers)?;
    let digest: Digest = call.query.get("digest").ok_or_else(Failure::missing_digest)?.parse()?;
    let (chunk, body) = (chunk(call, &body)?, body.into_blob().await?);
    call.registry().finish_upload(&call.caller, name, session, digest, chunk, body).await?;
    call.blob_created(name, &digest)
}

/// Forgets a session and what was sent to it.
pub(super) async fn cancel(call: &Call, name: &RepositoryName, session: &str) -> Answer {
    conditional::of_a_session(&call.headers)?;
    call.registry().cancel_upload(&call.caller, name, session).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn chunk(call: &Call, body: &Payload) -> Result<Chunk, Failure> {
    let range = match call.headers.get(CONTENT_RANGE) {
        Some(value) => Some(ContentRange::parse(&String::from_utf8_lossy(value.as_bytes()))?),
        None => None,
    };
    Ok(Chunk { range, length: body.length() })
}

fn accepted(call: &Call, name: &RepositoryName, progress: &UploadProgress) -> Answer {
    let mut response: Response<Body> = empty(StatusCode::ACCEPTED);
    let UploadProgress { session, received } = progress;
    set(&mut response, LOCATION, &call.url(&format!("/v2/{name}/blobs/uploads/{session}")))?;
    set(&mut response, RANGE, &received_range(*received))?;
    set(&mut response, UPLOAD_UUID, session)?;
    Ok(response)
}

/// The bytes a session has, as the `Range` header of its answers.
pub(crate) fn received_range(received: u64) -> String {
    format!("0-{}", received.saturating_sub(1))
}
