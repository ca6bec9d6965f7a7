//! `/v2/_catalog`: the repositories, in ASCII order. Docker's, not of the spec.

use roadstead_oci::Page;

use super::Answer;
use super::call::{Call, json};
use super::paging::link_next;

/// The repositories that the caller may see.
pub(super) async fn list(call: &Call) -> Answer {
    let page = Page::from_query(&call.query)?;
    let found = call.registry().catalog(&call.caller, &page).await?;
    let mut response = json("application/json", &serde_json::json!({"repositories": found.names}));
    if let (true, Some(last)) = (found.more, found.names.last()) {
        link_next(&mut response, call, "/v2/_catalog", &["n"], last)?;
    }
    Ok(response)
}
