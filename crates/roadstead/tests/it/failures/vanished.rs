//! Directories that are moved away or unmounted, what stands in their place meanwhile, and their return.

use std::fs;
use std::path::Path;

use super::stand::{entries, refusal};
use super::{Needs, Push, Stand, ext4, inside, mount_image, run, tmpfs};

const ALL: [Push; 4] = [Push::Blob, Push::Chunk, Push::Manifest, Push::Delete];

#[test]
fn blobs() {
    inside("vanished::blobs", Needs::Tmpfs, |root| {
        let (blobs, away, metadata) = (root.join("blobs"), root.join("away"), root.join("m"));
        fs::create_dir(&metadata).unwrap();
        let stand = Stand::start(&blobs, &metadata);
        fs::rename(&blobs, &away).unwrap();
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        // This instance cannot pull, and another might.
        assert_eq!(stand.until("unhealthy"), 503);
        stand.assert_writes(&[Push::Manifest, Push::Delete]);
        fs::create_dir(&blobs).unwrap();
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        assert_eq!(stand.health().0, 503);
        assert!(entries(&blobs).is_empty(), "something was written to a directory that is not ours");
        fs::remove_dir(&blobs).unwrap();
        fs::rename(&away, &blobs).unwrap();
        stand.assert_recovers();
    });
}

#[test]
fn blobs_mounted_again() {
    inside("vanished::blobs_mounted_again", Needs::Root, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        ext4(160, &blobs);
        fs::create_dir(&metadata).unwrap();
        let stand = Stand::start(&blobs, &metadata);
        run(&["umount", "--lazy"], &blobs);
        assert_eq!(stand.until("unhealthy"), 503);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        // Another device number, as after the disk was attached again.
        let spare = root.join("spare");
        ext4(1, &spare);
        mount_image(&blobs);
        stand.assert_recovers();
        assert_eq!(entries(&spare).len(), 1, "lost+found");
        drop(stand);
        super::umount(&blobs);
        super::umount(&spare);
    });
}

#[test]
fn metadata() {
    inside("vanished::metadata", Needs::Tmpfs, |root| {
        let disk = root.join("d");
        tmpfs("size=400m", &disk);
        let (blobs, metadata, away) = (disk.join("blobs"), disk.join("metadata"), disk.join("away"));
        let stand = Stand::start(&blobs, &metadata);
        fs::rename(&metadata, &away).unwrap();
        stand.assert_refused(&[Push::Manifest], 503);
        assert_eq!(stand.until("read-only"), 200);
        fs::create_dir(&metadata).unwrap();
        stand.assert_refused(&ALL, 503);
        stand.assert_pulls();
        assert!(entries(&metadata).is_empty(), "something was written to a directory that is not ours");
        fs::remove_dir(&metadata).unwrap();
        fs::rename(&away, &metadata).unwrap();
        stand.assert_recovers();
        let stand = stand.restart(|| ());
        drop(stand);

        // What an unmounted filesystem leaves is not taken for a new installation.
        fs::rename(&metadata, &away).unwrap();
        fs::create_dir(&metadata).unwrap();
        let (code, output) = refusal(&blobs, &metadata);
        assert_eq!(code, Some(3), "{output}");
        assert!(output.contains("is the filesystem of the metadata mounted?"), "{output}");
        assert!(entries(&metadata).is_empty(), "something was written to a directory that is not ours");
    });
}

#[test]
fn metadata_restored_under_a_running_server() {
    inside("vanished::metadata_restored_under_a_running_server", Needs::Root, |root| {
        let (blobs, disk) = (root.join("b"), root.join("d"));
        ext4(700, &disk);
        let (metadata, backup) = (disk.join("metadata"), disk.join("backup"));
        let stand = Stand::start(&blobs, &metadata);
        copy(&metadata, &backup);
        // Emptied and filled again: its inode number is the one it was, as it may also be when the directory itself
        // was removed and made anew.
        for entry in entries(&metadata) {
            if entry.is_dir() { fs::remove_dir_all(entry).unwrap() } else { fs::remove_file(entry).unwrap() }
        }
        copy(&backup, &metadata);
        stand.assert_refused(&ALL, 503);
        stand.assert_pulls();
        assert_eq!(stand.until("read-only"), 200);
        let lock = metadata.join("lock");
        assert_eq!(fs::read(&lock).unwrap(), fs::read(backup.join("lock")).unwrap());
        // The copy is a crash's leaving, and the stop does not vouch for it.
        let stand = stand.restart(|| assert!(!metadata.join("clean-stop.json").exists()));
        drop(stand);
        super::umount(&disk);
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    run(&["cp", "-a", &format!("{}/.", from.display())], to);
}
