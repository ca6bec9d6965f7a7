//! Runs: begun by hand or by themselves, at their rate, and gone on with by whoever is there.

use roadstead_metadata::records::scrub::Phase;
use tokio::time::{Instant, advance};

use super::*;

const MIB: u64 = 1 << 20;

fn large(mib: u64) -> Vec<u8> {
    (0..mib * MIB).map(|at| (at % 251) as u8).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_in_the_middle_of_an_object() {
    for damaged in [false, true] {
        let rig = Claimed::new().await;
        let digest = rig.push(&large(40)).await;
        if damaged {
            let key = rig.key(&digest).await;
            let mut bytes = rig.bytes(&key).await;
            bytes[0] ^= 1;
            rig.overwrite(&key, &bytes).await;
        }
        rig.scrub.begin(true, Some(4 * MIB)).await.unwrap().unwrap();
        let mut restarts = 0;
        while rig.is_running().await {
            let another = scrub(&rig);
            let run = another.state().await.unwrap()[0].last.clone().unwrap();
            restarts += u64::from(run.phase == Phase::Placements && run.hashing.is_some());
            another.step().await.unwrap();
        }
        let counts = rig.scrub.state().await.unwrap()[0].last.clone().unwrap().counts;
        let reads = if damaged { 2 } else { 1 };
        assert_eq!(counts.bytes, reads * 40 * MIB, "each byte once a look");
        assert!(restarts >= 3 * reads, "{restarts} times in the middle");
        assert_eq!(counts.wrong_hash, u64::from(damaged));
        assert_eq!(rig.damaged().await.len(), usize::from(damaged));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_reads_no_faster_than_it_may() {
    let rig = Claimed::new().await;
    rig.push(&large(30)).await;
    for number in 0..20u64 {
        rig.push(&large(1)[number as usize..]).await;
    }
    let from = Instant::now();
    rig.scrub.begin(true, Some(5 * MIB)).await.unwrap().unwrap();
    let mut steps = 0;
    while rig.is_running().await {
        let step = Instant::now();
        rig.scrub.step().await.unwrap();
        assert!(step.elapsed() < Duration::from_secs(5), "a step is seconds");
        steps += 1;
    }
    let took = from.elapsed().as_secs_f64();
    assert!((8.0..12.0).contains(&took), "50 MiB at 5 MiB per second took {took} s");
    assert!(steps < 40, "{steps} steps: it does not turn around for nothing");
}

#[tokio::test(start_paused = true)]
async fn many_objects_are_looked_at_in_pages() {
    let rig = Claimed::new().await;
    for number in 0..1_100u32 {
        rig.push(&number.to_be_bytes()).await;
    }
    rig.run(false).await.unwrap();
    let counts = rig.scrub.state().await.unwrap()[0].last.clone().unwrap().counts;
    assert_eq!((counts.objects, counts.orphans), (1_100, 0));
    let step = rig.scrub.state().await.unwrap()[0].last.clone().unwrap().step;
    assert_eq!(step, 3, "saved once for each phase and not for each page");
    assert_eq!(rig.damaged().await, []);
    for key in rig.blobs().await {
        rig.remove(&key).await;
    }
    rig.run(false).await.unwrap();
    assert_eq!(rig.count("SELECT count(*) FROM damage").await, 1_100);
    rig.run(false).await.unwrap();
    assert_eq!(rig.count("SELECT count(*) FROM damage").await, 1_100);
}

#[tokio::test(start_paused = true)]
async fn there_is_one_run_at_a_time_and_it_can_be_stopped() {
    let rig = Claimed::new().await;
    rig.push(&large(40)).await;
    assert!(rig.scrub.begin(true, Some(MIB)).await.unwrap().is_some());
    assert!(rig.scrub.begin(false, None).await.unwrap().is_none());
    rig.scrub.step().await.unwrap();
    rig.scrub.stop().await.unwrap();
    assert!(!rig.is_running().await);
    let stopped = rig.scrub.state().await.unwrap()[0].last.clone().unwrap();
    assert!(stopped.stopped);
    rig.rest().await;
    rig.run(false).await.unwrap();
    assert!(!rig.scrub.state().await.unwrap()[0].last.clone().unwrap().stopped);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_was_overtaken_changes_nothing() {
    let rig = Claimed::new().await;
    rig.push(b"one").await;
    rig.scrub.begin(false, None).await.unwrap().unwrap();
    let held = rig.faults.hold(roadstead_storage::Operation::Stat, 1);
    let (registry, id) = (rig.registry.clone(), rig.location("eu").id);
    let step = tokio::spawn(async move {
        let scrub = Scrub::new(registry).with_interval(100 * GRACE);
        while scrub.step().await.unwrap().done > 0 {}
    });
    held.arrived().await;
    rig.scrub.stop().await.unwrap();
    held.release();
    step.await.unwrap();
    let run = rig.scrub.state().await.unwrap().into_iter().find(|state| state.id == id).unwrap().last.unwrap();
    assert!(run.stopped);
    assert_eq!(run.counts.objects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_pass_begins_by_itself_when_its_time_has_come() {
    let rig = Claimed::new().await;
    let flipped = rig.push(b"flipped").await;
    rig.flip(&rig.key(&flipped).await).await;
    let scrub = Scrub::new(rig.registry.clone()).with_interval(GRACE);
    scrub.step().await.unwrap();
    assert!(!rig.is_running().await);
    advance(GRACE).await;
    while scrub.step().await.unwrap().done > 0 {}
    assert_eq!(rig.kinds().await, [(flipped, Kind::WrongHash)]);
    let first = rig.scrub.state().await.unwrap()[0].last.clone().unwrap();
    advance(GRACE - HOUR).await;
    while scrub.step().await.unwrap().done > 0 {}
    assert_eq!(rig.scrub.state().await.unwrap()[0].last.clone().unwrap().run, first.run);
    advance(HOUR).await;
    while scrub.step().await.unwrap().done > 0 {}
    assert_ne!(rig.scrub.state().await.unwrap()[0].last.clone().unwrap().run, first.run);
}

#[tokio::test(start_paused = true)]
async fn copies_are_counted_once_for_a_run_and_damage_when_it_changes() {
    let rig = Claimed::new().await;
    let lost = rig.push(b"one").await;
    rig.run(false).await.unwrap();
    let known = |states: Vec<roadstead_workers::ScrubState>| states[0].placements;
    assert_eq!(known(rig.scrub.state().await.unwrap()), 1);
    rig.push(b"two").await;
    assert_eq!(known(rig.scrub.state().await.unwrap()), 1, "as it was counted for this run");
    rig.remove(&rig.key(&lost).await).await;
    rig.run(false).await.unwrap();
    assert_eq!(known(rig.scrub.state().await.unwrap()), 2, "as it was when that began");
    assert_eq!(rig.scrub.step().await.unwrap().backlog, Some(1));
    // Others change it too, and are seen a while later.
    rig.commit([damage::forget(rig.location("eu").id, &[rig.damaged().await[0].object_key.clone()], Kind::Missing)])
        .await;
    assert_eq!(rig.scrub.step().await.unwrap().backlog, Some(1));
    advance(Duration::from_secs(60)).await;
    assert_eq!(rig.scrub.step().await.unwrap().backlog, Some(0));
}
