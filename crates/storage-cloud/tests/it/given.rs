//! The shared suite on a server that somebody else started: a real account, or one that the gate does not install.
//!
//! `ROADSTEAD_TEST_S3` is `http://ACCESSKEY:SECRETKEY@HOST:PORT/BUCKET`, with `?region=...` when it is not `us-east-1`. Each
//! clause works below a prefix of its own and removes what is there.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use roadstead_storage::Engine;
use roadstead_storage::suite::{CLAUSES, Subject, run};
use roadstead_storage_cloud::{S3, S3Options, Secret};

struct Given {
    options: S3Options,
    opened: Mutex<Vec<S3>>,
}

#[async_trait]
impl Subject for Given {
    async fn open(&self) -> Arc<dyn Engine> {
        let engine = S3::open_bucket(&self.options).await.unwrap();
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(engine.clone());
        Arc::new(engine)
    }

    async fn settled(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for engine in opened {
            engine.settled().await;
            for listed in engine.list("", None, usize::MAX).await.unwrap() {
                engine.delete(&listed.key).await.unwrap();
            }
            let unfinished = engine.sweep().unwrap().remove_stale(std::time::Duration::ZERO).await.unwrap();
            assert_eq!(unfinished.files, 0, "uploads that are unfinished");
        }
    }

    fn races_are_open(&self) -> bool {
        std::env::var_os("ROADSTEAD_TEST_S3_RACES").is_some()
    }

    fn prefixes_are_in_the_way(&self) -> bool {
        std::env::var_os("ROADSTEAD_TEST_S3_PREFIXES").is_some()
    }
}

fn given() -> S3Options {
    let url =
        std::env::var("ROADSTEAD_TEST_S3").expect("ROADSTEAD_TEST_S3=http://ACCESSKEY:SECRETKEY@HOST:PORT/BUCKET");
    let (url, region) = url.split_once("?region=").unwrap_or((&url, "us-east-1"));
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let (keys, place) = rest.rsplit_once('@').expect("keys before the host");
    let (access, secret) = keys.split_once(':').expect("two keys");
    let (host, bucket) = place.split_once('/').expect("a bucket behind the host");
    S3Options {
        endpoint: Some(format!("{scheme}://{host}")),
        credentials: Some((Secret::new(access), Secret::new(secret))),
        part_size: 5 << 20,
        ..S3Options::new(bucket, region)
    }
}

/// Only for who asks for it: the gate has no such server.
#[test]
fn every_clause_holds_on_a_server_that_is_given() {
    if std::env::var_os("ROADSTEAD_TEST_S3").is_none() {
        return println!("not asked for: ROADSTEAD_TEST_S3 is not set");
    }
    for clause in CLAUSES {
        println!("{}", clause.name);
        let root = format!("roadstead-test/{}-{}", clause.name, std::process::id());
        run(clause.name, || Given { options: S3Options { root, ..given() }, opened: Mutex::default() });
    }
}
