#![allow(clippy::unwrap_used)]

use futures::poll;

use super::*;

const MINUTES: Duration = Duration::from_secs(600);

#[test]
fn the_bound_goes_by_the_memory() {
    let mib = |n: u64| n << 20;
    for (memory, expected) in [(0, 16), (100, 16), (160, 20), (512, 64), (2_048, 256), (64_000, 256)] {
        assert_eq!(bound(Some(mib(memory))), mib(expected), "{memory} MiB");
    }
    assert_eq!(bound(None), mib(256));
}

#[test]
fn entries_count_until_there_is_another_snapshot() {
    let growth = Growth::new(1_000, 5, 300);
    growth.wrote(500, 5);
    assert!(!growth.is_past());
    growth.wrote(500, 5);
    assert!(growth.is_past());
    assert!(!growth.saw(5));
    assert!(growth.is_past());
    growth.wrote(800, 9);
    assert!(!growth.is_past(), "all but the last entry is in the snapshot");
    growth.wrote(500, 9);
    assert!(growth.is_past());
    assert!(growth.saw(12));
    assert!(!growth.is_past());
}

#[test]
fn an_entry_is_more_than_its_statements() {
    let growth = Growth::new(1_000, 0, 0);
    (0..20).for_each(|_| growth.wrote(0, 0));
    assert!(growth.is_past());
}

#[tokio::test]
async fn whoever_waits_learns_of_a_log_that_is_past_its_bound() {
    // Of an opened one at once.
    Growth::new(1_000, 0, 2_000).until_past().await;
    let growth = Growth::new(1_000, 0, 0);
    let mut waiting = Box::pin(growth.until_past());
    growth.wrote(900, 0);
    assert!(poll!(&mut waiting).is_pending());
    growth.wrote(900, 0);
    waiting.await;
}

#[tokio::test(start_paused = true)]
async fn commits_wait_for_a_nudge_only_far_past_the_bound() {
    let growth = Growth::new(1_000, 0, 1_900);
    let nudging = growth.nudging();
    assert!(poll!(Box::pin(growth.room(MINUTES))).is_ready());
    growth.wrote(200, 0);
    let mut waiting = Box::pin(growth.room(MINUTES));
    assert!(poll!(&mut waiting).is_pending());
    drop(nudging);
    waiting.await;
    assert!(poll!(Box::pin(growth.room(MINUTES))).is_ready(), "nobody brings it to an end");
    let _nudging = growth.nudging();
    // The patience of whoever waits has an end.
    growth.room(MINUTES).await;
}
