//! Filesystems that are remounted read-only, and such as turn read-only themselves for an error of their disk.

use std::fs;

use super::{Needs, Push, Stand, ext4, inside, mount_image, run, tmpfs, umount};

#[test]
fn blobs() {
    inside("read_only::blobs", Needs::Tmpfs, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        tmpfs("size=160m", &blobs);
        fs::create_dir(&metadata).unwrap();
        let stand = Stand::start(&blobs.join("blobs"), &metadata);
        run(&["mount", "-o", "remount,ro"], &blobs);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        assert_eq!(stand.until("read-only"), 200);
        let metrics = stand.client().call("GET", "/metrics").unwrap().body;
        let condition = "roadstead_component_condition{component=\"storage default\",condition=\"read-only\"} 1";
        assert!(String::from_utf8_lossy(&metrics).contains(condition));
        stand.assert_writes(&[Push::Manifest, Push::Delete]);
        stand.assert_pulls();
        run(&["mount", "-o", "remount,rw"], &blobs);
        stand.assert_recovers();
    });
}

#[test]
fn for_an_error_of_the_disk() {
    inside("read_only::for_an_error_of_the_disk", Needs::Root, |root| {
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        ext4(160, &blobs);
        ext4(200, &metadata);
        let stand = Stand::start(&blobs.join("blobs"), &metadata.join("metadata"));
        run(&["mount", "-o", "remount,abort"], &blobs);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_pulls();
        run(&["mount", "-o", "remount,abort"], &metadata);
        stand.assert_refused(&[Push::Manifest, Push::Delete, Push::Blob], 503);
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_pulls();
        let stand = stand.restart(|| {
            for directory in [&blobs, &metadata] {
                umount(directory);
                mount_image(directory);
            }
        });
        drop(stand);
        umount(&blobs);
        umount(&metadata);
    });
}
