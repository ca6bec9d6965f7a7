//! kill -9 under load: what was acknowledged is there after the restart, and an upload goes on where it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use roadstead_testkit::{Client, Content, Image, Launch, Ledger, Refused, Seed, Server, Upload, digest};
use tempfile::TempDir;

use crate::scale;

const CLIENTS: u64 = 8;
const IMAGES_BEFORE_A_KILL: usize = 20;
const CHUNK: u64 = 128 * 1024;
/// More than is ever sent before the kill.
const ENDLESS: u64 = 1 << 40;

struct Round<'a> {
    number: u64,
    seed: Seed,
    ledger: &'a Ledger,
    killed: &'a AtomicBool,
    complaints: &'a Mutex<Vec<String>>,
}

enum Acknowledged {
    Image,
    Chunk,
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let seed = scale::seed();
    let rounds = scale::rounds(3, 30);
    let (ledger, launch) = (Ledger::default(), scale::launch());
    let mut server = launch.start();
    for number in 0..rounds {
        let directory = push_until_killed(server, number, seed.derive(number), &ledger);
        server = restart(&launch, directory);
        let client = server.client();
        let lost = ledger.verify_all(&client);
        assert!(
            lost.is_empty(),
            "round {number}: {} of what was acknowledged is wrong:\n{}",
            lost.len(),
            lost.join("\n")
        );
        continue_uploads(&client, &ledger);
        println!("round {number}: {} images acknowledged and pulled", ledger.images());
    }
    let (status, _) = server.terminate();
    assert_eq!(status.code(), Some(0));
}

fn restart(launch: &Launch, directory: Arc<TempDir>) -> Server {
    launch.start_on(directory)
}

/// Pushes with all clients and one chunked upload, kills the server at a moment that the seed chooses, and answers
/// its directory.
fn push_until_killed(server: Server, number: u64, seed: Seed, ledger: &Ledger) -> Arc<TempDir> {
    let (killed, complaints) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let round = Round { number, seed, ledger, killed: &killed, complaints: &complaints };
    let addr = server.addr();
    let directory = thread::scope(|scope| {
        let (acknowledged, acknowledgements) = mpsc::channel();
        for client in 0..CLIENTS {
            let (round, acknowledged) = (&round, acknowledged.clone());
            scope.spawn(move || round.report(round.push_images(&Client::new(addr), client, &acknowledged)));
        }
        let (round, uploading) = (&round, acknowledged);
        scope.spawn(move || round.report(round.upload_without_end(&Client::new(addr), &uploading)));
        let wanted = IMAGES_BEFORE_A_KILL + seed.below(20) as usize;
        let (mut images, mut chunks) = (0, 0);
        while images < wanted || chunks == 0 {
            match acknowledgements.recv() {
                Ok(Acknowledged::Image) => images += 1,
                Ok(Acknowledged::Chunk) => chunks += 1,
                Err(_) => panic!("every client gave up: {:?}", complaints.lock().unwrap()),
            }
        }
        killed.store(true, Ordering::SeqCst);
        server.kill9()
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "refused before the kill: {complaints:?}");
    directory
}

impl Round<'_> {
    /// A client ends when the server is gone; before that, nothing may be refused.
    fn report(&self, ended: Result<(), Refused>) {
        if let Err(error) = ended
            && !(self.killed.load(Ordering::SeqCst) && matches!(error, Refused::Unanswered(_)))
        {
            self.complaints.lock().unwrap().push(error.to_string());
        }
    }

    fn push_images(&self, client: &Client, who: u64, acknowledged: &Sender<Acknowledged>) -> Result<(), Refused> {
        let repository = format!("crash/{who}");
        for number in 0.. {
            let seed = self.seed.derive(who).derive(number);
            let image = Image::generate(seed, &[seed.below(3_000), seed.derive(1).below(40_000)]);
            let tag = format!("r{}-{number}", self.number);
            for tag in [tag.as_str(), "latest"] {
                self.ledger.attempt(&repository, tag, &image.digest());
                client.push_image(&repository, tag, &image)?;
                self.ledger.acknowledge(&repository, tag, &image.digest());
            }
            // The receiver is gone once the kill is decided.
            let _ = acknowledged.send(Acknowledged::Image);
        }
        Ok(())
    }

    fn upload_without_end(&self, client: &Client, acknowledged: &Sender<Acknowledged>) -> Result<(), Refused> {
        let mut upload = client.begin("crash/upload")?;
        let mut content = Content::new(self.seed, ENDLESS);
        let name = self.seed.0.to_string();
        loop {
            upload = client.append(&upload, &mut content, CHUNK)?;
            self.ledger.acknowledge_upload(&name, &upload);
            let _ = acknowledged.send(Acknowledged::Chunk);
        }
    }
}

/// Goes on with every upload from where the server says it is, and ends it.
fn continue_uploads(client: &Client, ledger: &Ledger) {
    for (name, Upload { location, offset }) in ledger.uploads() {
        let upload = client.status(&Upload { location, offset }).unwrap();
        assert!(upload.offset >= offset, "{} bytes are there, {offset} were acknowledged", upload.offset);
        let content = Content::new(Seed(name.parse().unwrap()), ENDLESS).end_at(upload.offset + 1_000);
        let rest = content.clone().skip_to(upload.offset).to_vec();
        let digest = digest(&content.to_vec());
        client.finish(&upload, &digest, &rest).unwrap();
        ledger.forget_upload(&name);
        client.pull_blob("crash/upload", &digest).unwrap();
        ledger.acknowledge_blob("crash/upload", &digest);
    }
}
