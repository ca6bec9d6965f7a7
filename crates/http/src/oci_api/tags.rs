//! end-8: the tags of a repository, in ASCII order.

use roadstead_oci::{Page, RepositoryName};

use super::Answer;
use super::call::{Call, json};
use super::paging::link_next;

/// end-8a, end-8b.
pub(super) async fn list(call: &Call, name: &RepositoryName) -> Answer {
    let page = Page::from_query(&call.query)?;
    let tags = call.registry().tags(&call.caller, name, &page).await?;
    let mut response = json("application/json", &serde_json::json!({"name": name.as_str(), "tags": tags.names}));
    if let (true, Some(last)) = (tags.more, tags.names.last()) {
        link_next(&mut response, call, &format!("/v2/{name}/tags/list"), &["n"], last)?;
    }
    Ok(response)
}
