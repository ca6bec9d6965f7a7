//! Many objects that nothing names at once: metadata may be older than the store.

use tokio::time::advance;

use super::orphans::{publish, settle};
use super::*;

/// So many go by themselves.
const FEW: u32 = 100;

/// A rig with a blob and orphans whose grace is over.
async fn with_orphans(count: u32) -> (Claimed, Digest) {
    let rig = Claimed::new().await;
    settle(&rig).await;
    let named = rig.push(b"named").await;
    for number in 0..count {
        publish(&rig, b"pushed since the backup", number).await;
    }
    rig.run(false).await.unwrap();
    advance(GRACE + HOUR).await;
    rig.rest().await;
    rig.reap().await;
    (rig, named)
}

async fn held(rig: &Claimed) -> u64 {
    rig.scrub.state().await.unwrap()[0].held
}

#[tokio::test(start_paused = true)]
async fn few_go_by_themselves() {
    let (rig, _) = with_orphans(FEW).await;
    assert_eq!((rig.blobs().await.len(), held(&rig).await), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn many_stay_until_somebody_lets_them_go() {
    let (rig, named) = with_orphans(2 * FEW).await;
    advance(10 * GRACE).await;
    rig.run(true).await.unwrap();
    rig.rest().await;
    rig.reap().await;
    assert_eq!((rig.blobs().await.len(), held(&rig).await), (201, 200));

    assert_eq!(rig.scrub.let_orphans_go().await.unwrap(), 200);
    assert_eq!(held(&rig).await, 0);
    // What is found later was not meant.
    advance(HOUR).await;
    for number in 0..=FEW {
        publish(&rig, b"found later", number).await;
    }
    rig.run(false).await.unwrap();
    rig.rest().await;
    rig.reap().await;
    let left = rig.blobs().await;
    assert_eq!(left.len() as u32, 1 + FEW + 1, "those that were meant are gone");
    advance(GRACE + HOUR).await;
    // Nor is it for another process.
    let other = scrub(&rig);
    while other.step().await.unwrap().done > 0 {}
    rig.reap().await;
    assert_eq!(rig.blobs().await, left);
    assert_eq!(rig.pull(&named).await.unwrap(), b"named");
}
