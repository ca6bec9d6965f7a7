//! Copies that a pull met damaged: looked at first, and in full.

use roadstead_registry::Suspect;
use roadstead_storage::{ErrorKind, Operation};

use super::*;

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
