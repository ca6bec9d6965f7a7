//! Damage is named, taken out of service, and healed by a push or by the return of the bytes.

use roadstead_registry::Suspect;
use roadstead_storage::{ErrorKind, Operation};
use roadstead_workers::Collect;
use tokio::time::advance;

use super::*;

#[tokio::test(start_paused = true)]
async fn each_kind_of_damage_is_named_and_no_longer_served() {
    for rig in Claimed::both().await {
        let whole = rig.push(b"whole").await;
        let empty = rig.push(b"").await;
        let (lost, cut, flipped) = (rig.push(b"lost").await, rig.push(b"cut").await, rig.push(b"flipped").await);
        rig.remove(&rig.key(&lost).await).await;
        rig.overwrite(&rig.key(&cut).await, b"c").await;
        rig.flip(&rig.key(&flipped).await).await;
        rig.run(false).await.unwrap();
        let mut expected = vec![(lost, Kind::Missing), (cut, Kind::WrongSize)];
        expected.sort();
        assert_eq!(rig.kinds().await, expected, "a run that does not read");
        rig.run(true).await.unwrap();
        expected.push((flipped, Kind::WrongHash));
        expected.sort();
        assert_eq!(rig.kinds().await, expected);
        let counts = rig.scrub.state().await.unwrap()[0].last.clone().unwrap().counts;
        assert_eq!((counts.objects, counts.wrong_hash, counts.missing), (3, 1, 0), "what is not yet known");
        assert_eq!(rig.scrub.step().await.unwrap().backlog, Some(3));
        for (digest, _) in expected {
            assert!(matches!(rig.pull(&digest).await, Err(Error::Damaged(_))));
            assert!(matches!(rig.head(&digest).await, Err(Error::BlobUnknown(_))), "whoever may push is to upload");
        }
        assert_eq!(rig.count("SELECT count(*) FROM owed").await, 3);
        assert_eq!(rig.pull(&whole).await.unwrap(), b"whole");
        assert_eq!(rig.pull(&empty).await.unwrap(), b"");
        // Nothing is deleted: a person may still make something of it.
        advance(10 * GRACE).await;
        rig.run(true).await.unwrap();
        rig.rest().await;
        rig.reap().await;
        assert_eq!(rig.blobs().await.len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_heals_and_the_damaged_object_goes() {
    for rig in Claimed::both().await {
        let digest = rig.push(b"healed").await;
        let bad = rig.key(&digest).await;
        rig.flip(&bad).await;
        rig.run(true).await.unwrap();
        assert_eq!(rig.kinds().await, [(digest, Kind::WrongHash)]);
        rig.push(b"healed").await;
        assert_eq!(rig.pull(&digest).await.unwrap(), b"healed");
        assert_eq!(rig.count("SELECT count(*) FROM owed").await, 0);
        rig.rest().await;
        assert_eq!(rig.damaged().await, []);
        rig.reap().await;
        assert_eq!(rig.blobs().await.len(), 1);
        rig.run(true).await.unwrap();
        assert_eq!(rig.damaged().await, []);
        assert_eq!(rig.pull(&digest).await.unwrap(), b"healed");
    }
}

/// A blob whose first object is in quarantine; its digest, and the keys of that object and of the one in its place.
async fn damaged_and_pushed_again() -> (Claimed, Digest, String, String) {
    let rig = Claimed::new().await;
    let digest = rig.push(b"twice").await;
    let bad = rig.key(&digest).await;
    rig.flip(&bad).await;
    rig.run(true).await.unwrap();
    rig.push(b"twice").await;
    let second = rig.blobs().await.into_iter().find(|key| *key != bad).unwrap();
    (rig, digest, bad, second)
}

#[tokio::test(start_paused = true)]
async fn a_damaged_object_stays_while_the_copy_that_took_its_place_is_damaged_too() {
    let (rig, digest, bad, second) = damaged_and_pushed_again().await;
    rig.remove(&second).await;
    rig.rest().await;
    rig.rest().await;
    rig.reap().await;
    assert_eq!(rig.blobs().await, std::slice::from_ref(&bad));
    assert_eq!(rig.damaged().await.len(), 2, "both are named");
    rig.flip(&bad).await;
    rig.run(true).await.unwrap();
    assert_eq!(rig.pull(&digest).await.unwrap(), b"twice", "and the first one reads well again");
    rig.rest().await;
    assert_eq!(rig.damaged().await, []);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_come_back_are_taken_again_and_others_are_not() {
    for rig in Claimed::both().await {
        let (lost, other) = (rig.push(b"restored").await, rig.push(b"otherwise").await);
        let (lost_key, other_key) = (rig.key(&lost).await, rig.key(&other).await);
        rig.remove(&lost_key).await;
        rig.remove(&other_key).await;
        rig.run(false).await.unwrap();
        assert_eq!(rig.kinds().await.len(), 2);
        rig.overwrite(&lost_key, b"restored").await;
        rig.overwrite(&other_key, b"Otherwise").await;
        rig.run(false).await.unwrap();
        assert_eq!(rig.pull(&lost).await.unwrap(), b"restored");
        assert!(matches!(rig.pull(&other).await, Err(Error::Damaged(_))));
        assert_eq!(rig.kinds().await, [(other, Kind::WrongHash)], "what is wrong is another thing now");
        assert_eq!(rig.count("SELECT count(*) FROM owed").await, 1);
        assert_eq!(rig.scrub.state().await.unwrap()[0].last.clone().unwrap().counts.repaired, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_put_back_under_another_key_is_taken_too_when_it_is_no_push_in_flight() {
    let rig = Claimed::new().await;
    let digest = rig.push(b"elsewhere").await;
    rig.remove(&rig.key(&digest).await).await;
    rig.run(false).await.unwrap();
    rig.overwrite(&format!("blobs/sha256/{}/{}-backup", &digest.hex()[..2], digest.hex()), b"elsewhere").await;
    rig.rest().await;
    advance(HOUR).await;
    rig.run(false).await.unwrap();
    assert!(rig.pull(&digest).await.is_err(), "seen for the first time");
    advance(GRACE).await;
    rig.rest().await;
    rig.run(false).await.unwrap();
    assert_eq!(rig.pull(&digest).await.unwrap(), b"elsewhere");
    rig.rest().await;
    rig.reap().await;
    assert_eq!(rig.blobs().await.len(), 1, "under a key of its own");
    assert_eq!(rig.pull(&digest).await.unwrap(), b"elsewhere");
    assert_eq!(rig.count("SELECT count(*) FROM damage WHERE kind < 5").await, 0);
}

#[tokio::test(start_paused = true)]
async fn one_bad_look_is_none() {
    let rig = Claimed::new().await;
    let digest = rig.push(b"flickering").await;
    for fault in [Operation::Stat, Operation::Read] {
        rig.faults.refuse(fault, 1, ErrorKind::NotFound);
        rig.run(true).await.unwrap();
        assert_eq!(rig.faults.pending(), 0);
    }
    rig.faults.cut_body(1, 3, ErrorKind::Corrupt);
    rig.run(true).await.unwrap();
    assert_eq!((rig.damaged().await, rig.faults.pending()), (vec![], 0));
    assert_eq!(rig.pull(&digest).await.unwrap(), b"flickering");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_named_and_keeps_its_placement() {
    let rig = Claimed::new().await;
    let digest = rig.push(b"unreadable").await;
    // The second read is of the identity.
    rig.faults.refuse(Operation::Read, 1, ErrorKind::Unavailable);
    rig.faults.refuse(Operation::Read, 3, ErrorKind::Unavailable);
    rig.run(true).await.unwrap();
    assert_eq!(rig.kinds().await, [(digest, Kind::Unreadable)]);
    assert_eq!(rig.pull(&digest).await.unwrap(), b"unreadable");
    rig.run(false).await.unwrap();
    assert_eq!(rig.kinds().await.len(), 1, "a run that does not read cannot tell");
    rig.run(true).await.unwrap();
    assert_eq!(rig.damaged().await, []);
}

#[tokio::test(start_paused = true)]
async fn what_a_pull_meets_is_named_without_a_run() {
    let rig = Claimed::new().await;
    let (cut, whole) = (rig.push(b"cut short").await, rig.push(b"whole").await);
    rig.overwrite(&rig.key(&cut).await, b"cut").await;
    assert!(rig.pull(&cut).await.is_err());
    // A pull that failed for another reason makes nothing damaged.
    rig.faults.refuse(Operation::Read, 1, ErrorKind::NotFound);
    assert!(rig.pull(&whole).await.is_err());
    rig.scrub.step().await.unwrap();
    assert_eq!(rig.kinds().await, [(cut, Kind::WrongSize)]);
    assert_eq!(rig.pull(&whole).await.unwrap(), b"whole");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_blob_that_nothing_names_goes_with_its_quarantined_object() {
    let rig = Claimed::new().await;
    let digest = rig.push(b"nobody's").await;
    rig.flip(&rig.key(&digest).await).await;
    rig.run(true).await.unwrap();
    advance(GRACE + HOUR).await;
    let collect = Collect::new(rig.registry.clone()).with_period(Duration::ZERO);
    for _ in 0..3 {
        collect.step().await.unwrap();
    }
    assert_eq!(rig.count("SELECT count(*) FROM blob").await, 0);
    assert_eq!(rig.count("SELECT count(*) FROM damage").await, 0, "collected with it");
    rig.reap().await;
    assert_eq!(rig.blobs().await, Vec::<String>::new());
    assert_eq!(rig.count("SELECT count(*) FROM owed").await, 0);
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

pub(super) fn shell(command: &str, root: &std::path::Path) {
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
async fn what_a_push_replaces_while_scrub_looks_is_no_damage() {
    let rig = Claimed::new().await;
    let digest = rig.push(b"replaced").await;
    rig.flip(&rig.key(&digest).await).await;
    rig.scrub.begin(true, None).await.unwrap().unwrap();
    // The store is asked whose it is after the first look, and after the second.
    let held = rig.faults.hold(Operation::Probe, 2);
    let run = async {
        while rig.is_running().await {
            rig.scrub.step().await.unwrap();
        }
    };
    let push = async {
        held.arrived().await;
        rig.push(b"replaced").await;
        held.release();
    };
    tokio::join!(run, push);
    assert_eq!(rig.damaged().await, []);
    assert_eq!(rig.count("SELECT count(*) FROM owed").await, 0);
    assert_eq!(rig.pull(&digest).await.unwrap(), b"replaced");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_object_stays_until_what_took_its_place_was_read_in_full() {
    let (rig, digest, _, second) = damaged_and_pushed_again().await;
    rig.flip(&second).await;
    rig.rest().await;
    rig.rest().await;
    rig.reap().await;
    assert_eq!(rig.kinds().await, [(digest, Kind::WrongHash), (digest, Kind::WrongHash)]);
    assert_eq!(rig.blobs().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_took_the_place_of_a_damaged_object_is_read_at_the_rate() {
    let rig = Claimed::new().await;
    let bytes = vec![7; 40 << 20];
    let digest = rig.push(&bytes).await;
    rig.flip(&rig.key(&digest).await).await;
    rig.run(true).await.unwrap();
    rig.push(&bytes).await;
    let scrub = scrub(&rig).with_rate(4 << 20);
    let (from, mut steps) = (tokio::time::Instant::now(), 0);
    while scrub.step().await.unwrap().done > 0 {
        steps += 1;
    }
    let took = from.elapsed().as_secs();
    assert!((8..13).contains(&took) && steps > 3, "{took} s in {steps} steps");
    assert_eq!(rig.damaged().await, []);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_about_is_no_suspect() {
    let rig = Claimed::new().await;
    let digest = rig.push(b"healed").await;
    rig.flip(&rig.key(&digest).await).await;
    rig.run(true).await.unwrap();
    rig.push(b"healed").await;
    rig.faults.refuse(Operation::Stat, 1, ErrorKind::Unavailable);
    assert_eq!(rig.scrub.step().await.unwrap().done, 0, "it rests, and asks again");
    assert_eq!(rig.faults.pending(), 0);
    assert_eq!(rig.registry.suspects().take(9), []);
    assert_eq!(rig.damaged().await.len(), 1);
    rig.rest().await;
    assert_eq!(rig.damaged().await, []);
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
async fn a_suspect_is_read_at_the_rate_and_from_where_it_stood() {
    let rig = Claimed::new().await;
    let digest = rig.push(&vec![7; 40 << 20]).await;
    let (object_key, location) = (rig.key(&digest).await, rig.location("eu").id);
    rig.registry.suspects().note(Suspect { location, object_key, digest });
    let scrub = scrub(&rig).with_rate(4 << 20);
    let from = tokio::time::Instant::now();
    let mut bytes = scrub.step().await.unwrap().bytes;
    assert!(bytes < 20 << 20, "{bytes}");
    for probe in 1..=2 {
        rig.faults.refuse(Operation::Probe, probe, ErrorKind::Unavailable);
    }
    assert!(matches!(scrub.step().await, Err(StepError::Storage { .. })));
    loop {
        let step = scrub.step().await.unwrap();
        bytes += step.bytes;
        if step.done == 0 {
            break;
        }
    }
    assert_eq!(bytes, 40 << 20);
    assert!((8..13).contains(&from.elapsed().as_secs()), "{:?}", from.elapsed());
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

#[tokio::test(start_paused = true)]
async fn a_file_put_back_during_a_look_is_looked_at_anew() {
    let rig = Claimed::new().await;
    let bytes = vec![7; 40 << 20];
    let digest = rig.push(&bytes).await;
    let key = rig.key(&digest).await;
    let mut wrong = bytes.clone();
    wrong[0] ^= 1;
    rig.overwrite(&key, &wrong).await;
    rig.scrub.begin(true, Some(4 << 20)).await.unwrap().unwrap();
    loop {
        rig.scrub.step().await.unwrap();
        let run = rig.scrub.state().await.unwrap()[0].last.clone().unwrap();
        if run.hashing.is_some_and(|hashing| hashing.again) {
            break;
        }
    }
    rig.overwrite(&key, &bytes).await;
    while rig.is_running().await {
        rig.scrub.step().await.unwrap();
    }
    assert_eq!(rig.damaged().await, []);
}
