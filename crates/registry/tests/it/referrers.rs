//! Referrers of a subject, and their pages.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status, Value};
use roadstead_registry::ReferrersQuery;
use serde_json::json;

use crate::rig::{ME, Rig, image, name, reference, sha256};

#[tokio::test]
async fn referrers_are_found_before_and_after_their_subject_comes() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let subject_json = image((&config, 2), &[]);
    let subject = sha256(subject_json.to_string().as_bytes());
    let referrer = |kind: &str, note: &str| {
        let mut json = image((&config, 2), &[]);
        json["artifactType"] = json!(kind);
        json["annotations"] = json!({"note": note});
        json["subject"] = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": subject, "size": subject_json.to_string().len()});
        json
    };
    let query = |artifact_type: Option<&str>| ReferrersQuery {
        artifact_type: artifact_type.map(str::to_owned),
        ..ReferrersQuery::default()
    };
    let empty = rig.registry.referrers(&ME, &name("a/none"), &subject, &query(None)).await.unwrap();
    assert!(empty.manifests.is_empty() && empty.next.is_none());
    let pushed = rig.put("a/b", "sig", &referrer("application/sig", "one")).await.unwrap();
    assert_eq!(pushed.subject, Some(subject));
    rig.put("a/b", "v1", &subject_json).await.unwrap();
    rig.put("a/b", "sbom", &referrer("application/sbom", "two")).await.unwrap();
    let all = rig.registry.referrers(&ME, &name("a/b"), &subject, &query(None)).await.unwrap();
    assert_eq!(all.manifests.len(), 2);
    let signatures =
        rig.registry.referrers(&ME, &name("a/b"), &subject, &query(Some("application/sig"))).await.unwrap();
    assert_eq!(signatures.manifests.len(), 1);
    assert_eq!(signatures.manifests[0].digest, pushed.digest);
    assert_eq!(signatures.manifests[0].annotations["note"], "one");
    rig.registry.delete_manifest(&ME, &name("a/b"), &reference(&pushed.digest.to_string())).await.unwrap();
    let left = rig.registry.referrers(&ME, &name("a/b"), &subject, &query(None)).await.unwrap();
    assert_eq!(left.manifests.len(), 1);
}

#[tokio::test]
async fn referrers_come_in_pages() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let subject = sha256(b"absent");
    for n in 0..5 {
        let mut json = image((&config, 2), &[]);
        json["annotations"] = json!({"n": n.to_string()});
        json["subject"] = json!({"mediaType": "x/y", "digest": subject, "size": 3});
        rig.put("a/b", &format!("r{n}"), &json).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let query = ReferrersQuery { limit: Some(2), after, artifact_type: None };
        let page = rig.registry.referrers(&ME, &name("a/b"), &subject, &query).await.unwrap();
        seen.extend(page.manifests.iter().map(|d| d.digest));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

/// Metadata that weighs its answers.
#[derive(Debug)]
struct Scales(Arc<dyn Sql>, AtomicUsize);

#[async_trait::async_trait]
impl Sql for Scales {
    async fn query_many(&self, fresh: Freshness, asked: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        let answers = self.0.query_many(fresh, asked).await?;
        let bytes = answers.iter().flatten().flat_map(|row| &row.0).map(Value::size).sum();
        self.1.fetch_add(bytes, Ordering::SeqCst);
        Ok(answers)
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.0.commit(batch).await
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn revision(&self) -> Option<u64> {
        None
    }
}

#[tokio::test]
async fn a_page_of_referrers_takes_no_more_memory_than_it_shows() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let subject = sha256(b"absent");
    for n in 0..120 {
        let mut json = image((&config, 2), &[]);
        json["annotations"] = json!({"n": n.to_string(), "large": "A".repeat(60 << 10)});
        json["subject"] = json!({"mediaType": "x/y", "digest": subject, "size": 3});
        rig.put("a/b", "latest", &json).await.unwrap();
    }
    let scales = Arc::new(Scales(rig.sql.clone(), AtomicUsize::new(0)));
    let registry = rig.restarted_over(scales.clone()).await;
    for artifact_type in [None, Some("application/vnd.oci.image.config.v1+json".to_owned())] {
        let (mut seen, mut pages, mut after) = (HashSet::new(), 0, None);
        loop {
            scales.1.store(0, Ordering::SeqCst);
            let query = ReferrersQuery { limit: None, after, artifact_type: artifact_type.clone() };
            let page = registry.referrers(&ME, &name("a/b"), &subject, &query).await.unwrap();
            let bytes = scales.1.load(Ordering::SeqCst);
            assert!(bytes < (2 << 20) + (64 << 10), "{bytes} bytes for {} referrers", page.manifests.len());
            seen.extend(page.manifests.iter().map(|descriptor| descriptor.digest));
            (pages, after) = (pages + 1, page.next);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), pages), (120, 4));
    }
}
