#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn stand(root: &Path) -> Footing {
    let directory = root.join("metadata");
    fs::create_dir_all(directory.join("logs")).unwrap();
    fs::write(directory.join("lock"), "123\n").unwrap();
    let pulse = File::options().write(true).open(directory.join("lock")).unwrap();
    Footing::new(&directory, vec![directory.join("logs")], pulse, b"123\n".to_vec()).unwrap()
}

#[test]
fn a_directory_that_is_moved_away_is_missed_until_it_is_back() {
    let root = tempfile::tempdir().unwrap();
    let footing = stand(root.path());
    footing.try_writing().unwrap();
    let (here, away) = (root.path().join("metadata"), root.path().join("away"));
    fs::rename(&here, &away).unwrap();
    assert!(footing.try_writing().unwrap_err().contains("unmounted, moved"));
    // What an unmounted filesystem leaves.
    fs::create_dir_all(here.join("logs")).unwrap();
    assert!(footing.try_writing().unwrap_err().contains("unmounted, moved"));
    fs::remove_dir_all(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    footing.try_writing().unwrap();
    assert_eq!(fs::read(here.join("lock")).unwrap(), b"123\n");
}

#[test]
fn lost_permissions_are_noticed() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; the tests of the binary run as somebody else.
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let footing = stand(root.path());
    let logs = root.path().join("metadata/logs");
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o500)).unwrap();
    assert!(footing.look().unwrap_err().contains("permissions"));
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o700)).unwrap();
    footing.look().unwrap();
}

#[test]
fn a_write_that_is_refused_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let footing = stand(root.path());
    // As a filesystem that turned read-only does, for the files that are open.
    let refusing = File::open(root.path().join("metadata/lock")).unwrap();
    let footing = Footing { pulse: refusing, ..footing };
    footing.look().unwrap();
    assert!(footing.try_writing().unwrap_err().contains("cannot write"));
}
