//! Answers that are kept: asked for once, and never older than metadata.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_registry::Error;
use tokio::sync::Notify;

use crate::rig::{ME, Rig, image, name, reference};

/// Metadata that counts its questions, and can hold one back after it was answered.
#[derive(Debug)]
struct Asked {
    inner: Arc<dyn Sql>,
    questions: AtomicUsize,
    shared: bool,
    hold: AtomicUsize,
    held: Notify,
    go_on: Notify,
}

impl Asked {
    fn new(inner: Arc<dyn Sql>, shared: bool) -> Arc<Self> {
        let (questions, hold) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { inner, questions, shared, hold, held: Notify::new(), go_on: Notify::new() })
    }

    fn questions(&self) -> usize {
        self.questions.swap(0, Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Sql for Asked {
    async fn query_many(&self, fresh: Freshness, asked: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        let answers = self.inner.query_many(fresh, asked).await;
        if self.hold.swap(0, Ordering::SeqCst) == 1 {
            self.held.notify_one();
            self.go_on.notified().await;
        }
        answers
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.inner.commit(batch).await
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn revision(&self) -> Option<u64> {
        if self.shared { None } else { self.inner.revision() }
    }
}

#[tokio::test]
async fn what_did_not_change_is_asked_for_once() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let digest = rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap().digest;
    let asked = Asked::new(rig.sql.clone(), false);
    let registry = rig.restarted_over(asked.clone()).await;
    let (repository, by_tag) = (name("a/b"), reference("v1"));
    asked.questions();
    for round in 0..3 {
        let found = registry.manifest(&ME, &repository, &by_tag).await.unwrap();
        assert_eq!(registry.manifest_info(&ME, &repository, &by_tag).await.unwrap(), found.info);
        assert_eq!(registry.open_blob(&ME, &repository, &config).await.unwrap().size, 2);
        assert_eq!(registry.blob_stat(&ME, &repository, &config).await.unwrap(), 2);
        assert_eq!(found.info.digest, digest);
        assert_eq!(asked.questions(), if round == 0 { 2 } else { 0 });
    }
    // Where others commit too, every question is asked.
    let asked = Asked::new(rig.sql.clone(), true);
    let registry = rig.restarted_over(asked.clone()).await;
    asked.questions();
    registry.manifest(&ME, &repository, &by_tag).await.unwrap();
    registry.manifest(&ME, &repository, &by_tag).await.unwrap();
    assert_eq!(asked.questions(), 2);
}

#[tokio::test]
async fn what_changed_is_seen_at_once() {
    let rig = Rig::new().await;
    let (repository, tag) = (name("a/b"), reference("v1"));
    let config = rig.push("a/b", b"{}").await;
    let layer = rig.push("a/b", b"layer").await;
    for json in [image((&config, 2), &[]), image((&config, 2), &[(&layer, 5)])] {
        let pushed = rig.put("a/b", "v1", &json).await.unwrap().digest;
        assert_eq!(rig.registry.manifest(&ME, &repository, &tag).await.unwrap().info.digest, pushed);
    }
    rig.registry.delete_manifest(&ME, &repository, &tag).await.unwrap();
    assert!(matches!(rig.registry.manifest(&ME, &repository, &tag).await, Err(Error::ManifestUnknown(_))));
    let alone = rig.push("a/b", b"alone").await;
    assert_eq!(rig.pull("a/b", &alone).await.unwrap(), b"alone");
    rig.registry.delete_blob(&ME, &repository, &alone).await.unwrap();
    assert!(matches!(rig.registry.open_blob(&ME, &repository, &alone).await, Err(Error::BlobUnknown(_))));
}

#[tokio::test]
async fn an_answer_from_before_a_change_is_not_kept_after_it() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let layer = rig.push("a/b", b"layer").await;
    rig.put("a/b", "v1", &image((&config, 2), &[])).await.unwrap();
    let asked = Asked::new(rig.sql.clone(), false);
    let registry = rig.restarted_over(asked.clone()).await;
    let (repository, tag) = (name("a/b"), reference("v1"));

    asked.hold.store(1, Ordering::SeqCst);
    let slow = {
        let (registry, repository, tag) = (registry.clone(), repository.clone(), tag.clone());
        tokio::spawn(async move { registry.manifest(&ME, &repository, &tag).await })
    };
    asked.held.notified().await;
    let moved = rig.put("a/b", "v1", &image((&config, 2), &[(&layer, 5)])).await.unwrap().digest;
    asked.go_on.notify_one();
    slow.await.unwrap().unwrap();
    assert_eq!(registry.manifest(&ME, &repository, &tag).await.unwrap().info.digest, moved);
}

#[tokio::test]
async fn what_is_kept_stays_within_its_bounds() {
    let rig = Rig::new().await;
    let config = rig.push("a/b", b"{}").await;
    let mut json = image((&config, 2), &[]);
    let large = "x".repeat(60_000);
    for n in 0..700 {
        json["annotations"] = serde_json::json!({"n": n.to_string(), "large": large});
        rig.put("a/b", &format!("v{n}"), &json).await.unwrap();
    }
    let asked = Asked::new(rig.sql.clone(), false);
    let registry = rig.restarted_over(asked.clone()).await;
    for round in 0..2 {
        asked.questions();
        for n in 0..700 {
            registry.manifest(&ME, &name("a/b"), &reference(&format!("v{n}"))).await.unwrap();
        }
        let questions = asked.questions();
        // 42 MB do not fit into 32 MiB.
        assert!(if round == 0 { questions == 700 } else { questions > 100 }, "{questions}");
    }
}
