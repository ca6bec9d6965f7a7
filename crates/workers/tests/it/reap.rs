use std::time::Duration;

use roadstead_metadata::records::reap;
use roadstead_storage::{ErrorKind, Operation};
use roadstead_workers::{Reaper, StepError, Worker};
use tokio::time::advance;
use uuid::Uuid;

use crate::rig::Rig;

const MINUTE: Duration = Duration::from_secs(60);
const ROWS: &str = "SELECT count(*) FROM reap";

/// Puts an object and hands it to the reaper.
async fn doom(rig: &Rig, location: &str, key: &str, wait: Duration) {
    rig.put(location, key).await;
    let at = rig.registry.clock().now() + wait.as_millis() as i64;
    rig.commit([reap::add(rig.location(location).id, key, at)]).await;
}

fn worker(rig: &Rig) -> Reaper {
    Reaper::new(rig.registry.clone())
}

#[tokio::test(start_paused = true)]
async fn objects_go_when_they_are_due_and_no_others() {
    let rig = Rig::new().await;
    rig.put("eu", "blobs/kept").await;
    doom(&rig, "eu", "blobs/now", Duration::ZERO).await;
    doom(&rig, "us", "blobs/there", Duration::ZERO).await;
    doom(&rig, "eu", "blobs/later", MINUTE).await;
    let progress = worker(&rig).step().await.unwrap();
    assert_eq!((progress.done, progress.backlog), (2, Some(1)));
    assert_eq!(rig.objects("eu").await, ["blobs/kept", "blobs/later"]);
    assert_eq!(rig.objects("us").await, Vec::<String>::new());
    advance(MINUTE).await;
    assert_eq!(worker(&rig).step().await.unwrap().done, 1);
    assert_eq!((rig.objects("eu").await, rig.count(ROWS).await), (vec!["blobs/kept".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_already_is_done() {
    let rig = Rig::new().await;
    doom(&rig, "eu", "blobs/gone", Duration::ZERO).await;
    rig.location("eu").engine.delete(&crate::rig::key_of("blobs/gone")).await.unwrap();
    assert_eq!(worker(&rig).step().await.unwrap().done, 1);
    assert_eq!(rig.count(ROWS).await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_row_stays_until_the_object_is_gone_with_growing_pauses() {
    let rig = Rig::new().await;
    doom(&rig, "eu", "blobs/stuck", Duration::ZERO).await;
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        rig.faults.refuse(Operation::Delete, 1, ErrorKind::Unavailable);
        let failed = worker(&rig).step().await;
        assert!(matches!(&failed, Err(StepError::Storage { location, .. }) if location == "eu"), "{failed:?}");
        assert_eq!(rig.count(ROWS).await, 1);
        advance(minutes * MINUTE - Duration::from_millis(1)).await;
        assert_eq!(worker(&rig).step().await.unwrap().done, 0, "tried before {minutes} minutes were over");
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(worker(&rig).step().await.unwrap().done, 1);
    assert_eq!((rig.objects("eu").await, rig.count(ROWS).await), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_location_that_is_away_does_not_hold_up_another() {
    let rig = Rig::new().await;
    for number in 0..60 {
        doom(&rig, "eu", &format!("blobs/{number}"), Duration::ZERO).await;
        doom(&rig, "us", &format!("blobs/{number}"), Duration::ZERO).await;
    }
    let worker = worker(&rig);
    rig.faults.refuse(Operation::Delete, 1, ErrorKind::Unavailable);
    rig.faults.refuse(Operation::Delete, 2, ErrorKind::Unavailable);
    rig.faults.refuse(Operation::Delete, 3, ErrorKind::Unavailable);
    assert_eq!(worker.step().await.unwrap().done, 50);
    assert_eq!(worker.step().await.unwrap().done, 10);
    assert_eq!(rig.objects("us").await, Vec::<String>::new());
    assert!(worker.step().await.is_err(), "nothing else is left, so the trouble is told");
    assert_eq!(rig.objects("eu").await.len(), 60, "one attempt a step while the store is away");
    assert_eq!(worker.step().await.unwrap().done, 50);
}

#[tokio::test(start_paused = true)]
async fn one_bad_object_does_not_hold_up_the_others() {
    let rig = Rig::new().await;
    for number in 0..3 {
        doom(&rig, "eu", &format!("blobs/{number}"), Duration::ZERO).await;
    }
    rig.commit([reap::add(rig.location("eu").id, "not//a key", 0)]).await;
    rig.faults.refuse(Operation::Delete, 1, ErrorKind::Denied);
    assert_eq!(worker(&rig).step().await.unwrap().done, 2);
    assert_eq!((rig.objects("eu").await.len(), rig.count(ROWS).await), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_location_configured_elsewhere_wait() {
    let rig = Rig::new().await;
    let elsewhere = Uuid::from_u128(99);
    let known = roadstead_metadata::records::location::LocationRecord {
        id: elsewhere,
        name: "elsewhere".to_owned(),
        replica: 3,
    };
    rig.commit([roadstead_metadata::records::location::add(&known, 0)]).await;
    for number in 0..60 {
        rig.commit([reap::add(elsewhere, &format!("blobs/{number}"), 0)]).await;
    }
    doom(&rig, "eu", "blobs/mine", Duration::ZERO).await;
    let progress = worker(&rig).step().await.unwrap();
    assert_eq!((progress.done, progress.backlog), (1, Some(60)));
    assert_eq!(rig.count("SELECT count(*) FROM reap WHERE attempts = 0").await, 60);
}
