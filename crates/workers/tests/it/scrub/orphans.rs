//! Objects that nothing names: a push may be about to.

use roadstead_metadata::records::placement::{self, Placement};
use roadstead_metadata::records::{blob, repository};
use roadstead_metadata::{Batch, CommitError, Sql};
use roadstead_storage::Operation;
use tokio::time::advance;

use super::*;

/// The object of a push that has not committed yet.
pub(super) async fn publish(rig: &Claimed, bytes: &[u8], number: u32) -> Placement {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let object_key = format!("blobs/sha256/{}/{}-{number:08}", &digest.hex()[..2], digest.hex());
    rig.overwrite(&object_key, bytes).await;
    Placement { digest, location: rig.location("eu").id, object_key, size: bytes.len() as u64 }
}

/// The end of that push, as the registry commits it.
pub(super) async fn acknowledge(rig: &Claimed, placement: &Placement) -> Result<(), CommitError> {
    let repository = repository::find(&*rig.metadata, roadstead_metadata::Freshness::Latest, REPOSITORY).await.unwrap();
    let mut batch = Batch::new(Uuid::now_v7(), rig.registry.clock().now());
    let at = batch.at;
    batch.push(blob::arrive(&placement.digest, placement.size, at)).extend(placement::put(placement, at));
    batch.push(blob::link(repository.unwrap(), &placement.digest));
    rig.metadata.commit(batch).await.map(drop)
}

/// Lets the clock be seen to go steadily.
pub(super) async fn settle(rig: &Claimed) {
    rig.rest().await;
    advance(Duration::from_secs(11 * 60)).await;
    rig.rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_goes_a_grace_after_it_was_first_seen() {
    for rig in Claimed::both().await {
        settle(&rig).await;
        let named = rig.push(b"named").await;
        publish(&rig, b"nobody's", 1).await;
        rig.overwrite("blobs/of-another-kind", b"x").await;
        rig.overwrite("uploads/not-a-blob", b"x").await;
        // However long it has been there: what counts is since when it is known.
        advance(10 * GRACE).await;
        rig.run(false).await.unwrap();
        rig.rest().await;
        rig.reap().await;
        assert_eq!(rig.blobs().await.len(), 3, "young");
        assert_eq!(rig.damaged().await, [], "an orphan is no damage");
        advance(GRACE - HOUR).await;
        rig.run(false).await.unwrap();
        rig.rest().await;
        assert_eq!(rig.count("SELECT count(*) FROM reap").await, 0, "within the grace");
        advance(2 * HOUR).await;
        rig.rest().await;
        rig.reap().await;
        assert_eq!(rig.blobs().await.len(), 2, "what is no blob is not ours to delete");
        assert_eq!(rig.objects("eu").await.len(), 4, "and what the purge of uploads looks after");
        assert_eq!(rig.pull(&named).await.unwrap(), b"named");
        advance(GRACE + HOUR).await;
        rig.rest().await;
        assert_eq!(rig.count("SELECT count(*) FROM damage WHERE kind = 5").await, 0, "forgotten after a day");
        assert_eq!(rig.count("SELECT count(*) FROM damage").await, 1, "and still told of");
        rig.run(false).await.unwrap();
        assert_eq!(rig.count("SELECT count(*) FROM damage").await, 1, "as long as it is there");
        rig.remove("blobs/of-another-kind").await;
        rig.run(false).await.unwrap();
        assert_eq!(rig.count("SELECT count(*) FROM damage").await, 0, "and no longer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_that_commits_keeps_its_object_however_old() {
    let rig = Claimed::new().await;
    settle(&rig).await;
    rig.push(b"first").await;
    let slow = publish(&rig, b"slow", 1).await;
    rig.run(false).await.unwrap();
    advance(GRACE + HOUR).await;
    acknowledge(&rig, &slow).await.unwrap();
    rig.rest().await;
    rig.reap().await;
    assert_eq!(rig.pull(&slow.digest).await.unwrap(), b"slow");
    assert_eq!(rig.count("SELECT count(*) FROM damage").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_comes_too_late_is_refused_and_never_loses() {
    let rig = Claimed::new().await;
    settle(&rig).await;
    rig.push(b"first").await;
    let late = publish(&rig, b"late", 1).await;
    rig.run(false).await.unwrap();
    advance(GRACE + HOUR).await;
    rig.rest().await;
    assert_eq!(rig.count("SELECT count(*) FROM reap").await, 1);
    assert!(matches!(acknowledge(&rig, &late).await, Err(CommitError::Conflict(_))), "it waits for the reaper");
    rig.reap().await;
    assert!(matches!(acknowledge(&rig, &late).await, Err(CommitError::Conflict(_))), "and it is gone");
    rig.push(b"late").await;
    assert_eq!(rig.pull(&late.digest).await.unwrap(), b"late");
}

#[tokio::test(start_paused = true)]
async fn no_orphan_goes_from_a_store_that_is_anothers() {
    let rig = Claimed::new().await;
    settle(&rig).await;
    publish(&rig, b"theirs", 1).await;
    rig.run(false).await.unwrap();
    rig.remove("roadstead.json").await;
    let other = Identity::new(Uuid::from_u128(9), Uuid::from_u128(77));
    rig.overwrite("roadstead.json", &serde_json::to_vec(&other).unwrap()).await;
    advance(GRACE + HOUR).await;
    assert!(matches!(rig.scrub.step().await, Err(StepError::Storage { .. })));
    rig.reap().await;
    assert_eq!(rig.blobs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumped_makes_no_orphan_old() {
    let rig = Claimed::new().await;
    settle(&rig).await;
    let waiting = publish(&rig, b"waiting", 1).await;
    rig.run(false).await.unwrap();
    rig.clock.jump(10 * 24 * 3600 * 1000);
    rig.rest().await;
    advance(Duration::from_secs(60)).await;
    rig.rest().await;
    rig.reap().await;
    assert_eq!(rig.blobs().await, [waiting.object_key]);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_commits_while_its_object_is_given_to_the_reaper_keeps_it() {
    let rig = Claimed::new().await;
    settle(&rig).await;
    rig.push(b"first").await;
    let slow = publish(&rig, b"slow", 1).await;
    rig.run(false).await.unwrap();
    advance(GRACE + HOUR).await;
    let held = rig.faults.hold(Operation::Probe, 1);
    let step = async { while rig.scrub.step().await.unwrap().done > 0 {} };
    let push = async {
        held.arrived().await;
        acknowledge(&rig, &slow).await.unwrap();
        held.release();
    };
    tokio::join!(step, push);
    rig.reap().await;
    assert_eq!(rig.pull(&slow.digest).await.unwrap(), b"slow");
}

/// A push so late that its object was taken for one that nobody names, and reaped.
async fn reaped_before_it_was_named() -> (Claimed, Placement) {
    let rig = Claimed::new().await;
    settle(&rig).await;
    rig.push(b"first").await;
    let late = publish(&rig, b"late", 1).await;
    rig.run(false).await.unwrap();
    advance(GRACE + HOUR).await;
    rig.rest().await;
    rig.reap().await;
    (rig, late)
}

#[tokio::test(start_paused = true)]
async fn what_a_late_look_finds_wrong_with_a_reaped_object_lets_no_push_name_it() {
    let (rig, late) = reaped_before_it_was_named().await;
    rig.commit([damage::record(&late, Kind::WrongHash, rig.registry.clock().now())]).await;
    assert!(matches!(acknowledge(&rig, &late).await, Err(CommitError::Conflict(_))), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumped_forgets_no_reaped_object() {
    let (rig, late) = reaped_before_it_was_named().await;
    rig.clock.jump(10 * 24 * 3600 * 1000);
    rig.rest().await;
    assert_eq!(rig.count("SELECT count(*) FROM damage WHERE kind = 5").await, 1);
    assert!(matches!(acknowledge(&rig, &late).await, Err(CommitError::Conflict(_))), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_puts_off_neither_runs_nor_orphans() {
    let rig = Claimed::new().await;
    publish(&rig, b"nobody's", 1).await;
    rig.clock.jump(100 * 24 * 3600 * 1000);
    rig.run(false).await.unwrap();
    rig.clock.jump(-100 * 24 * 3600 * 1000);
    let scrub = Scrub::new(rig.registry.clone()).with_interval(10 * GRACE);
    while scrub.step().await.unwrap().done > 0 {}
    let run = rig.scrub.state().await.unwrap()[0].last.clone().unwrap();
    assert!(!run.by_hand && run.ended_at <= Some(rig.registry.clock().now()), "{run:?}");
    settle(&rig).await;
    advance(GRACE + HOUR).await;
    rig.rest().await;
    rig.reap().await;
    assert_eq!(rig.blobs().await, Vec::<String>::new());
}
