//! A store that is away, or a part of it while its root says that it is ours: nothing is damaged for that.

use roadstead_storage::{ErrorKind, Operation};
use tokio::time::{advance, sleep};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

async fn pushed(rig: &Claimed, blobs: u8) -> Vec<Digest> {
    let mut digests = Vec::new();
    for number in 0..blobs {
        digests.push(rig.push(&[number]).await);
    }
    digests
}

/// Twelve blobs, whose directory is away.
async fn without_blobs() -> (Claimed, Vec<Digest>) {
    let rig = Claimed::on_disk().await;
    let digests = pushed(&rig, 12).await;
    shell(r#"mv "$ROOT/blobs" "$ROOT/aside""#, rig.root.as_ref().unwrap().path());
    (rig, digests)
}

/// Nothing was recorded, and all is well once the blobs are back.
async fn unharmed(rig: &Claimed, scrub: &Scrub, digests: &[Digest]) {
    assert_eq!(rig.count("SELECT count(*) FROM placement").await, 12);
    assert_eq!(rig.count("SELECT count(*) FROM damage").await, 0);
    shell(r#"mv "$ROOT/aside" "$ROOT/blobs""#, rig.root.as_ref().unwrap().path());
    while scrub.step().await.unwrap().done > 0 {}
    assert!(!rig.is_running().await);
    assert_eq!(rig.damaged().await, []);
    for digest in digests {
        rig.pull(digest).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_asked_for_does_not_believe_that_so_much_is_gone() {
    let (rig, digests) = without_blobs().await;
    let scrub = Scrub::new(rig.registry.clone()).with_interval(GRACE);
    advance(GRACE).await;
    assert!(scrub.step().await.unwrap().done > 0, "it is due");
    // The other location comes to its end before it shows.
    let failed = loop {
        match scrub.step().await {
            Ok(step) => assert!(step.done > 0 && rig.is_running().await),
            Err(error) => break error.to_string(),
        }
    };
    assert!(failed.contains("location eu: more than 10 objects are missing"), "{failed}");
    assert!(failed.contains("`roadstead scrub`"), "the way out: {failed}");
    unharmed(&rig, &scrub, &digests).await;
}

#[tokio::test(start_paused = true)]
async fn pulls_of_so_much_make_nothing_missing() {
    let (rig, digests) = without_blobs().await;
    for digest in &digests {
        assert!(rig.pull(digest).await.is_err());
    }
    for _ in 0..3 {
        let failed = rig.scrub.step().await.unwrap_err().to_string();
        assert!(failed.contains("more than 10 objects are missing"), "{failed}");
    }
    unharmed(&rig, &rig.scrub, &digests).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_away_for_a_moment_is_not_missing() {
    for suspected in [false, true] {
        let rig = Claimed::new().await;
        let digests = pushed(&rig, 3).await;
        let key = rig.key(&digests[1]).await;
        rig.remove(&key).await;
        if suspected {
            assert!(rig.pull(&digests[1]).await.is_err());
        }
        let back = async {
            sleep(Duration::from_secs(1)).await;
            rig.overwrite(&key, &[1]).await;
        };
        if suspected {
            tokio::join!(rig.rest(), back);
        } else {
            tokio::join!(async { rig.run(true).await.unwrap() }, back);
            let counts = rig.scrub.state().await.unwrap()[0].last.clone().unwrap().counts;
            assert_eq!((counts.objects, counts.missing), (3, 0));
        }
        assert_eq!(rig.damaged().await, []);
        assert_eq!(rig.pull(&digests[1]).await.unwrap(), [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_back_is_taken_again_without_a_run() {
    for rig in Claimed::both().await {
        let (back, other) = (rig.push(b"restored").await, rig.push(b"otherwise").await);
        let (cut, away) = (rig.push(b"cut short").await, rig.push(b"away").await);
        let (back_key, other_key, cut_key) = (rig.key(&back).await, rig.key(&other).await, rig.key(&cut).await);
        for key in [&back_key, &other_key, &rig.key(&away).await] {
            rig.remove(key).await;
        }
        rig.overwrite(&cut_key, b"cut").await;
        rig.run(false).await.unwrap();
        assert_eq!(rig.kinds().await.len(), 4);
        rig.rest().await;
        rig.overwrite(&back_key, b"restored").await;
        rig.overwrite(&cut_key, b"cut short").await;
        rig.overwrite(&other_key, b"Otherwise").await;
        advance(MINUTE).await;
        rig.rest().await;
        assert_eq!(rig.pull(&back).await.unwrap(), b"restored");
        assert_eq!(rig.pull(&cut).await.unwrap(), b"cut short");
        let mut expected = vec![(other, Kind::WrongHash), (away, Kind::Missing)];
        expected.sort();
        assert_eq!(rig.kinds().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn damage_is_cleared_away_during_a_long_run() {
    let rig = Claimed::new().await;
    let healed = rig.push(b"healed").await;
    rig.flip(&rig.key(&healed).await).await;
    rig.run(true).await.unwrap();
    rig.push(b"healed").await;
    rig.push(&vec![7; 80 << 20]).await;
    rig.scrub.begin(true, Some(1 << 20)).await.unwrap().unwrap();
    while rig.is_running().await && !rig.damaged().await.is_empty() {
        rig.scrub.step().await.unwrap();
    }
    assert!(rig.is_running().await, "a run of more than a minute");
}

/// What becomes of the root of a store.
#[derive(Debug, Clone, Copy)]
enum Gone {
    /// Another directory stands there: the filesystem is not mounted.
    Unmounted,
    /// All that it held is gone, what says whose it is too.
    Emptied,
    /// It is that of another location.
    Foreign,
}

fn shell(command: &str, root: &std::path::Path) {
    let aside = root.with_extension("aside");
    let mut shell = std::process::Command::new("sh");
    let done = shell.args(["-ec", command]).env("ROOT", root).env("ASIDE", aside).status().unwrap();
    assert!(done.success(), "{command}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_or_anothers_makes_nothing_damaged() {
    for gone in [Gone::Unmounted, Gone::Emptied, Gone::Foreign] {
        let rig = Claimed::on_disk().await;
        let (one, two) = (rig.push(b"one").await, rig.push(b"two").await);
        rig.rest().await;
        let root = rig.root.as_ref().unwrap().path();
        match gone {
            Gone::Unmounted => shell(r#"mv "$ROOT" "$ASIDE"; mkdir "$ROOT""#, root),
            _ => shell(r#"mkdir "$ASIDE"; mv "$ROOT"/* "$ASIDE"/"#, root),
        }
        if let Gone::Foreign = gone {
            let engine = &rig.location("eu").engine;
            Identity::claim(&**engine, &Identity::new(Uuid::from_u128(9), Uuid::from_u128(77))).await.unwrap();
        }
        let failed = rig.run(true).await;
        assert!(matches!(failed, Err(StepError::Storage { .. })), "{gone:?}: {failed:?}");
        assert!(rig.pull(&one).await.is_err());
        let _ = rig.scrub.step().await;
        assert_eq!(rig.count("SELECT count(*) FROM placement").await, 2, "{gone:?}");
        assert_eq!(rig.count("SELECT count(*) FROM damage").await, 0, "{gone:?}");
        match gone {
            Gone::Unmounted => shell(r#"rmdir "$ROOT"; mv "$ASIDE" "$ROOT""#, root),
            _ => shell(r#"rm -rf "$ROOT"/*; mv "$ASIDE"/* "$ROOT"/; rmdir "$ASIDE""#, root),
        }
        while rig.is_running().await {
            rig.scrub.step().await.unwrap();
        }
        assert_eq!(rig.damaged().await, []);
        for (digest, bytes) in [(one, b"one"), (two, b"two")] {
            assert_eq!(rig.pull(&digest).await.unwrap(), bytes);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn damage_is_found_in_a_store_that_became_read_only() {
    let rig = Claimed::new().await;
    let digest = rig.push(b"lost").await;
    rig.remove(&rig.key(&digest).await).await;
    for probe in 1..=50 {
        rig.faults.refuse(Operation::Probe, probe, ErrorKind::ReadOnly);
    }
    rig.scrub.begin(false, None).await.unwrap().unwrap();
    for _ in 0..4 {
        rig.scrub.step().await.unwrap();
    }
    assert!(!rig.is_running().await && rig.faults.pending() > 0);
    assert_eq!(rig.kinds().await, [(digest, Kind::Missing)]);
}

#[tokio::test(start_paused = true)]
async fn many_unreadable_objects_between_whole_ones_are_not_a_store_that_is_away() {
    let rig = Claimed::new().await;
    for number in 0..22u8 {
        rig.push(&[number]).await;
    }
    for pair in 0..11 {
        // Two looks, after each of which the identity is read, and one at the next object.
        rig.faults.refuse(Operation::Read, 5 * pair + 1, ErrorKind::Unavailable);
        rig.faults.refuse(Operation::Read, 5 * pair + 3, ErrorKind::Unavailable);
    }
    rig.run(true).await.unwrap();
    assert_eq!(rig.damaged().await.len(), 11);
    let run = rig.scrub.state().await.unwrap()[0].last.clone().unwrap();
    assert_eq!(run.step, 3, "one step each for damage, placements and objects, without a failure");
}
