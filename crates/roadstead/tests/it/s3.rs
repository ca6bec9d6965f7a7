//! Blobs in a bucket: the same promises as on a disk, and a bucket that holds nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use roadstead_metadata::Sql;
use roadstead_metadata::records::location;
use roadstead_metadata_raft::{Options, RaftSql};
use roadstead_registry::{Clock, Everyone, Limits, Parts, Registry, SystemClock};
use roadstead_storage::{Location, Locations, Scope};
use roadstead_storage_cloud::{S3, S3Options, Secret};
use roadstead_testkit::servers::{S3Server, s3};
use roadstead_testkit::{Body, Client, Content, Image, Launch, Ledger, Request, Seed};
use roadstead_workers::{PurgeUploads, SweepTemporary, Worker};
use tempfile::TempDir;

use crate::scale;

/// A server whose blobs are in this bucket, and which serves them itself.
pub(crate) fn launch(bucket: &S3Server) -> Launch {
    with_blobs_in(scale::launch(), bucket)
}

pub(crate) fn with_blobs_in(launch: Launch, bucket: &S3Server) -> Launch {
    launch.set_all(bucket.variables()).set("ROADSTEAD_STORAGE__REDIRECT__DISABLE", "true")
}

/// Keys that are neither blobs nor the mark of the installation.
fn strangers(bucket: &S3Server) -> Vec<String> {
    let mut keys = content(bucket);
    keys.retain(|key| !key.starts_with("blobs/"));
    keys
}

/// What is there beside the identity and the audit.
pub(crate) fn content(bucket: &S3Server) -> Vec<String> {
    let mut keys = bucket.keys();
    keys.retain(|key| key != "roadstead.json" && !key.starts_with("audit/"));
    keys
}

#[test]
fn what_is_acknowledged_survives_a_kill_and_nothing_else_stays() {
    let Some(bucket) = s3() else { return };
    let (seed, ledger, launch) = (scale::seed(), Ledger::default(), launch(&bucket));
    let server = launch.start();
    let client = server.client();
    assert!(server.output().contains(&format!("blobs in bucket blobs at {}", bucket.endpoint)), "{}", server.output());
    for number in 0..3 {
        let (tag, image) = (format!("v{number}"), Image::generate(seed.derive(number), &[1_000, 200_000, 0]));
        client.push_image("cloud/app", &tag, &image).unwrap();
        ledger.acknowledge("cloud/app", &tag, &image.digest());
    }
    // Larger than a part of an object, in one request and in several.
    let large = Content::new(seed.derive(10), 21 << 20).to_vec();
    let whole = client.push_blob("cloud/app", &large).unwrap();
    ledger.acknowledge_blob("cloud/app", &whole);
    let content = Content::new(seed.derive(11), 23 << 20);
    let upload = client.begin("cloud/app").unwrap();
    let upload = client.append(&upload, &mut content.clone(), 19 << 20).unwrap();
    ledger.acknowledge_upload("half", &upload);
    // Of another only one byte.
    let begun = client.append(&client.begin("cloud/app").unwrap(), &mut content.clone(), 1).unwrap();

    let directory = server.kill9();
    let server = launch.start_on(directory);
    let client = server.client();
    assert_eq!(ledger.verify_all(&client), Vec::<String>::new());
    let upload =
        client.append(&client.status(&upload).unwrap(), &mut content.clone().skip_to(19 << 20), 10_000).unwrap();
    let rest = content.clone().skip_to(upload.offset).to_vec();
    let digest = roadstead_testkit::digest(&content.to_vec());
    client.finish(&upload, &digest, &rest).unwrap();
    assert_eq!(client.pull_blob("cloud/app", &digest).unwrap(), 23 << 20);
    assert!(strangers(&bucket).iter().any(|key| key.starts_with("uploads/")), "one upload stands where it was");
    assert_eq!(client.call("DELETE", &client.status(&begun).unwrap().location).unwrap().status, 204);

    let (status, _) = server.terminate();
    assert_eq!(status.code(), Some(0));
    assert_eq!((strangers(&bucket), bucket.unfinished()), (vec![], vec![]));
}

#[test]
fn a_bucket_that_cannot_be_used_or_is_anothers_is_refused() {
    let Some(bucket) = s3() else { return };
    let (status, output) = launch(&bucket)
        .set("ROADSTEAD_STORAGE__S3__BUCKET", "elsewhere")
        .try_start_on(Arc::new(tempfile::tempdir().unwrap()))
        .expect_err("there is no such bucket");
    assert!(!status.success() && output.contains("there is no bucket elsewhere"), "{output}");
    drop(launch(&bucket).start());
    // Metadata that is not there, beside blobs that are.
    let empty = Arc::new(tempfile::tempdir().unwrap());
    let (status, output) = launch(&bucket).try_start_on(empty.clone()).expect_err("the bucket has an owner");
    assert!(!status.success() && output.contains("is the filesystem of the metadata mounted?"), "{output}");
    assert!(!empty.path().join("metadata/roadstead.json").exists(), "nothing was begun");
}

/// A clock that can be put forward without having jumped.
#[derive(Debug, Default)]
pub(crate) struct Later {
    clock: SystemClock,
    millis: AtomicI64,
}

impl Later {
    pub(crate) fn put_forward(&self, by: Duration) {
        self.millis.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for Later {
    fn now(&self) -> i64 {
        self.clock.now() + self.millis.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + Duration::from_millis(self.millis.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// How a bucket is opened without a server in front of it.
pub(crate) fn options(bucket: &S3Server) -> S3Options {
    S3Options {
        endpoint: Some(bucket.endpoint.clone()),
        credentials: Some((Secret::new(bucket.access_key), Secret::new(bucket.secret_key))),
        ..S3Options::new(bucket.bucket, "us-east-1")
    }
}

/// What workers work on when the servers of this metadata and bucket have ended, and a clock to put forward.
pub(crate) async fn in_days_to_come(sql: Arc<dyn Sql>, bucket: &S3Options) -> (Arc<Registry>, Arc<Later>) {
    let engine = Arc::new(S3::open_bucket(bucket).await.unwrap());
    let id = location::all(&*sql).await.unwrap()[0].id;
    let clock = Arc::new(Later::default());
    let parts = Parts {
        sql,
        locations: Locations::single(Location { name: "default".into(), id, scope: Scope::Shared, engine }),
        clock: clock.clone(),
        policy: Arc::new(Everyone),
        limits: Limits::default(),
    };
    (Registry::start(parts).await.unwrap(), clock)
}

#[test]
fn uploads_cut_off_by_a_kill_are_purged_from_the_bucket() {
    const UPLOADS: u64 = 50;
    let Some(bucket) = s3() else { return };
    let (seed, ledger) = (scale::seed(), Ledger::default());
    let server = launch(&bucket).start();
    let image = Image::generate(seed, &[10_000, 300_000]);
    server.client().push_image("kept/app", "v1", &image).unwrap();
    ledger.acknowledge("kept/app", "v1", &image.digest());
    let kept = bucket.keys();
    // Each has acknowledged a chunk, and is in the middle of one that never ends.
    let addr = server.addr();
    let (acknowledged, acknowledgements) = mpsc::channel();
    let clients = (0..UPLOADS).map(|number| {
        let acknowledged = acknowledged.clone();
        thread::spawn(move || cut_off(addr, seed.derive(number), &acknowledged))
    });
    let clients: Vec<_> = clients.collect();
    assert_eq!(acknowledgements.iter().take(UPLOADS as usize).count(), UPLOADS as usize);
    let directory = server.kill9();
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    assert!(strangers(&bucket).len() >= UPLOADS as usize);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(purge(&bucket, &directory));
    assert_eq!(bucket.keys(), kept);
    let server = launch(&bucket).start_on(directory);
    assert_eq!(ledger.verify_all(&server.client()), Vec::<String>::new());
}

fn cut_off(addr: SocketAddr, seed: Seed, acknowledged: &Sender<()>) {
    let client = Client::new(addr);
    let mut content = Content::new(seed, 1 << 40);
    let upload = client.begin("cut/off").unwrap();
    let upload = client.append(&upload, &mut content, 100_000).unwrap();
    acknowledged.send(()).unwrap();
    // Until the server is gone.
    client.append(&upload, &mut content, (1 << 40) - 100_000).expect_err("an end");
}

/// Does what the workers of the next process would do after the expiry, with its metadata and its bucket.
async fn purge(bucket: &S3Server, directory: &TempDir) {
    const EXPIRY: Duration = Duration::from_secs(24 * 3_600);
    let metadata = Arc::new(RaftSql::open(Options::new(directory.path().join("metadata"))).await.unwrap());
    let (registry, clock) = in_days_to_come(metadata.clone(), &options(bucket)).await;
    let purge = PurgeUploads::new(registry.clone(), EXPIRY).with_period(Duration::ZERO);
    // The first look at the clock trusts it only at the second.
    let step = async || purge.step().await.unwrap().done;
    assert_eq!(step().await, 0);
    assert_eq!(step().await, 0, "not before the expiry");
    clock.put_forward(2 * EXPIRY);
    while step().await > 0 {}
    SweepTemporary::new(registry.clone()).step().await.unwrap();
    registry.settled().await;
    metadata.shutdown().await;
}

#[test]
fn pulls_go_to_the_bucket_and_come_back_when_they_must() {
    let Some(bucket) = s3() else { return };
    let server = launch(&bucket).set("ROADSTEAD_STORAGE__REDIRECT__DISABLE", "false").start();
    let client = server.client();
    let bytes = Content::new(scale::seed(), 300_000).to_vec();
    let path = format!("/v2/sent/away/blobs/{}", client.push_blob("sent/away", &bytes).unwrap());
    assert_eq!(client.call("HEAD", &path).unwrap().status, 200);
    // Once the bucket was probed. Each asks for the first time.
    let asking = |number: u64| Request::new("GET", path.as_str()).header("X-Forwarded-For", number.to_string());
    let (number, sent) = (0..100_000)
        .map(|number| (number, client.send(&asking(number), Body::None).unwrap()))
        .find(|(_, answer)| answer.status != 200)
        .unwrap();
    assert_eq!((sent.status, sent.body.len()), (307, 0));
    let url = sent.header("location").unwrap();
    assert!(url.starts_with(&format!("{}/blobs/blobs/sha256/", bucket.endpoint)), "{url}");
    assert!(!url.contains(bucket.secret_key), "{url}");

    let store = Client::new(bucket.endpoint.strip_prefix("http://").unwrap().parse().unwrap());
    assert!(store.call("GET", url).unwrap().body == bytes, "the bytes are those of the blob");
    let part = store.send(&Request::new("GET", url).header("Range", "bytes=1000-1999"), Body::None).unwrap();
    assert_eq!((part.status, &part.body[..]), (206, &bytes[1_000..2_000]));
    // It is good for reading this object and for nothing else.
    for (method, url) in [("PUT", url), ("DELETE", url), ("GET", &url.replace("sha256/", "sha256/x"))] {
        assert_eq!(store.call(method, url).unwrap().status, 403, "{method} {url}");
    }
    let back = client.send(&asking(number), Body::None).unwrap();
    assert!(back.status == 200 && back.body == bytes, "who comes back is served here");
}
