//! end-12: the manifests whose subject is a given one, as an index.

use http::{HeaderName, HeaderValue};
use roadstead_oci::{Digest, Page, RepositoryName, media_type};
use roadstead_registry::{Error, ReferrersQuery};

use super::Answer;
use super::call::{Call, json};
use super::paging::link_next;

/// Which filters of the request were heeded.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// end-12a, end-12b. A subject nobody refers to, or that does not exist, has an empty index.
pub(super) async fn list(call: &Call, name: &RepositoryName, subject: &Digest) -> Answer {
    let page = Page::from_query(&call.query)?;
    let artifact_type = call.query.get("artifactType").filter(|t| !t.is_empty()).map(str::to_owned);
    let filtered = artifact_type.is_some();
    let after = page.last.map(|last| last.parse::<Digest>()).transpose()?;
    let query = ReferrersQuery { artifact_type, limit: page.n, after };
    let found = call.registry().referrers(&call.caller, name, subject, &query).await?;
    let manifests = serde_json::to_value(&found.manifests).map_err(|e| Error::Internal(e.to_string()))?;
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests,
    });
    let mut response = json(media_type::OCI_INDEX, &index);
    if filtered {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(next) = found.next {
        let path = format!("/v2/{name}/referrers/{subject}");
        link_next(&mut response, call, &path, &["artifactType", "n"], &next.to_string())?;
    }
    Ok(response)
}
