//! Damage is named, taken out of service, and healed by a push or by the return of the bytes.

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
