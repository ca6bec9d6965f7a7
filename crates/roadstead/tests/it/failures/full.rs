//! No space, or no files, left: for blobs, for metadata, for both on one disk.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use roadstead_testkit::{Image, Refused, Seed};

use super::{Needs, Push, Stand, fill, inside, tmpfs};

#[test]
fn blobs() {
    inside("full::blobs", Needs::Tmpfs, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        tmpfs("size=160m", &blobs);
        fs::create_dir(&metadata).unwrap();
        let stand = Stand::start(&blobs.join("blobs"), &metadata);
        let filler = fill(&blobs, 0);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 507);
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 507);
        // It needs no room for bytes.
        stand.assert_writes(&[Push::Manifest, Push::Delete]);
        stand.assert_pulls();
        fs::remove_file(filler).unwrap();
        stand.assert_recovers();
    });
}

#[test]
fn files() {
    inside("full::files", Needs::Tmpfs, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        tmpfs("size=160m,nr_inodes=60", &blobs);
        fs::create_dir(&metadata).unwrap();
        let stand = Stand::start(&blobs.join("blobs"), &metadata);
        let fillers = blobs.join("fillers");
        fs::create_dir(&fillers).unwrap();
        (0..60).take_while(|n| fs::write(fillers.join(n.to_string()), "").is_ok()).count();
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 507);
        stand.assert_pulls();
        fs::remove_dir_all(fillers).unwrap();
        stand.assert_recovers();
    });
}

#[test]
fn metadata() {
    inside("full::metadata", Needs::Tmpfs, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        tmpfs("size=200m", &metadata);
        let stand = Stand::start(&blobs, &metadata.join("metadata"));
        let filler = fill(&metadata, 0);
        stand.assert_refused(&[Push::Manifest], 503);
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_refused(&[Push::Blob, Push::Chunk, Push::Manifest, Push::Delete], 503);
        stand.assert_pulls();
        fs::remove_file(filler).unwrap();
        stand.assert_recovers();
    });
}

/// Clients push until the disk is full, in the midst of blobs and of commits.
#[test]
fn both_while_clients_push() {
    inside("full::both_while_clients_push", Needs::Tmpfs, |root| {
        let disk = root.join("d");
        tmpfs("size=320m", &disk);
        let stand = Stand::start(&disk.join("blobs"), &disk.join("metadata"));
        let filler = fill(&disk, 180 << 20);
        let (images, refusals) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for who in 0..4 {
                let (stand, images, refusals) = (Pushed::of(&stand), &images, &refusals);
                scope.spawn(move || refusals.lock().unwrap().push(stand.until_refused(who, images)));
            }
        });
        let refusals = refusals.into_inner().unwrap();
        assert!(refusals.iter().all(|status| matches!(status, 503 | 507)), "{refusals:?}");
        stand.assert_pulls();
        // What failed has given its space back; somebody else takes it.
        let first = disk.join("first");
        fs::rename(&filler, &first).unwrap();
        fill(&disk, 0);
        assert_eq!(stand.until("read-only"), 200);
        // The blobs may be noticed first, and are answered 507.
        stand.until_read_only("metadata");
        stand.assert_refused(&[Push::Blob, Push::Chunk, Push::Manifest, Push::Delete], 503);
        stand.assert_pulls();
        println!("failures: full::both: {} images acknowledged and pulled, then {refusals:?}", images.into_inner());
        fs::remove_file(filler).unwrap();
        fs::remove_file(first).unwrap();
        stand.assert_recovers();
        stand.restart(|| ());
    });
}

/// What the threads of a test share.
struct Pushed<'a> {
    addr: std::net::SocketAddr,
    ledger: &'a roadstead_testkit::Ledger,
}

impl<'a> Pushed<'a> {
    fn of(stand: &'a Stand) -> Self {
        Self { addr: stand.server.addr(), ledger: &stand.ledger }
    }

    fn until_refused(&self, who: u64, images: &AtomicUsize) -> u16 {
        let client = roadstead_testkit::Client::new(self.addr);
        let repository = format!("failures/{who}");
        for number in 0..1_000 {
            let image = Image::generate(Seed(1_000 * who + number), &[2 << 20, 100_000]);
            let tag = format!("t{number}");
            self.ledger.attempt(&repository, &tag, &image.digest());
            match client.push_image(&repository, &tag, &image) {
                Ok(()) => self.ledger.acknowledge(&repository, &tag, &image.digest()),
                Err(Refused::Answer { response, .. }) => return response.status,
                Err(other) => panic!("{other}"),
            }
            images.fetch_add(1, Ordering::Relaxed);
        }
        panic!("the disk does not fill");
    }
}

#[test]
fn start_on_a_full_disk() {
    inside("full::start_on_a_full_disk", Needs::Tmpfs, |root| {
        let disk: &Path = &root.join("d");
        tmpfs("size=320m", disk);
        let stand = Stand::start(&disk.join("blobs"), &disk.join("metadata"));
        let filler = fill(disk, 0);
        let Stand { server, ledger, .. } = stand;
        let server = server.restart();
        assert_eq!(ledger.verify_all(&server.client()), Vec::<String>::new());
        fs::remove_file(filler).unwrap();
    });
}
