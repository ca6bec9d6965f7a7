//! The collector at full speed among clients that push images of shared layers, mount, ask before they push, and
//! delete: no acknowledged image ever breaks, whenever the process is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use roadstead_testkit::{Body, Client, Content, Image, Launch, Refused, Request, Seed, Server, digest};

use crate::{scale, scrub};

const CLIENTS: u64 = 8;
/// Blobs that images are made of: so many that most are in nobody's use for longer than the grace, then wanted again.
const POOL: u64 = 5_000;
/// How often the memory is looked at that must not grow.
const LOOK: Duration = Duration::from_secs(30);
/// The most memory, in bytes, however long it works: the files of the log that it has mapped go up and down by fifty MB
/// between snapshots of the metadata.
const MEMORY: u64 = 300 << 20;
/// Of it without such files: what is remembered of 65,536 copies takes 16 MB, the rest of what grows at first is that
/// of connections and threads.
const ANONYMOUS: u64 = 96 << 20;
/// A push whose blobs are collected before its manifest comes begins again.
const ATTEMPTS: usize = 50;

/// What the clients share and the server does not know.
struct Fleet {
    seed: Seed,
    over: AtomicBool,
    complaints: Mutex<Vec<String>>,
    /// Repository and digest of every acknowledged image that nobody began to delete.
    images: Mutex<BTreeSet<(String, String)>>,
    pushed: AtomicU64,
    deleted: AtomicU64,
    mounted: AtomicU64,
    /// Manifests refused because a blob was collected after the client had found it.
    repeated: AtomicU64,
}

impl Fleet {
    fn new(seed: Seed) -> Self {
        let zero = || AtomicU64::new(0);
        let (pushed, deleted, mounted, repeated) = (zero(), zero(), zero(), zero());
        let (over, complaints, images) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        Self { seed, over, complaints, images, pushed, deleted, mounted, repeated }
    }

    /// All clients at once, until it is over.
    fn run(&self, addr: std::net::SocketAddr, round: u64, until: impl FnOnce()) {
        self.over.store(false, Ordering::SeqCst);
        thread::scope(|scope| {
            for who in 0..CLIENTS {
                scope.spawn(move || {
                    let client = Client::new(addr);
                    let ended = self.work(&client, who, self.seed.derive(round).derive(who));
                    let killed = self.over.load(Ordering::SeqCst);
                    if let Err(error) = ended
                        && !(killed && matches!(error, Refused::Unanswered(_)))
                    {
                        self.complaints.lock().unwrap().push(format!("client {who}: {error}"));
                    }
                });
            }
            until();
            self.over.store(true, Ordering::SeqCst);
        });
        assert_eq!(*self.complaints.lock().unwrap(), Vec::<String>::new());
    }

    fn work(&self, client: &Client, who: u64, seed: Seed) -> Result<(), Refused> {
        let repository = format!("collect/{who}");
        for number in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return Ok(());
            }
            let seed = seed.derive(number);
            match seed.below(10) {
                0..=3 => self.push(client, &repository, seed, &format!("t{}", number % 5))?,
                4..=7 => self.delete(client, &repository, seed)?,
                _ => self.pull(client, &repository, seed)?,
            }
        }
        Ok(())
    }

    fn push(&self, client: &Client, repository: &str, seed: Seed, tag: &str) -> Result<(), Refused> {
        let blobs: Vec<Vec<u8>> =
            (0..=seed.derive(1).below(3)).map(|n| blob(self.seed, seed.derive(n + 2).below(POOL))).collect();
        let descriptor = |bytes: &Vec<u8>| serde_json::json!({"mediaType": "application/octet-stream", "digest": digest(bytes), "size": bytes.len()});
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": Image::MANIFEST, "config": descriptor(&blobs[0]),
            "layers": blobs.iter().map(descriptor).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        for _ in 0..ATTEMPTS {
            for bytes in &blobs {
                self.provide(client, repository, bytes, seed)?;
            }
            match client.push_manifest(repository, tag, Image::MANIFEST, &manifest) {
                Ok(_) => {
                    self.images.lock().unwrap().insert((repository.to_owned(), digest(&manifest)));
                    self.pushed.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Refused::Answer { response, .. })
                    if response.error_code().as_deref() == Some("MANIFEST_BLOB_UNKNOWN") =>
                {
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                }
                Err(other) => return Err(other),
            }
        }
        Err(Refused::Content(format!("a push lost its blobs {ATTEMPTS} times")))
    }

    /// What clients do for each layer: ask, try to mount it from elsewhere, upload it.
    fn provide(&self, client: &Client, repository: &str, bytes: &[u8], seed: Seed) -> Result<(), Refused> {
        let digest = digest(bytes);
        if client.has_blob(repository, &digest)? {
            return Ok(());
        }
        let from = seed.derive(9).below(CLIENTS);
        let target = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from=collect/{from}");
        let answer = client.send(&Request::new("POST", target), Body::None)?;
        if answer.status == 201 {
            self.mounted.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        client.push_blob(repository, bytes).map(drop)
    }

    fn chosen(&self, repository: &str, seed: Seed) -> Option<String> {
        let images = self.images.lock().unwrap();
        let own: Vec<&String> = images.iter().filter(|(of, _)| of == repository).map(|(_, digest)| digest).collect();
        own.get(seed.derive(1).below(own.len() as u64) as usize).map(|digest| (*digest).clone())
    }

    fn delete(&self, client: &Client, repository: &str, seed: Seed) -> Result<(), Refused> {
        let Some(digest) = self.chosen(repository, seed) else { return Ok(()) };
        // From here on either outcome is right.
        self.images.lock().unwrap().remove(&(repository.to_owned(), digest.clone()));
        remove(client, repository, &digest)?;
        self.deleted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn pull(&self, client: &Client, repository: &str, seed: Seed) -> Result<(), Refused> {
        let Some(digest) = self.chosen(repository, seed) else { return Ok(()) };
        client.pull_image(repository, &digest).map(drop)
    }

    /// Pulls every acknowledged image.
    fn verify(&self, client: &Client) {
        let images = self.images.lock().unwrap();
        for (repository, digest) in images.iter() {
            client.pull_image(repository, digest).unwrap_or_else(|error| panic!("{repository}@{digest}: {error}"));
        }
    }

    /// Deletes every image that is surely there: of the objects only those stay that a copy of a blob is said to be, in
    /// images whose push or deletion a crash left unanswered. Those that a crash left without a name go. And nothing was
    /// ever damaged.
    fn leave_nothing(&self, server: &Server, unanswered: bool) {
        let client = server.client();
        let metrics = String::from_utf8(client.call("GET", "/metrics").unwrap().body).unwrap();
        let damaged = metrics.lines().filter(|line| line.starts_with("roadstead_damaged_objects{"));
        let named: Vec<&str> = damaged.filter(|line| !line.contains("orphan") && !line.ends_with(" 0.0")).collect();
        assert_eq!(named, Vec::<&str>::new());
        for (repository, digest) in std::mem::take(&mut *self.images.lock().unwrap()) {
            remove(&client, &repository, &digest).unwrap();
        }
        if !scale::full() {
            // An object that a second push replaced is kept for another minute, for those who have just looked it up.
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let named = scrub::admin(server, "GET").1["locations"][0]["placements"].as_u64().unwrap();
            let left = objects(server.directory()) as u64;
            if left == named && (unanswered || left == 0) {
                println!("{left} objects are left, all of them named");
                return;
            }
            assert!(Instant::now() < deadline, "{left} objects are left, {named} are named");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn counts(&self) -> String {
        let [pushed, deleted, mounted, repeated] =
            [&self.pushed, &self.deleted, &self.mounted, &self.repeated].map(|count| count.load(Ordering::Relaxed));
        format!("{pushed} images pushed, {deleted} deleted, {mounted} mounts, {repeated} pushes repeated")
    }
}

fn blob(seed: Seed, number: u64) -> Vec<u8> {
    let seed = seed.derive(1_000 + number);
    Content::new(seed, 500 + seed.below(30_000)).to_vec()
}

fn remove(client: &Client, repository: &str, digest: &str) -> Result<(), Refused> {
    let request = Request::new("DELETE", format!("/v2/{repository}/manifests/{digest}"));
    let response = client.send(&request, Body::None)?;
    match response.status {
        202 => Ok(()),
        _ => Err(Refused::Content(format!(
            "DELETE {digest}: {} {}",
            response.status,
            String::from_utf8_lossy(&response.body)
        ))),
    }
}

/// Servers whose collector has nothing to wait for, and that look for damage and orphans all the time.
fn launch() -> Launch {
    let launch = scale::launch().set("ROADSTEAD_GC__GRACE", "2s").set("ROADSTEAD_GC__INTERVAL", "1s");
    launch.set("ROADSTEAD_SCRUB__INTERVAL", "1s").set("ROADSTEAD_SCRUB__RATE", "1GiB")
}

fn objects(directory: &Path) -> usize {
    let folders = fs::read_dir(directory.join("blobs/blobs/sha256")).into_iter().flatten().flatten();
    folders.map(|folder| fs::read_dir(folder.path()).into_iter().flatten().count()).sum()
}

#[test]
fn no_image_breaks_while_it_works_and_nothing_is_left_at_the_end() {
    let fleet = Fleet::new(scale::seed());
    let server = launch().start();
    let client = server.client();
    let end = Instant::now() + scale::load(5, 20);
    fleet.run(server.addr(), 0, || {
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::sleep(left.min(LOOK));
            let [resident, anonymous] = [server.resident(), server.anonymous()].map(|bytes| bytes >> 20);
            println!("{}; {resident} MB resident, {anonymous} without a file", fleet.counts());
        }
    });
    fleet.verify(&client);
    assert!(fleet.deleted.load(Ordering::Relaxed) > 0 && objects(server.directory()) > 0);
    assert!(server.peak() < MEMORY, "{} MB at the peak", server.peak() >> 20);
    assert!(server.anonymous() < ANONYMOUS, "{} MB without a file", server.anonymous() >> 20);

    fleet.leave_nothing(&server, false);
}

#[test]
fn no_image_breaks_when_it_is_killed_at_work() {
    let seed = scale::seed();
    let (fleet, launch) = (Fleet::new(seed), launch());
    let mut server = launch.start();
    for round in 0..scale::rounds(2, 8) {
        let mut running = Some(server);
        let mut directory = None;
        let addr = running.as_ref().map(|server| server.addr()).unwrap();
        fleet.run(addr, round, || {
            thread::sleep(Duration::from_millis(2_000 + seed.derive(round).below(2_000)));
            fleet.over.store(true, Ordering::SeqCst);
            directory = running.take().map(|server| server.kill9());
        });
        server = launch.start_on(directory.unwrap());
        fleet.verify(&server.client());
        println!("round {round}: {}, {} objects", fleet.counts(), objects(server.directory()));
    }
    assert!(fleet.deleted.load(Ordering::Relaxed) > 0);
    fleet.leave_nothing(&server, true);
}
