//! end-3, end-7 and end-9: manifests by tag and by digest.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use roadstead_oci::{Reference, RepositoryName, Tag};
use roadstead_registry::{Error, ManifestInfo, PutManifest};

use super::Answer;
use super::call::{CONTENT_DIGEST, Call, Payload, empty, set};
use super::conditional::{self, Keep};

/// The subject a pushed manifest was linked to, which tells the client that the registry knows referrers.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that a push by digest set because `?tag=` asked for it.
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// end-3, GET.
pub(super) async fn get(call: &Call, name: &RepositoryName, reference: &Reference) -> Answer {
    // Who may have it already is answered without its bytes.
    if call.headers.contains_key(IF_NONE_MATCH) {
        let info = call.registry().manifest_info(&call.caller, name, reference).await?;
        if let Some(settled) = conditional::settle(&call.headers, &info.digest, keep(reference))? {
            return Ok(settled);
        }
    }
    let manifest = call.registry().manifest(&call.caller, name, reference).await?;
    if let Some(settled) = conditional::settle(&call.headers, &manifest.info.digest, keep(reference))? {
        return Ok(settled);
    }
    with_head(reference, &manifest.info, Body::from(manifest.bytes))
}

/// end-3, HEAD.
pub(super) async fn head(call: &Call, name: &RepositoryName, reference: &Reference) -> Answer {
    let info = call.registry().manifest_info(&call.caller, name, reference).await?;
    if let Some(settled) = conditional::settle(&call.headers, &info.digest, keep(reference))? {
        return Ok(settled);
    }
    with_head(reference, &info, Body::empty())
}

/// end-7.
pub(super) async fn put(call: &Call, body: Payload, name: &RepositoryName, reference: Reference) -> Answer {
    let tags = call.query.get_all("tag").map(str::parse::<Tag>).collect::<Result<Vec<_>, _>>()?;
    let content_type = call.header(&CONTENT_TYPE).map(str::to_owned);
    // Not for nothing.
    call.registry().writable()?;
    let whole = body.into_whole(call.registry().limits().manifest).await?;
    let (bytes, precondition) = (whole.bytes.clone(), conditional::precondition(&call.headers));
    let put = PutManifest { reference, content_type, tags: tags.clone(), bytes, precondition };
    let pushed = call.registry().put_manifest(&call.caller, name, put).await?;
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, LOCATION, &call.url(&format!("/v2/{name}/manifests/{}", pushed.digest)))?;
    set(&mut response, CONTENT_DIGEST, &pushed.digest.to_string())?;
    if let Some(subject) = pushed.subject {
        set(&mut response, OCI_SUBJECT, &subject.to_string())?;
    }
    for tag in &tags {
        let value = HeaderValue::from_str(tag.as_str()).map_err(|e| Error::Internal(e.to_string()))?;
        response.headers_mut().append(OCI_TAG, value);
    }
    Ok(response)
}

/// end-9. A tag removes the tag only.
pub(super) async fn delete(call: &Call, name: &RepositoryName, reference: &Reference) -> Answer {
    let precondition = conditional::precondition(&call.headers);
    call.registry().delete_manifest_if(&call.caller, name, reference, &precondition).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

fn keep(reference: &Reference) -> Keep {
    match reference {
        Reference::Digest(_) => Keep::Forever,
        Reference::Tag(_) => Keep::Revalidate,
    }
}

fn with_head(reference: &Reference, info: &ManifestInfo, body: Body) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(info.size));
    set(&mut response, CONTENT_TYPE, &info.media_type)?;
    set(&mut response, CONTENT_DIGEST, &info.digest.to_string())?;
    conditional::validators(&mut response, &info.digest, keep(reference))?;
    Ok(response)
}
