//! What is measured: the phases, in order, on one server.

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use roadstead_testkit::{Body, Client, Content, Image, Request, Seed, digest, digest_of, load};

use super::server::Server;
use crate::stage::Failure;

/// Bytes of the large blob.
const LARGE: u64 = 1 << 30;
/// Bytes of the chunks that it is pushed in.
const CHUNK: u64 = 16 << 20;
/// Where in the block of random bytes the blob in chunks begins.
const OFFSET: u64 = 1_000;
/// Small images, and the clients that push them.
const IMAGES: u64 = 500;
const CLIENTS: u64 = 16;

/// The pull after a restart.
pub(super) const FIRST_PULL: &str = "pull 1 GB, first after a restart";

/// What a phase came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// In all.
    pub(super) amount: f64,
    pub(super) seconds: f64,
    /// Seconds of CPU time of the server.
    pub(super) cpu: f64,
}

/// One server, measured once.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) phases: Vec<Measured>,
    /// The most memory it ever had resident, MB.
    pub(super) peak: f64,
}

/// What is pushed, made once: to make it costs more than to push it.
pub(super) struct Material {
    block: Vec<u8>,
    /// The blob that is pushed in one request.
    mono: String,
    /// The one that is pushed in chunks: the same bytes from [`OFFSET`] on, or a server would know it already.
    chunks: String,
}

impl Material {
    /// A block of random bytes; the large blob is it over and over.
    pub(super) fn new() -> Self {
        let block = Content::new(Seed(1), 64 << 20).to_vec();
        let digest = |at| digest_of(Repeated { block: &block, at }.take(LARGE)).map(|(digest, _)| digest);
        let (mono, chunks) = (digest(0).unwrap_or_default(), digest(OFFSET as usize).unwrap_or_default());
        Self { block, mono, chunks }
    }

    fn from(&self, offset: u64) -> Repeated<'_> {
        Repeated { block: &self.block, at: offset as usize % self.block.len() }
    }
}

struct Repeated<'a> {
    block: &'a [u8],
    at: usize,
}

impl Read for Repeated<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.block[self.at..]).read(buffer)?;
        self.at = (self.at + count) % self.block.len();
        Ok(count)
    }
}

/// Everything of one server.
struct Bench<'a> {
    server: &'a mut Server,
    client: Client,
    material: &'a Material,
    wanted: &'a [String],
    run: Run,
}

/// Drives all phases, or those whose names begin with one of `wanted`.
pub(super) fn measure(
    server: &mut Server,
    material: &Material,
    seconds: u64,
    wanted: &[String],
) -> Result<Run, Failure> {
    let client = Client::new(server.addr);
    let mut bench = Bench { server, client, material, wanted, run: Run::default() };
    bench.small(Duration::from_secs(seconds))?;
    bench.images()?;
    bench.large()?;
    bench.run.peak = bench.run.peak.max(bench.server.used()?.peak);
    Ok(bench.run)
}

impl Bench<'_> {
    /// Measures one phase, whose work answers how much it did.
    fn phase(
        &mut self,
        name: &'static str,
        unit: &'static str,
        work: impl FnOnce(&Self) -> Result<f64, Failure>,
    ) -> Result<(), Failure> {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|wanted| name.starts_with(wanted)) {
            return Ok(());
        }
        let (before, begun) = (self.server.used()?, Instant::now());
        let amount = work(self)?;
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), self.server.used()?.cpu - before.cpu);
        println!("  {name}: {:.0} {unit}/s, {:.0} per CPU-second", amount / seconds, amount / cpu.max(0.01));
        self.run.phases.push(Measured { name, unit, amount, seconds, cpu });
        Ok(())
    }

    fn small(&mut self, wanted: Duration) -> Result<(), Failure> {
        let image = Image::generate(Seed(2), &[1 << 10, 4 << 10]);
        self.client.push_image("bench/small", "latest", &image).map_err(|e| Failure::new(e.to_string()))?;
        let blob = format!("/v2/bench/small/blobs/{}", digest(&image.blobs[1]));
        let manifest = "/v2/bench/small/manifests/latest".to_owned();
        for (name, method, target) in [
            ("manifest GET by tag", "GET", &manifest),
            ("manifest HEAD by tag", "HEAD", &manifest),
            ("blob HEAD", "HEAD", &blob),
            ("blob GET 1 KB", "GET", &blob),
        ] {
            let request = Request::new(method, target).header("Accept", Image::MANIFEST);
            self.phase(name, "req", |bench| Ok(load::requests(bench.server.addr, &request, wanted)? as f64))?;
        }
        Ok(())
    }

    fn images(&mut self) -> Result<(), Failure> {
        self.phase("push 500 small images, 16 clients", "images", |bench| {
            let addr = bench.server.addr;
            let pushed: Result<Vec<()>, Failure> = thread::scope(|scope| {
                let started: Vec<_> = (0..CLIENTS).map(|who| scope.spawn(move || push_images(addr, who))).collect();
                started.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(Failure::new("panicked")))).collect()
            });
            pushed.map(|_| IMAGES as f64)
        })
    }

    fn large(&mut self) -> Result<(), Failure> {
        let megabytes = LARGE as f64 / 1e6;
        let client = |error: roadstead_testkit::Refused| Failure::new(error.to_string());
        self.phase("push 1 GB, one request", "MB", |bench| {
            let upload = bench.client.begin("bench/mono").map_err(client)?;
            let joint = if upload.location.contains('?') { '&' } else { '?' };
            let target = format!("{}{joint}digest={}", upload.location, bench.material.mono);
            let request = Request::new("PUT", target).header("Content-Type", "application/octet-stream");
            let answer =
                bench.client.send(&request, Body::Sized(&mut bench.material.from(0), LARGE)).map_err(client)?;
            if answer.status == 201 { Ok(megabytes) } else { Err(Failure::new(format!("PUT: {}", answer.status))) }
        })?;
        self.phase("push 1 GB, 16 MB chunks", "MB", |bench| {
            let mut upload = bench.client.begin("bench/chunks").map_err(client)?;
            while upload.offset < LARGE {
                let mut chunk = bench.material.from(OFFSET + upload.offset);
                upload = bench.client.append(&upload, &mut chunk, CHUNK.min(LARGE - upload.offset)).map_err(client)?;
            }
            bench.client.finish(&upload, &bench.material.chunks, &[]).map_err(client)?;
            Ok(megabytes)
        })?;
        let target = format!("/v2/bench/mono/blobs/{}", self.material.mono);
        // One pull is over in half a second, of which chance has a fifth.
        for (name, clients, times) in [("pull 1 GB, 1 client", 1, 6), ("pull 1 GB, 4 clients", 4, 2)] {
            self.phase(name, "MB", |bench| {
                let (addr, target) = (bench.server.addr, &target);
                let pulls = move || (0..times).try_for_each(|_| load::pull(addr, target, LARGE)).map_err(Failure::from);
                let pulled: Result<Vec<()>, Failure> = thread::scope(|scope| {
                    let started: Vec<_> = (0..clients).map(|_| scope.spawn(pulls)).collect();
                    started.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(Failure::new("panicked")))).collect()
                });
                pulled.map(|_| megabytes * f64::from(clients * times))
            })?;
        }
        self.run.peak = self.server.used()?.peak;
        self.server.restart()?;
        self.phase(FIRST_PULL, "MB", |bench| {
            load::pull(bench.server.addr, &target, LARGE)?;
            Ok(megabytes)
        })
    }
}

/// One client's share of the images, each of two layers of its own.
fn push_images(addr: std::net::SocketAddr, who: u64) -> Result<(), Failure> {
    let client = Client::new(addr);
    for number in (who..IMAGES).step_by(CLIENTS as usize) {
        let image = Image::generate(Seed(1_000 + number), &[4 << 10, 32 << 10]);
        let (repository, tag) = (format!("bench/r{}", number % 10), format!("t{number}"));
        client.push_image(&repository, &tag, &image).map_err(|e| Failure::new(e.to_string()))?;
    }
    Ok(())
}

/// Megabytes a second that the disk of `directory` takes in one file with an fsync at its end.
pub(super) fn disk(directory: &std::path::Path) -> Result<f64, Failure> {
    let file = tempfile::tempfile_in(directory)?;
    let (block, begun) = (vec![7; 4 << 20], Instant::now());
    let write = |mut file: &File| -> io::Result<()> {
        for _ in 0..LARGE / block.len() as u64 {
            file.write_all(&block)?;
        }
        file.sync_all()
    };
    write(&file)?;
    Ok(LARGE as f64 / 1e6 / begun.elapsed().as_secs_f64())
}
