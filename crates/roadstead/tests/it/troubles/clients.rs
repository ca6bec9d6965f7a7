//! Clients that push, pull, mount, delete and cancel through both instances, and judge every answer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::sleep;
use std::time::Duration;

use roadstead_testkit::{Body, Client, Content, Image, Ledger, Refused, Request, Response, Seed, Upload, digest};

use super::uploads::{End, Ends, Open};

/// Whoever was refused pauses for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// An image that was acknowledged.
#[derive(Debug, Clone)]
struct Pushed {
    repository: String,
    tag: String,
    digest: String,
    layer: String,
}

/// What all rounds share.
#[derive(Debug, Default)]
pub(super) struct World {
    images: Mutex<Vec<Pushed>>,
    /// Tags whose deletion was acknowledged.
    deleted: Mutex<Vec<(String, String)>>,
    pub(super) open: Mutex<Vec<Open>>,
    /// Blobs of uploads that came to their end after trouble.
    pub(super) finished: Ledger,
    pub(super) complaints: Mutex<Vec<String>>,
    pub(super) counts: Counts,
}

/// What happened in all rounds.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests_refused: AtomicU64,
    connections_broken: AtomicU64,
    overtaken: AtomicU64,
    mounts: AtomicU64,
    deletions: AtomicU64,
    pulls: AtomicU64,
    pub(super) ends: Mutex<Ends>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            f,
            "{} pulls, {} mounts, {} tags deleted, {} requests refused, {} broken off, {} overtaken, {}",
            of(&self.pulls),
            of(&self.mounts),
            of(&self.deletions),
            of(&self.requests_refused),
            of(&self.connections_broken),
            of(&self.overtaken),
            self.ends.lock().unwrap()
        )
    }
}

impl World {
    pub(super) fn complain(&self, text: String) {
        self.complaints.lock().unwrap().push(text);
    }

    /// An upload has come to its end.
    pub(super) fn ended(&self, open: &Open, end: End) {
        self.counts.ends.lock().unwrap().count(end);
        if end == End::Continued {
            self.finished.acknowledge_blob(&open.repository, &digest(&open.bytes));
        }
    }

    /// What is there although its deletion was acknowledged.
    pub(super) fn deleted(&self, addr: SocketAddr) -> Vec<String> {
        let client = Client::new(addr);
        let all = std::mem::take(&mut *self.deleted.lock().unwrap());
        let there = all.iter().filter_map(|(repository, tag)| match client.manifest(repository, tag) {
            Err(Refused::Answer { response, .. }) if response.status == 404 => None,
            other => Some(format!("{repository}:{tag} was deleted: {other:?}")),
        });
        there.collect()
    }

    fn any_image(&self, seed: Seed) -> Option<Pushed> {
        let images = self.images.lock().unwrap();
        // Mostly young ones.
        let back = seed.below(20.min(images.len() as u64)) as usize;
        images.len().checked_sub(1 + back).map(|index| images[index].clone())
    }
}

/// The clients of one round.
pub(super) struct Load<'a> {
    world: &'a World,
    ledger: &'a Ledger,
    addrs: [SocketAddr; 2],
    round: u64,
    seed: Seed,
    over: AtomicBool,
    refused: [AtomicU64; 2],
}

/// Ends the work when it is dropped.
pub(super) struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'a> Load<'a> {
    pub(super) fn new(world: &'a World, ledger: &'a Ledger, addrs: [SocketAddr; 2], round: u64, seed: Seed) -> Self {
        let (over, refused) = (AtomicBool::new(false), Default::default());
        Self { world, ledger, addrs, round, seed, over, refused }
    }

    pub(super) fn ends(&self) -> Over<'_> {
        Over(&self.over)
    }

    /// Requests that each instance did not carry out.
    pub(super) fn refused(&self) -> [u64; 2] {
        self.refused.each_ref().map(|refused| refused.load(Ordering::SeqCst))
    }

    /// One client at work; each image that is acknowledged is told.
    pub(super) fn work(&self, who: u64, acknowledged: &Sender<()>) {
        for number in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let seed = self.seed.derive(100 + who).derive(number);
            let which = seed.below(2) as usize;
            let client = Client::new(self.addrs[which]);
            let done = match seed.derive(1).below(10) {
                0..=4 => self.push(&client, who, number, seed).inspect(|()| {
                    let _ = acknowledged.send(());
                }),
                5..=6 => self.pull(&client, seed),
                7 => self.mount(&client, who, seed),
                8 => self.begin(&client, who, seed),
                _ => self.go_on(&client, seed),
            };
            if let Err(error) = done {
                self.judge(which, &error);
                sleep(PAUSE);
            }
        }
    }

    /// What may be answered while something is wrong, and what never.
    fn judge(&self, which: usize, error: &Refused) {
        let text = match error {
            // One request on an upload that another one is still busy with, or that went on since.
            Refused::Answer { response, request }
                if matches!(response.status, 409 | 416) && request.contains("/blobs/uploads/") =>
            {
                self.world.counts.overtaken.fetch_add(1, Ordering::Relaxed);
                return;
            }
            _ => error,
        };
        self.refused[which].fetch_add(1, Ordering::SeqCst);
        let text = match text {
            // A body that breaks off is what a client must see of bytes that cannot be had.
            Refused::Unanswered(_) => {
                self.world.counts.connections_broken.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Refused::Answer { request, response } => {
                self.world.counts.requests_refused.fetch_add(1, Ordering::Relaxed);
                match faults_of(request, response) {
                    None => return,
                    Some(fault) => format!("{error}: {fault}"),
                }
            }
            Refused::Content(text) => text.clone(),
        };
        self.world.complain(text);
    }

    fn push(&self, client: &Client, who: u64, number: u64, seed: Seed) -> Result<(), Refused> {
        let repository = format!("troubles/c{who}");
        let large = seed.derive(2).below(40) == 0;
        let first = if large { (5 << 20) + seed.derive(3).below(16 << 20) } else { seed.derive(3).below(60_000) };
        let image = Image::generate(seed, &[first, seed.derive(4).below(3_000)]);
        let (tag, name) = (format!("r{}-{number}", self.round), image.digest());
        let mut acknowledged = 0;
        let blobs = image.blobs.iter().zip(10..).try_for_each(|(blob, number)| {
            self.push_blob(client, &repository, blob, seed.derive(number))?;
            acknowledged += 1;
            Ok(())
        });
        let pushed = blobs.and_then(|()| {
            self.ledger.attempt(&repository, &tag, &name);
            client.push_manifest(&repository, &tag, Image::MANIFEST, &image.manifest)
        });
        if let Err(error) = pushed {
            // What the manifest would have named was acknowledged without it.
            let acknowledged = image.blobs[..acknowledged].iter();
            acknowledged.for_each(|blob| self.ledger.acknowledge_blob(&repository, &digest(blob)));
            return Err(error);
        }
        self.ledger.acknowledge(&repository, &tag, &name);
        let pushed = Pushed { repository, tag, digest: name, layer: digest(&image.blobs[1]) };
        if seed.derive(5).below(5) == 0 {
            self.tag_and_delete(client, &pushed, &image)?;
        }
        self.world.images.lock().unwrap().push(pushed);
        Ok(())
    }

    fn tag_and_delete(&self, client: &Client, pushed: &Pushed, image: &Image) -> Result<(), Refused> {
        let (repository, tag) = (&pushed.repository, format!("{}-gone", pushed.tag));
        client.push_manifest(repository, &tag, Image::MANIFEST, &image.manifest)?;
        let request = Request::new("DELETE", format!("/v2/{repository}/manifests/{tag}"));
        expect(client, &request, Body::None, &[202])?;
        self.world.deleted.lock().unwrap().push((repository.clone(), tag));
        self.world.counts.deletions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Pushes a blob in one of the ways there are.
    fn push_blob(&self, client: &Client, repository: &str, bytes: &[u8], seed: Seed) -> Result<(), Refused> {
        let name = digest(bytes);
        if seed.below(4) == 0 {
            let request = Request::new("POST", format!("/v2/{repository}/blobs/uploads/?digest={name}"));
            return expect(client, &request, Body::Bytes(bytes), &[201]).map(drop);
        }
        let upload = client.begin(repository)?;
        let (repository, bytes) = (repository.to_owned(), bytes.to_vec());
        let mut open = Open { repository, bytes, upload, finishing: false, cancelling: false };
        let sent = match seed.below(4) {
            1 => Ok(()),
            2 => stream(client, &mut open),
            _ => chunks(client, &mut open, seed),
        };
        let done = sent.and_then(|()| {
            open.finishing = true;
            let rest = &open.bytes[usize::try_from(open.upload.offset).unwrap()..];
            client.finish(&open.upload, &name, rest)
        });
        if done.is_err() {
            self.world.open.lock().unwrap().push(open);
        }
        done
    }

    /// Pulls an image, and looks whether it is there: an acknowledged one is.
    fn pull(&self, client: &Client, seed: Seed) -> Result<(), Refused> {
        let Some(Pushed { repository, tag, digest, layer }) = self.world.any_image(seed) else { return Ok(()) };
        if !client.has_blob(&repository, &layer)? {
            return Err(Refused::Content(format!("{repository}@{layer} was acknowledged and is not there")));
        }
        let found = client.pull_image(&repository, &tag)?;
        if found != digest {
            return Err(Refused::Content(format!("{repository}:{tag} is {found}, acknowledged was {digest}")));
        }
        self.world.counts.pulls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn mount(&self, client: &Client, who: u64, seed: Seed) -> Result<(), Refused> {
        let Some(Pushed { repository, layer, .. }) = self.world.any_image(seed) else { return Ok(()) };
        let to = format!("troubles/m{who}");
        let query = format!("mount={layer}&from={repository}");
        let request = Request::new("POST", format!("/v2/{to}/blobs/uploads/?{query}"));
        if expect(client, &request, Body::None, &[201, 202])?.status == 201 {
            self.ledger.acknowledge_blob(&to, &layer);
            self.world.counts.mounts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Begins an upload, and leaves or cancels it in the middle.
    fn begin(&self, client: &Client, who: u64, seed: Seed) -> Result<(), Refused> {
        let repository = format!("troubles/c{who}");
        let bytes = Content::new(seed, 1_000 + seed.derive(2).below(100_000)).to_vec();
        let upload = client.begin(&repository)?;
        let half = bytes.len() as u64 / 2;
        let mut open = Open { repository, bytes, upload, finishing: false, cancelling: false };
        let done = (|| {
            open.upload = client.append(&open.upload, &mut &open.bytes[..], half)?;
            if seed.derive(3).below(2) == 0 { open.cancel(client).map(Some) } else { Ok(None) }
        })();
        match done {
            Ok(Some(end)) => {
                self.world.ended(&open, end);
                Ok(())
            }
            unended => {
                self.world.open.lock().unwrap().push(open);
                unended.map(drop)
            }
        }
    }

    /// Goes on with an upload of anybody.
    fn go_on(&self, client: &Client, seed: Seed) -> Result<(), Refused> {
        let Some(mut open) = self.world.open.lock().unwrap().pop() else { return Ok(()) };
        match open.settle(client, seed) {
            Ok(end) => {
                self.world.ended(&open, end);
                Ok(())
            }
            Err(error) => {
                self.world.open.lock().unwrap().insert(0, open);
                Err(error)
            }
        }
    }
}

/// As docker does: all bytes in one request that does not say how many they are.
fn stream(client: &Client, open: &mut Open) -> Result<(), Refused> {
    let request = Request::new("PATCH", &open.upload.location).header("Content-Type", "application/octet-stream");
    let answer = expect(client, &request, Body::Chunked(&mut &open.bytes[..]), &[202])?;
    let location = answer.header("location").unwrap_or_default().to_owned();
    open.upload = Upload { location, offset: open.bytes.len() as u64 };
    Ok(())
}

fn chunks(client: &Client, open: &mut Open, seed: Seed) -> Result<(), Refused> {
    let length = open.bytes.len() as u64;
    let chunk = (length / (1 + seed.derive(1).below(4))).max(1_000);
    while open.upload.offset < length {
        let mut rest = &open.bytes[usize::try_from(open.upload.offset).unwrap()..];
        let piece = chunk.min(length - open.upload.offset);
        open.upload = client.append(&open.upload, &mut rest, piece)?;
    }
    Ok(())
}

fn expect(client: &Client, request: &Request, body: Body<'_>, statuses: &[u16]) -> Result<Response, Refused> {
    let response = client.send(request, body)?;
    if statuses.contains(&response.status) {
        return Ok(response);
    }
    Err(Refused::Answer { request: format!("{} {}", request.method, request.target), response: Box::new(response) })
}

/// What is wrong with a refusal: it has to say when to come back, and in the words of the specification that it is not the
/// client's fault.
fn faults_of(request: &str, response: &Response) -> Option<&'static str> {
    match response.status {
        429 | 503 => {}
        _ => return Some("no answer to a trouble of the registry's own"),
    }
    if response.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok()).is_none() {
        return Some("it does not say when to come back");
    }
    let told = response.error_code().is_some_and(|code| matches!(code.as_str(), "UNAVAILABLE" | "TOOMANYREQUESTS"));
    (!told && !request.starts_with("HEAD")).then_some("no error of the specification")
}
