#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::os::unix::fs::PermissionsExt;

use super::*;

fn stand(root: &Path) -> Footing {
    let directory = root.join("metadata");
    fs::create_dir_all(directory.join("logs")).unwrap();
    let (lock, database) = (directory.join("lock"), directory.join("metadata.db"));
    fs::write(&lock, "123\n").unwrap();
    fs::write(&database, "pages").unwrap();
    let pulse = Pulse { file: pulse(&lock), path: lock, bytes: b"123\n".to_vec() };
    Footing::new(&directory, vec![directory.join("logs")], database, pulse).unwrap()
}

fn pulse(lock: &Path) -> File {
    File::options().write(true).open(lock).unwrap()
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

#[tokio::test]
async fn a_trier_writes_only_when_told_to() {
    let root = tempfile::tempdir().unwrap();
    let footing = stand(root.path());
    let refusing = File::open(root.path().join("metadata/lock")).unwrap();
    let footing = Footing { pulse: Pulse { file: refusing, ..footing.pulse }, ..footing };
    let trier = Trier::start(Arc::new(footing)).unwrap();
    assert!(trier.try_writing().await.unwrap_err().contains("cannot write"));
    trier.find().await.unwrap();
    fs::rename(root.path().join("metadata"), root.path().join("away")).unwrap();
    assert!(trier.find().await.unwrap_err().contains("unmounted, moved"));
}

/// As `rm -rf metadata; mkdir metadata; cp -a backup/. metadata/` leaves it where inode numbers are used again: the
/// directories are those they were, and only the files that are open are others.
#[test]
fn a_copy_in_the_place_of_open_files_is_not_written_to() {
    for name in ["lock", "metadata.db"] {
        let root = tempfile::tempdir().unwrap();
        let footing = stand(root.path());
        let file = root.path().join("metadata").join(name);
        // Held, as a database is, so that its number is not used again.
        let _open = File::open(&file).unwrap();
        let content = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(footing.try_writing().unwrap_err().contains("restored?"), "{name} has no name");
        fs::write(&file, &content).unwrap();
        assert!(footing.try_writing().unwrap_err().contains("restored?"), "{name} is another file");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[test]
fn a_folder_that_was_replaced_is_missed() {
    let root = tempfile::tempdir().unwrap();
    let footing = stand(root.path());
    let logs = root.path().join("metadata/logs");
    fs::rename(&logs, root.path().join("away")).unwrap();
    fs::create_dir(&logs).unwrap();
    assert!(footing.look().unwrap_err().contains("restored?"));
    fs::remove_dir(&logs).unwrap();
    fs::rename(root.path().join("away"), &logs).unwrap();
    footing.look().unwrap();
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
    let footing = Footing { pulse: Pulse { file: refusing, ..footing.pulse }, ..footing };
    footing.look().unwrap();
    assert!(footing.try_writing().unwrap_err().contains("cannot write"));
}
