// Puts into a store what only a crash would leave there.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead_storage::{Filesystem, Memory, Metered, Operation, Outcome, Recorder};
use roadstead_workers::{StepError, SweepTemporary, Worker};

use crate::rig::Rig;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A temporary file of a store, as old as given.
fn leave(root: &Path, name: &str, age: Duration) {
    std::fs::create_dir_all(root.join("tmp")).unwrap();
    let file = std::fs::File::create_new(root.join("tmp").join(name)).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
}

#[derive(Debug)]
struct Nobody;

impl Recorder for Nobody {
    fn record(&self, _: Operation, _: Outcome, _: u64, _: Duration) {}
}

#[tokio::test]
async fn temporary_files_go_after_a_day_through_decorators_too() {
    let root = tempfile::tempdir().unwrap();
    let engine = Metered::new(Filesystem::open(root.path()).unwrap(), Arc::new(Nobody));
    let rig = Rig::over(Arc::new(Memory::new()), Arc::new(engine)).await;
    leave(root.path(), "crashed", DAY + Duration::from_secs(60));
    leave(root.path(), "in-use", DAY / 2);
    let worker = SweepTemporary::new(rig.registry.clone());
    assert_eq!(worker.step().await.unwrap().done, 1);
    assert!(!root.path().join("tmp/crashed").exists() && root.path().join("tmp/in-use").exists());
    assert_eq!(worker.step().await.unwrap().done, 0);
}

#[tokio::test]
async fn a_location_that_cannot_be_swept_is_named_after_the_others_were() {
    let (broken, sound) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engines = [&broken, &sound].map(|root| Arc::new(Filesystem::open(root.path()).unwrap()));
    let [eu, us] = engines;
    let rig = Rig::over(eu, us).await;
    leave(sound.path(), "crashed", 2 * DAY);
    // A link to itself where the directory of temporary files should be.
    let _ = std::fs::remove_dir(broken.path().join("tmp"));
    std::os::unix::fs::symlink("tmp", broken.path().join("tmp")).unwrap();
    let failed = SweepTemporary::new(rig.registry.clone()).step().await;
    assert!(matches!(&failed, Err(StepError::Storage { location, .. }) if location == "eu"), "{failed:?}");
    assert!(!sound.path().join("tmp/crashed").exists());
}
