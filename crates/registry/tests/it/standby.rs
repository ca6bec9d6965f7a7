//! Reads while there is no primary, only what follows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_oci::Page;
use roadstead_registry::{Error, ReferrersQuery};
use serde_json::json;

use crate::rig::{ME, Rig, image, name, reference};

/// Metadata of which what is newest cannot be had.
#[derive(Debug)]
struct Standby {
    inner: Arc<dyn Sql>,
    /// Whether there is known to be no primary; else one does not answer.
    known: AtomicBool,
    away: AtomicBool,
}

#[async_trait::async_trait]
impl Sql for Standby {
    async fn query_many(&self, fresh: Freshness, asked: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        match (fresh, self.away.load(Ordering::SeqCst)) {
            (Freshness::Latest, true) => Err(QueryError::Unavailable("no primary".into())),
            _ => self.inner.query_many(fresh, asked).await,
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.inner.commit(batch).await
    }

    fn status(&self) -> Status {
        match self.away.load(Ordering::SeqCst) && self.known.load(Ordering::SeqCst) {
            true => Status::ReadOnly("no primary".into()),
            false => Status::Writable,
        }
    }

    fn revision(&self) -> Option<u64> {
        None
    }
}

#[tokio::test]
async fn lists_go_on_while_there_is_only_a_standby() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let manifest = image((&config, 2), &[]);
    let subject = rig.put("a/b", "v1", &manifest).await.unwrap().digest;
    let mut signature = image((&config, 2), &[]);
    let (kind, size) = ("application/vnd.oci.image.manifest.v1+json", manifest.to_string().len());
    signature["subject"] = json!({"mediaType": kind, "digest": subject, "size": size});
    rig.put("a/b", "signature", &signature).await.unwrap();
    let (known, away) = (AtomicBool::new(true), AtomicBool::new(false));
    let sql = Arc::new(Standby { inner: rig.sql.clone(), known, away });
    let registry = rig.restarted_over(sql.clone()).await;

    sql.away.store(true, Ordering::SeqCst);
    registry.manifest(&ME, &name("a/b"), &reference("v1")).await.unwrap();
    let tags = registry.tags(&ME, &name("a/b"), &Page::default()).await.unwrap();
    assert_eq!(tags.names, ["signature", "v1"]);
    assert_eq!(registry.catalog(&ME, &Page::default()).await.unwrap().names, ["a/b"]);
    let referrers = registry.referrers(&ME, &name("a/b"), &subject, &ReferrersQuery::default()).await.unwrap();
    assert_eq!(referrers.manifests.len(), 1);
    let unknown = registry.tags(&ME, &name("a/none"), &Page::default()).await;
    assert!(matches!(unknown, Err(Error::NameUnknown(_))), "{unknown:?}");

    // With a primary that fails to answer the newest is not known.
    sql.known.store(false, Ordering::SeqCst);
    let unknown = registry.tags(&ME, &name("a/b"), &Page::default()).await;
    assert!(matches!(unknown, Err(Error::Unavailable { .. })), "{unknown:?}");
}

/// HEAD by a pusher would have what is old kept: while there is only a standby nothing is collected, and the answer stands.
#[tokio::test]
async fn what_is_old_is_told_of_while_there_is_only_a_standby() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let old = rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap().digest;
    let new = image((&config, 2), &[(&rig.push("a/b", b"layer").await, 5)]);
    rig.put("a/b", "v1", &new).await.unwrap();
    let (known, away) = (AtomicBool::new(true), AtomicBool::new(false));
    let sql = Arc::new(Standby { inner: rig.sql.clone(), known, away });
    let registry = rig.restarted_over(sql.clone()).await;
    sql.away.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(registry.blob_stat(&ME, &name("a/b"), &config).await.unwrap(), 2);
        let info = registry.manifest_info(&ME, &name("a/b"), &reference(&old.to_string())).await.unwrap();
        assert_eq!(info.digest, old);
        assert!(info.untagged_since.is_some());
        rig.clock.advance(Duration::from_secs(2 * 3600));
    }
}
