use std::time::Duration;

use roadstead_metadata::Status;
use roadstead_registry::{Error, SESSION_LIFE};
use roadstead_storage::{ErrorKind, Operation};
use roadstead_workers::{Progress, PurgeUploads, StepError, Worker};
use tokio::time::advance;

use crate::rig::{ME, REPOSITORY, Rig};

const HOUR: Duration = Duration::from_secs(3600);
const EXPIRY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

const ROWS: &str = "SELECT count(*) FROM upload";

fn worker(rig: &Rig) -> PurgeUploads {
    PurgeUploads::new(rig.registry.clone(), EXPIRY)
}

/// Steps until nothing is done; how much was.
async fn run(worker: &dyn Worker) -> u64 {
    let mut total = 0;
    loop {
        let Progress { done, more, .. } = worker.step().await.unwrap();
        total += done;
        if done == 0 || !more {
            return total;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_session_goes_with_its_bytes_after_the_expiry_and_not_before() {
    let rig = Rig::new().await;
    let session = rig.stage().await;
    advance(EXPIRY - MINUTE).await;
    assert_eq!(run(&worker(&rig)).await, 0);
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await.len()), (1, 1));
    rig.append(&session).await;

    advance(2 * MINUTE).await;
    assert_eq!(run(&worker(&rig)).await, 0, "a session in use does not expire by its age");
    advance(EXPIRY).await;
    assert_eq!(run(&worker(&rig)).await, 2);
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await), (0, vec![]));
    let status = rig.registry.upload_status(&ME, &REPOSITORY.parse().unwrap(), &session).await;
    assert!(matches!(status, Err(Error::UploadUnknown)), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_is_remembered_longer_than_its_token_lives() {
    let rig = Rig::new().await;
    let session = rig.stage().await;
    rig.registry.cancel_upload(&ME, &REPOSITORY.parse().unwrap(), &session).await.unwrap();
    advance(2 * SESSION_LIFE - MINUTE).await;
    assert_eq!(run(&worker(&rig)).await, 0);
    assert_eq!(rig.count(ROWS).await, 1);
    advance(2 * MINUTE).await;
    run(&worker(&rig)).await;
    assert_eq!(rig.count(ROWS).await, 0);
    let status = rig.registry.upload_status(&ME, &REPOSITORY.parse().unwrap(), &session).await;
    assert!(matches!(status, Err(Error::UploadUnknown)), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn an_expiry_shorter_than_tokens_live_is_raised() {
    let rig = Rig::new().await;
    rig.stage().await;
    let hasty = PurgeUploads::new(rig.registry.clone(), Duration::ZERO);
    advance(2 * SESSION_LIFE - MINUTE).await;
    assert_eq!(run(&hasty).await, 0);
    advance(2 * MINUTE).await;
    assert_eq!(run(&hasty).await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_row_goes_before_the_bytes_and_a_crash_between_is_made_good() {
    let rig = Rig::new().await;
    rig.stage().await;
    advance(EXPIRY + MINUTE).await;
    rig.faults.refuse(Operation::Delete, 1, ErrorKind::Unavailable);
    worker(&rig).step().await.unwrap();
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await.len()), (0, 1), "metadata before bytes");
    let failed = worker(&rig).step().await;
    assert!(matches!(&failed, Err(StepError::Storage { location, .. }) if location == "eu"), "{failed:?}");
    assert_eq!(run(&worker(&rig)).await, 1);
    assert_eq!(rig.objects("eu").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn bytes_stay_while_metadata_cannot_let_go_of_them() {
    let rig = Rig::new().await;
    rig.stage().await;
    advance(EXPIRY + MINUTE).await;
    rig.metadata.set_status(Status::ReadOnly("no quorum".into()));
    let failed = worker(&rig).step().await;
    assert!(matches!(failed, Err(StepError::Commit(_))), "{failed:?}");
    assert_eq!(rig.objects("eu").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn strays_go_by_the_age_of_their_session_at_every_location() {
    let rig = Rig::new().await;
    let old = rig.id_from(EXPIRY + MINUTE);
    let young = rig.id_from(EXPIRY - MINUTE);
    let random = uuid::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
    let kept = [
        format!("uploads/{}-1", young.simple()),
        format!("uploads/{}-1", random.simple()),
        "uploads/0-1".to_owned(),
        "uploads/zz-1".to_owned(),
        format!("blobs/{old}/1"),
    ];
    for location in ["eu", "us"] {
        for key in
            kept.iter().cloned().chain([format!("uploads/{}-1", old.simple()), format!("uploads/{}-2", old.simple())])
        {
            rig.put(location, &key).await;
        }
    }
    assert_eq!(run(&worker(&rig)).await, 4);
    let mut kept = kept;
    kept.sort();
    for location in ["eu", "us"] {
        assert_eq!(rig.objects(location).await, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn many_strays_go_in_bounded_steps_past_old_sessions_in_use() {
    let rig = Rig::new().await;
    // More objects of one old session in use than are looked at together, and strays after them.
    let session = rig.stage().await;
    let staged = rig.objects("eu").await.remove(0);
    let session_prefix = staged.rsplit_once('-').unwrap().0.to_owned();
    for number in 0..1100 {
        rig.put("eu", &format!("{session_prefix}-more{number}")).await;
    }
    advance(MINUTE).await;
    let stray = rig.id_from(Duration::ZERO);
    for number in 0..250 {
        rig.put("eu", &format!("uploads/{}-{number}", stray.simple())).await;
    }
    advance(EXPIRY - HOUR).await;
    rig.append(&session).await;
    advance(HOUR + MINUTE).await;
    let worker = worker(&rig);
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(worker.step().await.unwrap().done);
    }
    assert_eq!(steps, [100, 100, 50, 0]);
    assert!(rig.objects("eu").await.iter().all(|key| key.starts_with(&session_prefix)));
}

#[tokio::test(start_paused = true)]
async fn many_rows_go_in_bounded_steps() {
    let rig = Rig::new().await;
    for _ in 0..130 {
        rig.stage().await;
    }
    advance(EXPIRY + MINUTE).await;
    let worker = worker(&rig);
    assert_eq!(worker.step().await.unwrap().done, 100);
    assert_eq!(rig.count(ROWS).await, 30);
    run(&worker).await;
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_period_is_the_operators() {
    let rig = Rig::new().await;
    assert_eq!(worker(&rig).with_period(7 * MINUTE).period(), 7 * MINUTE);
}
