//! Folders that take no files. Root may write everywhere, so these run as somebody else.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::*;
use crate::identity::IDENTITY_KEY;

const NOBODY: u32 = 65534;

/// Runs the test of this name as nobody, when root runs it; whether that was done.
fn was_run_as_nobody(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--exact").arg(format!("filesystem::tests::denied::{test}")).uid(NOBODY).gid(NOBODY);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    true
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn each_folder_that_refuses_is_remembered_until_it_takes_files() {
    if was_run_as_nobody("each_folder_that_refuses_is_remembered_until_it_takes_files") {
        return;
    }
    let scratch = Scratch::new();
    let engine = scratch.open();
    engine.put_small(&key(IDENTITY_KEY), Bytes::from_static(b"{}"), true).await.unwrap();
    let folders = ["blobs/ab", "uploads/cd"].map(|folder| scratch.path(folder));
    for folder in &folders {
        fs::create_dir_all(folder).unwrap();
        permit(folder, 0o555);
    }
    engine.probe().await.unwrap();
    assert_eq!(write(&engine, "blobs/ab/object", "bytes").await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(engine.append(&key("uploads/cd/0/0"), 0).await.err().unwrap().kind(), ErrorKind::Denied);
    for folder in &folders {
        // However often it is asked, and although files can be made elsewhere.
        for _ in 0..2 {
            let error = engine.probe().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
            assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
            write(&engine, "blobs/other", "bytes").await.unwrap();
            engine.delete(&key("blobs/other")).await.unwrap();
        }
        permit(folder, 0o755);
    }
    engine.probe().await.unwrap();
    assert!(engine.store.refused.lock().is_empty());
}

/// Whatever else runs on this machine: private repositories are not read past the registry.
#[tokio::test]
async fn what_is_stored_is_nobody_elses() {
    let scratch = Scratch::new();
    let root = scratch.path("above/store");
    let engine = Filesystem::open(&root).unwrap();
    write(&engine, "blobs/a/b", "1").await.unwrap();
    let extend = engine.extend().unwrap();
    let staged = extend.append(&key("staged/c"), 0).await.unwrap();
    drop(staged);
    let mut seen = 0;
    let mut left = vec![scratch.path("above")];
    while let Some(path) = left.pop() {
        let metadata = fs::metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", path.display());
        seen += 1;
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen >= 8, "{seen}");
}
