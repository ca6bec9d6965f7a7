//! A server whose blobs and metadata lie where a test wants them, and a client that knows what was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use roadstead_testkit::{
    Body, Client, Content, Image, Launch, Ledger, Refused, Request, Response, Seed, Server, digest,
};

use crate::scale;

const REPOSITORY: &str = "failures";
/// Health is looked at once a second, and a component is unhealthy after three.
const NOTICED: Duration = Duration::from_secs(30);

pub(super) struct Stand {
    pub(super) server: Server,
    pub(super) ledger: Ledger,
    launch: Launch,
    seed: std::cell::Cell<u64>,
}

/// Ways to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    Blob,
    Chunk,
    Manifest,
    Delete,
}

/// What a client sees of an answer.
pub(super) type Seen = (u16, Option<String>, bool);

impl Stand {
    /// Starts a server with blobs in `blobs` and metadata in `metadata`, and pushes an image.
    pub(super) fn start(blobs: &Path, metadata: &Path) -> Self {
        Self::launch(launch(blobs, metadata))
    }

    pub(super) fn launch(launch: Launch) -> Self {
        let stand = Self { server: launch.start(), ledger: Ledger::default(), launch, seed: std::cell::Cell::new(1) };
        stand.until("healthy");
        stand.push_image("first");
        // To be deleted.
        stand.push_image("second");
        stand
    }

    pub(super) fn client(&self) -> Client {
        self.server.client()
    }

    fn next(&self) -> Seed {
        self.seed.set(self.seed.get() + 1);
        Seed(self.seed.get())
    }

    /// Pushes an image that must be acknowledged.
    pub(super) fn push_image(&self, tag: &str) {
        let image = Image::generate(self.next(), &[3_000, 900_000]);
        self.client().push_image(REPOSITORY, tag, &image).unwrap();
        self.ledger.acknowledge(REPOSITORY, tag, &image.digest());
    }

    /// Tries to write, and answers what came: status, code, whether `Retry-After` was said.
    pub(super) fn push(&self, way: Push) -> Seen {
        let client = self.client();
        let done = match way {
            Push::Blob => client.push_blob(REPOSITORY, &Content::new(self.next(), 5_000).to_vec()).map(drop),
            Push::Chunk => client.begin(REPOSITORY).and_then(|upload| {
                let length = 700_000;
                client.append(&upload, &mut Content::new(self.next(), length), length).map(drop)
            }),
            Push::Manifest => self.push_manifest(&client),
            Push::Delete => {
                let request = Request::new("DELETE", format!("/v2/{REPOSITORY}/manifests/nothing"));
                client.send(&request, Body::None).and_then(|response| refuse_unless(404, response))
            }
        };
        match done {
            Ok(()) => (200, None, false),
            Err(Refused::Answer { response, .. }) => seen(&response),
            Err(other) => panic!("{way:?}: {other}\n{}", self.server.output()),
        }
    }

    /// One that names only what is there.
    fn push_manifest(&self, client: &Client) -> Result<(), Refused> {
        let config = client.manifest(REPOSITORY, "first")?;
        let mut manifest: serde_json::Value = serde_json::from_slice(&config).unwrap();
        manifest["annotations"] = serde_json::json!({"n": self.next().0.to_string()});
        let (tag, bytes) = (format!("m{}", self.seed.get()), manifest.to_string().into_bytes());
        self.ledger.attempt(REPOSITORY, &tag, &digest(&bytes));
        client.push_manifest(REPOSITORY, &tag, Image::MANIFEST, &bytes)?;
        self.ledger.acknowledge(REPOSITORY, &tag, &digest(&bytes));
        Ok(())
    }

    /// Every way to write is answered so.
    pub(super) fn assert_refused(&self, ways: &[Push], status: u16) {
        for way in ways {
            assert_eq!(self.push(*way), (status, Some("UNAVAILABLE".to_owned()), true), "{way:?}");
        }
    }

    pub(super) fn assert_writes(&self, ways: &[Push]) {
        for way in ways {
            assert_eq!(self.push(*way), (200, None, false), "{way:?}\n{}", self.server.output());
        }
    }

    /// Pulls everything that was acknowledged.
    pub(super) fn assert_pulls(&self) {
        assert_eq!(self.ledger.verify_all(&self.client()), Vec::<String>::new());
    }

    /// Status and state of health.
    pub(super) fn health(&self) -> (u16, String) {
        let response = self.client().call("GET", "/load_balancer_status").unwrap();
        (response.status, response.json()["State"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until health says so; answers its status.
    pub(super) fn until(&self, state: &str) -> u16 {
        let since = Instant::now();
        loop {
            let (status, found) = self.health();
            if found == state {
                return status;
            }
            assert!(since.elapsed() < NOTICED, "health is {found} and not {state}\n{}", self.server.output());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until health names a component as the one that takes no writes.
    pub(super) fn until_read_only(&self, component: &str) {
        let since = Instant::now();
        loop {
            let told = self.client().call("GET", "/load_balancer_status").unwrap().json();
            let error = told["Error"].as_str().unwrap_or_default();
            if error.contains("read-only: ") && error.contains(component) {
                return;
            }
            assert!(since.elapsed() < NOTICED, "{component} takes writes: {told}\n{}", self.server.output());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// That all is well again, without anybody's help.
    pub(super) fn assert_recovers(&self) {
        assert_eq!(self.until("healthy"), 200);
        self.assert_writes(&[Push::Blob, Push::Chunk, Push::Manifest, Push::Delete]);
        self.push_image("after");
        self.assert_pulls();
    }

    /// Ends it as a crash does, and starts it again.
    pub(super) fn kill_and_start(self) -> Self {
        let Self { server, ledger, launch, seed } = self;
        let directory = server.kill9();
        let stand = Self { server: launch.start_on(directory), ledger, launch, seed };
        stand.until("healthy");
        stand
    }

    /// Stops it in order, does `meanwhile`, starts it again, and pulls everything.
    pub(super) fn restart(self, meanwhile: impl FnOnce()) -> Self {
        let Self { server, ledger, launch, seed } = self;
        let (status, directory) = server.terminate();
        assert_eq!(status.code(), Some(0));
        meanwhile();
        let stand = Self { server: launch.start_on(directory), ledger, launch, seed };
        stand.assert_recovers();
        stand
    }
}

/// A server with blobs and metadata in these directories.
pub(super) fn launch(blobs: &Path, metadata: &Path) -> Launch {
    scale::launch()
        .set("ROADSTEAD_STORAGE__FILESYSTEM__ROOTDIRECTORY", blobs.to_str().unwrap())
        .set("ROADSTEAD_METADATA__RAFT__DIRECTORY", metadata.to_str().unwrap())
}

/// The entries of a directory.
pub(super) fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Answers how a start on these directories ends that has to refuse.
pub(super) fn refusal(blobs: &Path, metadata: &Path) -> (Option<i32>, String) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let (status, output) = launch(blobs, metadata).try_start_on(directory).unwrap_err();
    (status.code(), output)
}

fn seen(response: &Response) -> Seen {
    (response.status, response.error_code(), response.header("retry-after").is_some())
}

fn refuse_unless(status: u16, response: Response) -> Result<(), Refused> {
    match response.status == status {
        true => Ok(()),
        false => Err(Refused::Answer { request: String::new(), response: Box::new(response) }),
    }
}
