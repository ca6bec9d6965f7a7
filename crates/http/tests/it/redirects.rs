//! Clients that are sent to the store for the bytes of blobs.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use roadstead_http::Redirects;
use roadstead_storage::{Engine, Error, Listed, Memory, ObjectKey, ObjectRead, ObjectStat, Part, Presign, Writer};

use crate::api::Api;

/// A store with URLs.
#[derive(Debug, Default)]
struct Reachable(Memory);

#[async_trait]
impl Presign for Reachable {
    async fn presign_read(&self, key: &ObjectKey, valid_for: Duration) -> Result<String, Error> {
        Ok(format!("https://store.example/{key}?for={}", valid_for.as_secs()))
    }
}

#[async_trait]
impl Engine for Reachable {
    fn kind(&self) -> &'static str {
        "reachable"
    }

    async fn stat(&self, key: &ObjectKey) -> Result<ObjectStat, Error> {
        self.0.stat(key).await
    }

    async fn read(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, Error> {
        self.0.read(key, range).await
    }

    async fn writer(&self, key: &ObjectKey) -> Result<Box<dyn Writer>, Error> {
        self.0.writer(key).await
    }

    async fn compose(&self, parts: &[Part], key: &ObjectKey) -> Result<(), Error> {
        self.0.compose(parts, key).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        self.0.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.0.list(prefix, after, limit).await
    }

    async fn put_small(&self, key: &ObjectKey, bytes: Bytes, only_if_absent: bool) -> Result<(), Error> {
        self.0.put_small(key, bytes, only_if_absent).await
    }

    async fn probe(&self) -> Result<(), Error> {
        self.0.probe().await
    }

    fn presign(&self) -> Option<&dyn Presign> {
        Some(self)
    }
}

async fn redirecting(works: &Arc<AtomicBool>) -> Api {
    let works = works.clone();
    let redirects = Redirects::new(move |location| location == "main" && works.load(Ordering::SeqCst));
    Api::over(Arc::new(Reachable::default()), |api| api.with_redirects(redirects)).await
}

#[tokio::test]
async fn a_client_is_sent_once_and_served_when_it_comes_back() {
    let api = redirecting(&Arc::new(AtomicBool::new(true))).await;
    let digest = api.push("a/b", b"0123456789").await;
    let path = format!("/v2/a/b/blobs/{digest}");
    let key = api.objects().await.into_iter().find(|key| key.contains(&digest.hex())).unwrap();

    assert_eq!(api.call("HEAD", &path, &[], b"").await.status, 200, "HEAD is answered here");
    let sent = api.get(&path).await;
    assert_eq!((sent.status, sent.text()), (307, ""));
    assert_eq!(sent.header("location"), Some(&*format!("https://store.example/{key}?for=300")));
    assert_eq!(sent.header("docker-content-digest"), Some(&*digest.to_string()));
    assert_eq!(sent.header("cache-control"), Some("no-store"));
    let back = api.get(&path).await;
    assert_eq!((back.status, back.text()), (200, "0123456789"));
    let part = api.call("GET", &path, &[("Range", "bytes=2-4")], b"").await;
    assert_eq!((part.status, part.text()), (206, "234"));

    // Another client of the same proxy, which asks for a range.
    let other = [("X-Forwarded-For", "192.0.2.7"), ("Range", "bytes=2-4")];
    assert_eq!(api.call("GET", &path, &other, b"").await.status, 307);
    assert_eq!(api.call("GET", &path, &other, b"").await.status, 206);
    // What it has already it need not get anywhere.
    let etag = format!("\"{digest}\"");
    let known = [("X-Forwarded-For", "192.0.2.8"), ("If-None-Match", etag.as_str())];
    assert_eq!(api.call("GET", &path, &known, b"").await.status, 304);
    // Another blob, and one without bytes.
    let (other, empty) = (api.push("a/b", b"other").await, api.push("a/b", b"").await);
    assert_eq!(api.get(&format!("/v2/a/b/blobs/{other}")).await.status, 307);
    assert_eq!(api.get(&format!("/v2/a/b/blobs/{empty}")).await.status, 200);
    assert_eq!(api.get(&format!("/v2/c/d/blobs/{other}")).await.status, 404, "only what the caller may read");
}

#[tokio::test]
async fn nobody_is_sent_to_a_location_that_does_not_work() {
    let works = Arc::new(AtomicBool::new(false));
    let api = redirecting(&works).await;
    let path = format!("/v2/a/b/blobs/{}", api.push("a/b", b"0123456789").await);
    assert_eq!(api.get(&path).await.status, 200);
    works.store(true, Ordering::SeqCst);
    assert_eq!(api.get(&path).await.status, 307, "it was not sent before");
}

#[tokio::test]
async fn nobody_is_sent_anywhere_unless_asked_for() {
    let api = Api::over(Arc::new(Reachable::default()), |api| api).await;
    let path = format!("/v2/a/b/blobs/{}", api.push("a/b", b"0123456789").await);
    assert_eq!(api.get(&path).await.status, 200);
    let api = Api::over(Arc::new(Memory::new()), |api| api.with_redirects(Redirects::new(|_| true))).await;
    let path = format!("/v2/a/b/blobs/{}", api.push("a/b", b"0123456789").await);
    assert_eq!(api.get(&path).await.status, 200, "a store without URLs");
}
