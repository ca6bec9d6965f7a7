//! Power cuts: the server on a disk that forgets what was not flushed, in a machine whose plug is pulled while clients
//! push. After each boot everything that was acknowledged must be there.
//!
//! No stage of the gate: it needs qemu and a kernel, and takes minutes.

mod disk;
mod machine;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use roadstead_testkit::{Client, Content, Image, Ledger, Refused, Seed};

use crate::process::run;
use crate::stage::{Context, Failure};
use crate::suites::release_binary;
use disk::{Disk, Lost};
use machine::{Machine, Parts};

const CLIENTS: u64 = 4;
const CHUNK: u64 = 200_000;
const DISK_MEGABYTES: &str = "2048M";
/// A machine that is emulated answers late; one that answers nothing is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// What all clients of a round share.
struct Round<'a> {
    number: u64,
    seed: Seed,
    addr: SocketAddr,
    ledger: &'a Ledger,
    images: &'a AtomicUsize,
    cut: &'a AtomicBool,
}

/// Cuts the power `rounds` times. The binary is that of the release, or the one that `ROADSTEAD_TEST_BINARY` names.
pub(crate) fn powerloss(context: &Context, rounds: u64) -> Result<(), Failure> {
    if let Some(lacking) = machine::lacking() {
        return Err(Failure::new(format!("powerloss: {lacking}")));
    }
    let binary = match std::env::var_os("ROADSTEAD_TEST_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => release_binary(context)?,
    };
    let seed = Seed::from_environment();
    println!("ROADSTEAD_TEST_SEED={}", seed.0);
    let directory = tempfile::tempdir()?;
    let parts = Parts::gather(&binary, directory.path())?;
    let (image, socket) = (directory.path().join("disk"), directory.path().join("socket"));
    run(Command::new("mkfs.ext4").arg("-q").arg(&image).arg(DISK_MEGABYTES))?;

    let ledger = Ledger::default();
    let mut total = Lost::default();
    for number in 0..=rounds {
        let disk = Disk::power_on(&image, &socket)?;
        let since = Instant::now();
        let machine = parts.boot(&socket)?;
        let booted = since.elapsed();
        let wrong = ledger.verify_all(&Client::new(machine.addr()));
        if !wrong.is_empty() {
            let console = machine.cut();
            let wrong = format!("{} of what was acknowledged is wrong:\n{}", wrong.len(), wrong.join("\n"));
            return Err(Failure::new(format!("round {number}: {wrong}\n{}", console.join("\n"))));
        }
        let (found, pulled) = (ledger.images(), since.elapsed() - booted);
        if number == rounds {
            machine.cut();
            disk.power_off(seed, 0)?;
            println!("{found} images pulled after {rounds} power cuts");
            break;
        }
        let seed = seed.derive(number);
        let images = push_until_cut(machine, &disk, number, seed, &ledger)?;
        // Every other time some sectors are written that nobody flushed.
        let lost = disk.power_off(seed, if number % 2 == 0 { 0 } else { 50 })?;
        println!(
            "round {number}: booted in {:.0} s, {found} images and {} uploads pulled in {:.0} s, {images} more \
             acknowledged; {} flushes, at most {} writes between two of them; then {} writes with {} KB lost but for {} KB",
            booted.as_secs_f32(),
            ledger.uploads().len(),
            pulled.as_secs_f32(),
            lost.flushes,
            lost.most,
            lost.writes,
            lost.bytes / 1_000,
            lost.kept / 1_000
        );
        total.writes += lost.writes;
        total.bytes += lost.bytes;
        total.kept += lost.kept;
        total.flushes += lost.flushes;
    }
    println!(
        "power cut {rounds} times: {} flushes, {} writes with {} KB not flushed, of which {} KB were kept",
        total.flushes,
        total.writes,
        total.bytes / 1_000,
        total.kept / 1_000
    );
    Ok(())
}

/// Pushes with all clients, and pulls the plug at a moment that the seed chooses; how many images were acknowledged.
fn push_until_cut(machine: Machine, disk: &Disk, number: u64, seed: Seed, ledger: &Ledger) -> Result<usize, Failure> {
    let (images, cut) = (AtomicUsize::new(0), AtomicBool::new(false));
    let round = Round { number, seed, addr: machine.addr(), ledger, images: &images, cut: &cut };
    let refused = thread::scope(|scope| {
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|who| {
                scope.spawn({
                    let round = &round;
                    move || round.push_images(who)
                })
            })
            .collect();
        clients.push(scope.spawn(|| round.upload_without_end()));
        let (wanted, since) = (4 + seed.below(12) as usize, Instant::now());
        // Looked at so often that the moment is no particular one of a push.
        while images.load(Ordering::SeqCst) < wanted && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1 + seed.below(9)));
        }
        cut.store(true, Ordering::SeqCst);
        // Of what a commit writes and flushes, any part may be what was done last.
        disk.fail_after(1 + seed.derive(1).below(40), PATIENCE);
        let console = machine.cut();
        let ended = clients.into_iter().map(|client| client.join());
        let refused: Vec<String> =
            ended.filter_map(|ended| ended.unwrap_or_else(|_| Some("a client panicked".to_owned()))).collect();
        if refused.is_empty() { Ok(()) } else { Err((refused, console)) }
    });
    match refused {
        Ok(()) => Ok(images.into_inner()),
        Err((refused, console)) => {
            Err(Failure::new(format!("round {number}: {}\n{}", refused.join("\n"), console.join("\n"))))
        }
    }
}

impl Round<'_> {
    /// Why a client was refused before the cut, if it was.
    fn refused(&self, ended: Result<(), Refused>) -> Option<String> {
        match ended {
            Err(Refused::Unanswered(_)) if self.cut.load(Ordering::SeqCst) => None,
            Err(error) => Some(error.to_string()),
            Ok(()) => None,
        }
    }

    fn push_images(&self, who: u64) -> Option<String> {
        let (client, repository) = (Client::new(self.addr), format!("power/{who}"));
        let push = || {
            for number in 0.. {
                let seed = self.seed.derive(who).derive(number);
                let image = Image::generate(seed, &[seed.below(3_000), seed.derive(1).below(60_000)]);
                for tag in [format!("r{}-{number}", self.number), "latest".to_owned()] {
                    self.ledger.attempt(&repository, &tag, &image.digest());
                    client.push_image(&repository, &tag, &image)?;
                    self.ledger.acknowledge(&repository, &tag, &image.digest());
                }
                self.images.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        };
        self.refused(push())
    }

    /// An upload whose acknowledged bytes must be there; what becomes of it is of no further interest.
    fn upload_without_end(&self) -> Option<String> {
        let client = Client::new(self.addr);
        let upload = || {
            let mut upload = client.begin("power/upload")?;
            let mut content = Content::new(self.seed, u64::MAX);
            loop {
                upload = client.append(&upload, &mut content, CHUNK)?;
                self.ledger.acknowledge_upload(&self.number.to_string(), &upload);
            }
        };
        self.refused(upload())
    }
}
