//! A disk that does not answer: frozen, as by a snapshot of its volume or by a controller that resets.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use roadstead_testkit::{Client, Content, Refused, Seed};

use super::{Needs, Push, Stand, ext4, inside, run, umount};

/// More than there are threads that write.
const CLIENTS: u64 = 300;

/// A frozen filesystem, thawed at the latest when dropped: what waits for one cannot even be killed.
struct Frozen<'a>(Option<&'a Path>);

impl<'a> Frozen<'a> {
    fn freeze(directory: &'a Path) -> Self {
        run(&["fsfreeze", "--freeze"], directory);
        Self(Some(directory))
    }

    fn thaw(mut self) {
        self.0.take().into_iter().for_each(|directory| run(&["fsfreeze", "--unfreeze"], directory));
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Some(directory) = self.0.take() {
            let _ = std::process::Command::new("fsfreeze").arg("--unfreeze").arg(directory).status();
        }
    }
}

#[test]
fn blobs() {
    inside("hanging::blobs", Needs::Root, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        ext4(400, &blobs);
        std::fs::create_dir(&metadata).unwrap();
        let stand = Stand::start(&blobs.join("blobs"), &metadata);
        let (addr, frozen, since) = (stand.server.addr(), Frozen::freeze(&blobs), Instant::now());
        let push =
            move |number| Client::new(addr).push_blob("failures/frozen", &Content::new(Seed(number), 6_000).to_vec());
        let pushes: Vec<_> = (1_000..1_000 + CLIENTS).map(|number| thread::spawn(move || push(number))).collect();
        while since.elapsed() < Duration::from_secs(4) {
            assert_eq!(stand.health(), (200, "healthy".to_owned()), "a disk may be slow for a while");
            stand.assert_pulls();
            stand.assert_writes(&[Push::Manifest, Push::Delete]);
        }
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        stand.assert_pulls();
        frozen.thaw();
        let pushed: Vec<String> = pushes.into_iter().map(|push| push.join().unwrap().unwrap()).collect();
        println!("failures: hanging::blobs: {} pushes waited {:.1} s", pushed.len(), since.elapsed().as_secs_f32());
        pushed.iter().for_each(|digest| stand.ledger.acknowledge_blob("failures/frozen", digest));
        stand.assert_recovers();
        drop(stand);
        umount(&blobs);
    });
}

/// As docker pushes, which waits where files are made and not where they are written.
#[test]
fn blobs_pushed_in_streams() {
    inside("hanging::blobs_pushed_in_streams", Needs::Root, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        ext4(160, &blobs);
        std::fs::create_dir(&metadata).unwrap();
        let stand = Stand::start(&blobs.join("blobs"), &metadata);
        let (client, content) = (stand.client(), Content::new(Seed(900), 6_000).to_vec());
        let upload = client.begin("failures/frozen").unwrap();
        let upload = client.append(&upload, &mut &content[..], 6_000).unwrap();
        let (addr, frozen) = (stand.server.addr(), Frozen::freeze(&blobs));
        let push = move |number| {
            Client::new(addr).push_streamed("failures/frozen", &Content::new(Seed(number), 6_000).to_vec())
        };
        let pushes: Vec<_> = (1_000..1_008).map(|number| thread::spawn(move || push(number))).collect();
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        // What was begun before ends well, although nothing new may begin.
        let finish = thread::spawn(move || {
            let digest = roadstead_testkit::digest(&content);
            Client::new(addr).finish(&upload, &digest, &[]).map(|()| digest)
        });
        stand.assert_pulls();
        thread::sleep(Duration::from_millis(300));
        assert!(!finish.is_finished(), "it was answered although the disk hangs");
        frozen.thaw();
        for push in pushes.into_iter().chain([finish]) {
            stand.ledger.acknowledge_blob("failures/frozen", &push.join().unwrap().unwrap());
        }
        stand.assert_recovers();
        drop(stand);
        umount(&blobs);
    });
}

#[test]
fn metadata() {
    inside("hanging::metadata", Needs::Root, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        ext4(300, &metadata);
        std::fs::create_dir(&blobs).unwrap();
        let stand = Stand::start(&blobs, &metadata.join("metadata"));
        let (addr, frozen, since) = (stand.server.addr(), Frozen::freeze(&metadata), Instant::now());
        let push =
            move |number| Client::new(addr).push_blob("failures/frozen", &Content::new(Seed(number), 6_000).to_vec());
        let pushes: Vec<_> = (1_000..1_020).map(|number| thread::spawn(move || push(number))).collect();
        while since.elapsed() < Duration::from_secs(4) {
            assert_eq!(stand.health(), (200, "healthy".to_owned()), "a disk may be slow for a while");
            stand.assert_pulls();
        }
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_refused(&[Push::Blob, Push::Chunk, Push::Manifest, Push::Delete], 503);
        stand.assert_pulls();
        frozen.thaw();
        for push in pushes {
            match push.join().unwrap() {
                Ok(digest) => stand.ledger.acknowledge_blob("failures/frozen", &digest),
                Err(Refused::Answer { response, .. }) => assert_eq!(response.status, 503),
                Err(other) => panic!("{other}"),
            }
        }
        stand.assert_recovers();
        let stand = stand.restart(|| ());
        drop(stand);
        umount(&metadata);
    });
}
