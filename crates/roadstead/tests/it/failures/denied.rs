//! Permissions that are taken away from a server that is not root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::stand::launch;
use super::{Needs, Push, Stand, inside, run};

const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

fn mode(bits: u32, path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
}

#[test]
fn blobs_and_metadata() {
    inside("denied::blobs_and_metadata", Needs::Root, |root| {
        mode(0o755, root);
        let (blobs, metadata) = (root.join("b"), root.join("m"));
        for directory in [&blobs, &metadata] {
            fs::create_dir(directory).unwrap();
            run(&["chown", "65534:65534"], directory);
        }
        let stand = Stand::launch(launch(&blobs, &metadata).under(&NOBODY));

        run(&["chown", "-R", "0:0"], &blobs);
        // What is written is the server's own alone; here it may be read on.
        run(&["chmod", "-R", "a+rX"], &blobs);
        stand.assert_refused(&[Push::Blob, Push::Chunk], 503);
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_pulls();
        mode(0, &blobs);
        assert_eq!(stand.until("unhealthy"), 503);
        mode(0o755, &blobs);
        run(&["chown", "-R", "65534:65534"], &blobs);
        stand.assert_recovers();

        mode(0, &metadata);
        stand.assert_refused(&[Push::Manifest], 503);
        assert_eq!(stand.until("read-only"), 200);
        stand.assert_refused(&[Push::Blob, Push::Chunk, Push::Delete], 503);
        stand.assert_pulls();
        mode(0o700, &metadata);
        stand.assert_recovers();
        run(&["chown", "-R", "0:0"], &metadata.join("raft"));
        run(&["chmod", "-R", "a+rX"], &metadata.join("raft"));
        stand.assert_refused(&[Push::Manifest], 503);
        assert_eq!(stand.until("read-only"), 200);
        run(&["chown", "-R", "65534:65534"], &metadata.join("raft"));
        stand.assert_recovers();
    });
}
