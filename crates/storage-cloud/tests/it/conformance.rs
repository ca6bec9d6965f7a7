//! The shared suite on S3 servers.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use roadstead_storage::Engine;
use roadstead_storage::suite::Subject;
use roadstead_storage_cloud::{S3, S3Options, Secret};
use roadstead_testkit::servers::{S3Server, minio, s3};

/// One server for the subject of each clause.
pub(crate) struct Bucket {
    server: S3Server,
    /// Whether it keeps objects as files, and decides no race for a key.
    plain: bool,
    opened: Mutex<Vec<S3>>,
}

pub(crate) fn options(server: &S3Server) -> S3Options {
    let credentials = Some((Secret::new(server.access_key), Secret::new(server.secret_key)));
    let endpoint = Some(server.endpoint.clone());
    S3Options { endpoint, credentials, ..S3Options::new(server.bucket, "us-east-1") }
}

#[async_trait]
impl Subject for Bucket {
    async fn open(&self) -> Arc<dyn Engine> {
        // Below a prefix, with parts as small as they may be.
        let options = S3Options { root: "a/root".into(), part_size: 5 << 20, ..options(&self.server) };
        let engine = S3::open_bucket(&options).await.unwrap();
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(engine.clone());
        Arc::new(engine)
    }

    fn leftovers(&self) -> Vec<String> {
        self.server.unfinished()
    }

    async fn settled(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for engine in opened {
            engine.settled().await;
        }
    }

    fn races_are_open(&self) -> bool {
        self.plain
    }

    fn prefixes_are_in_the_way(&self) -> bool {
        self.plain
    }
}

mod on_s3s_fs {
    use super::*;

    static INSTALLED: LazyLock<bool> = LazyLock::new(|| s3().is_some());

    roadstead_storage::conformance!(
        *INSTALLED,
        Bucket { server: s3().unwrap(), plain: true, opened: Mutex::default() }
    );
}

mod on_minio {
    use super::*;

    static INSTALLED: LazyLock<bool> = LazyLock::new(|| minio().is_some());

    roadstead_storage::conformance!(
        *INSTALLED,
        Bucket { server: minio().unwrap(), plain: false, opened: Mutex::default() }
    );
}
