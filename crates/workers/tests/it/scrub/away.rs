//! A part of a store that is away, while its root says that it is ours.

use tokio::time::{advance, sleep};

use super::damaged::shell;
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
