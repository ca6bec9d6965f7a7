//! end-2 and end-10: blobs, whole and in ranges.

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderValue, Response, StatusCode};
use roadstead_oci::{ByteRange, Digest, RangeRequest, RepositoryName};
use roadstead_registry::{Error, OpenBlob};

use super::Answer;
use super::call::{CONTENT_DIGEST, Call, empty, set};
use super::conditional::{self, Keep};
use crate::error_table::Failure;

/// end-2, GET.
pub(super) async fn get(call: &Call, name: &RepositoryName, digest: &Digest) -> Answer {
    let blob = call.registry().open_blob(&call.caller, name, digest).await?;
    if let Some(settled) = conditional::settle(&call.headers, digest, Keep::Forever)? {
        return Ok(settled);
    }
    // The client asks there for the range that it asks for here.
    if let Some(url) = call.elsewhere(&blob).await {
        return redirect(digest, &url);
    }
    let wanted = call.header(&RANGE).filter(|_| conditional::range_counts(&call.headers, digest));
    match wanted.map_or(RangeRequest::Whole, |header| ByteRange::parse(header, blob.size)) {
        RangeRequest::Whole => {
            let body = body(call, &blob, None).await?;
            with_head(StatusCode::OK, digest, blob.size, body)
        }
        RangeRequest::Part(range) => {
            let (first, last, length) = (range.start, range.end - 1, range.end - range.start);
            let body = body(call, &blob, Some(range)).await?;
            let mut response = with_head(StatusCode::PARTIAL_CONTENT, digest, length, body)?;
            set(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{}", blob.size))?;
            Ok(response)
        }
        RangeRequest::Unsatisfiable => Err(Failure::unsatisfiable(blob.size)),
    }
}

/// end-2, HEAD.
pub(super) async fn head(call: &Call, name: &RepositoryName, digest: &Digest) -> Answer {
    let size = call.registry().blob_stat(&call.caller, name, digest).await?;
    if let Some(settled) = conditional::settle(&call.headers, digest, Keep::Forever)? {
        return Ok(settled);
    }
    with_head(StatusCode::OK, digest, size, Body::empty())
}

/// end-10.
pub(super) async fn delete(call: &Call, name: &RepositoryName, digest: &Digest) -> Answer {
    // While it is there it has this digest, so nothing slips in between.
    if !conditional::precondition(&call.headers).holds(Some(digest)) {
        call.registry().blob_stat(&call.caller, name, digest).await?;
        return Err(Error::PreconditionFailed(Some(*digest)).into());
    }
    call.registry().delete_blob(&call.caller, name, digest).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// 307: the next request has to ask here again, for the URL is good for a while only.
fn redirect(digest: &Digest, url: &str) -> Answer {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    set(&mut response, LOCATION, url)?;
    set(&mut response, CONTENT_DIGEST, &digest.to_string())?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn with_head(status: StatusCode, digest: &Digest, length: u64, body: Body) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    head.insert(CONTENT_LENGTH, HeaderValue::from(length));
    head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(&mut response, CONTENT_DIGEST, &digest.to_string())?;
    conditional::validators(&mut response, digest, Keep::Forever)?;
    Ok(response)
}

/// The bytes, of which the first are already here: so head and first bytes leave in one write, and a blob that cannot
/// be read is an error the client understands.
async fn body(call: &Call, blob: &OpenBlob, range: Option<std::ops::Range<u64>>) -> Result<Body, Failure> {
    let length = range.as_ref().map_or(blob.size, |r| r.end - r.start);
    if length == 0 {
        return Ok(Body::empty());
    }
    let place = call.place().await?;
    let mut bytes = blob.read(range).await?;
    let first: Bytes = match bytes.next().await {
        Some(first) => first.map_err(Error::from)?,
        None => return Err(Error::Damaged(format!("blob {} ended before its first byte", blob.digest)).into()),
    };
    if first.len() as u64 == length {
        return Ok(Body::from(first));
    }
    let rest = bytes.inspect(move |_| {
        // Given back with the body.
        let _ = &place;
    });
    Ok(Body::from_stream(stream::iter([Ok(first)]).chain(rest)))
}
