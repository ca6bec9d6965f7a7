use std::time::Duration;

use roadstead_metadata::Fault;
use roadstead_registry::{Error, SESSION_LIFE};
use roadstead_storage::{ErrorKind, Operation};
use roadstead_workers::{Progress, PurgeUploads, StepError, Worker};
use tokio::time::advance;

use crate::rig::{ME, REPOSITORY, Rig};

const HOUR: Duration = Duration::from_secs(3600);
const EXPIRY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

const ROWS: &str = "SELECT count(*) FROM upload";

/// A worker that has seen the clock go on steadily for its period, which is none.
async fn trusting(worker: PurgeUploads) -> PurgeUploads {
    let worker = worker.with_period(Duration::ZERO);
    assert_eq!(worker.step().await.unwrap(), Progress::default());
    worker
}

async fn worker(rig: &Rig) -> PurgeUploads {
    trusting(PurgeUploads::new(rig.registry.clone(), EXPIRY)).await
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
    assert_eq!(run(&worker(&rig).await).await, 0);
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await.len()), (1, 1));
    rig.append(&session).await;

    advance(2 * MINUTE).await;
    assert_eq!(run(&worker(&rig).await).await, 0, "a session in use does not expire by its age");
    advance(EXPIRY).await;
    assert_eq!(run(&worker(&rig).await).await, 2);
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
    assert_eq!(run(&worker(&rig).await).await, 0);
    assert_eq!(rig.count(ROWS).await, 1);
    advance(2 * MINUTE).await;
    run(&worker(&rig).await).await;
    assert_eq!(rig.count(ROWS).await, 0);
    let status = rig.registry.upload_status(&ME, &REPOSITORY.parse().unwrap(), &session).await;
    assert!(matches!(status, Err(Error::UploadUnknown)), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn an_expiry_shorter_than_tokens_live_is_raised() {
    let rig = Rig::new().await;
    rig.stage().await;
    let hasty = trusting(PurgeUploads::new(rig.registry.clone(), Duration::ZERO)).await;
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
    worker(&rig).await.step().await.unwrap();
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await.len()), (0, 1), "metadata before bytes");
    let failed = worker(&rig).await.step().await;
    assert!(matches!(&failed, Err(StepError::Storage { location, .. }) if location == "eu"), "{failed:?}");
    assert_eq!(run(&worker(&rig).await).await, 1);
    assert_eq!(rig.objects("eu").await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn bytes_stay_while_metadata_cannot_let_go_of_them() {
    let rig = Rig::new().await;
    rig.stage().await;
    advance(EXPIRY + MINUTE).await;
    rig.metadata.fail_next_commit(Fault::UnavailableBefore);
    let failed = worker(&rig).await.step().await;
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
    assert_eq!(run(&worker(&rig).await).await, 4);
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
    let worker = worker(&rig).await;
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
    let worker = worker(&rig).await;
    assert_eq!(worker.step().await.unwrap().done, 100);
    assert_eq!(rig.count(ROWS).await, 30);
    run(&worker).await;
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_period_is_the_operators() {
    let rig = Rig::new().await;
    assert_eq!(worker(&rig).await.with_period(7 * MINUTE).period(), 7 * MINUTE);
}

/// A row's age is judged by a clock that somebody may set.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_purges_nothing_before_it_went_steadily_for_a_period() {
    let rig = Rig::new().await;
    let session = rig.stage().await;
    let worker = PurgeUploads::new(rig.registry.clone(), EXPIRY).with_period(10 * MINUTE);
    for _ in 0..3 {
        assert_eq!(worker.step().await.unwrap().done, 0);
        advance(10 * MINUTE).await;
    }
    for jump in [10 * 24 * HOUR.as_millis() as i64, -20 * 24 * HOUR.as_millis() as i64] {
        rig.clock.jump(jump);
        assert_eq!(worker.step().await.unwrap().done, 0);
        advance(9 * MINUTE).await;
        assert_eq!(worker.step().await.unwrap().done, 0, "the clock was set only nine minutes ago");
        // Back before the period is over: nothing happened.
        rig.clock.jump(-jump);
        assert_eq!(worker.step().await.unwrap().done, 0);
        advance(10 * MINUTE).await;
        assert_eq!(worker.step().await.unwrap().done, 0);
    }
    assert_eq!((rig.count(ROWS).await, rig.objects("eu").await.len()), (1, 1));
    rig.append(&session).await;
    // A clock that was wrong and is right now is believed in the end.
    rig.clock.jump(10 * 24 * HOUR.as_millis() as i64);
    assert_eq!(worker.step().await.unwrap().done, 0);
    advance(10 * MINUTE).await;
    assert_eq!(run(&worker).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_being_written_to_is_not_purged_however_old() {
    let rig = Rig::new().await;
    let session = rig.stage().await;
    let (send, body) = futures::channel::mpsc::unbounded();
    let registry = rig.registry.clone();
    let patch = tokio::spawn(async move {
        let name = REPOSITORY.parse().unwrap();
        registry.append_upload(&ME, &name, &session, Default::default(), futures::StreamExt::boxed(body)).await
    });
    let fresh = rig.fresh().await;
    let (hung, body) = futures::channel::mpsc::unbounded();
    let registry = rig.registry.clone();
    let first = tokio::spawn(async move {
        let name = REPOSITORY.parse().unwrap();
        registry.append_upload(&ME, &name, &fresh, Default::default(), futures::StreamExt::boxed(body)).await
    });
    for sender in [&send, &hung] {
        sender.unbounded_send(Ok(bytes::Bytes::from_static(b"late"))).unwrap();
    }
    let worker = worker(&rig).await;
    while rig.objects("eu").await.len() < 2 {
        tokio::task::yield_now().await;
    }
    advance(EXPIRY + HOUR).await;
    assert_eq!(run(&worker).await, 0);
    drop((send, hung));
    assert_eq!(patch.await.unwrap().unwrap().received, 10);
    assert_eq!(first.await.unwrap().unwrap().received, 4);
}

#[tokio::test(start_paused = true)]
async fn an_old_part_that_the_row_of_its_session_does_not_name_goes() {
    let rig = Rig::new().await;
    let session = rig.stage().await;
    let named = rig.objects("eu").await.remove(0);
    let prefix = named.rsplit_once('-').unwrap().0;
    let left = format!("{prefix}-{}", rig.id_from(Duration::ZERO).simple());
    rig.put("eu", &left).await;
    advance(EXPIRY - MINUTE).await;
    rig.append(&session).await;
    let young = format!("{prefix}-{}", rig.id_from(Duration::ZERO).simple());
    rig.put("eu", &young).await;
    assert_eq!(run(&worker(&rig).await).await, 0);
    advance(2 * MINUTE).await;
    assert_eq!(run(&worker(&rig).await).await, 1);
    assert_eq!(rig.objects("eu").await, [named, young]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_deleted_does_not_hold_up_the_others() {
    let rig = Rig::new().await;
    let old = rig.id_from(EXPIRY + MINUTE);
    for (location, number) in [("eu", 1), ("eu", 2), ("eu", 3), ("us", 1)] {
        rig.put(location, &format!("uploads/{}-{number}", old.simple())).await;
    }
    let worker = worker(&rig).await;
    rig.faults.refuse(Operation::Delete, 1, ErrorKind::Denied);
    assert_eq!(worker.step().await.unwrap().done, 3);
    assert_eq!((rig.objects("eu").await.len(), rig.objects("us").await.len()), (1, 0));
    rig.faults.refuse(Operation::Delete, 1, ErrorKind::Denied);
    let failed = worker.step().await;
    assert!(matches!(&failed, Err(StepError::Storage { location, .. }) if location == "eu"), "{failed:?}");
}
