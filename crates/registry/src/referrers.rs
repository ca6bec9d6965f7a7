//! Referrers of a subject (end-12).

use roadstead_metadata::records::referrer::{self, ReferrerRecord, ReferrersPage};
use roadstead_oci::{Descriptor, Digest, RepositoryName};

use crate::{Action, Caller, Error, Registry, Result};

/// A page ends before its annotations pass so many bytes, so that the answer stays a manifest of bearable size.
const PAGE_BYTES: u64 = 2 << 20;

/// Which referrers are wanted.
#[derive(Debug, Clone, Default)]
pub struct ReferrersQuery {
    /// Only those of this artifact type.
    pub artifact_type: Option<String>,
    /// At most so many; `None`: the registry's page size.
    pub limit: Option<usize>,
    /// Only those after this one, the last of the page before.
    pub after: Option<Digest>,
}

/// A page of referrers.
#[derive(Debug, Clone)]
pub struct Referrers {
    /// Their descriptors, with artifact type and annotations.
    pub manifests: Vec<Descriptor>,
    /// Where the next page begins, if there is one.
    pub next: Option<Digest>,
}

impl Registry {
    /// The manifests whose subject is `subject`. An unknown subject, also in an unknown repository, has none: the
    /// endpoint never answers 404.
    pub async fn referrers(
        &self,
        caller: &Caller,
        name: &RepositoryName,
        subject: &Digest,
        query: &ReferrersQuery,
    ) -> Result<Referrers> {
        let name = self.access(caller, Action::Pull, name).await?;
        let limit = query.limit.unwrap_or(self.limits.page).min(self.limits.page);
        let page = ReferrersPage {
            name: name.as_str(),
            subject,
            artifact_type: query.artifact_type.as_deref(),
            after: query.after.as_ref(),
            limit,
            bytes: PAGE_BYTES,
        };
        let (found, next) = referrer::page(&*self.at_hand, &page).await?;
        let manifests = found.iter().map(descriptor).collect::<Result<_>>()?;
        Ok(Referrers { manifests, next })
    }
}

fn descriptor(record: &ReferrerRecord) -> Result<Descriptor> {
    let annotations: std::collections::BTreeMap<String, String> = serde_json::from_str(&record.annotations)
        .map_err(|e| Error::Internal(format!("annotations of referrer {}: {e}", record.digest)))?;
    Ok(Descriptor {
        artifact_type: Some(record.artifact_type.clone()).filter(|t| !t.is_empty()),
        annotations,
        ..Descriptor::new(&record.media_type, record.digest, record.size)
    })
}
