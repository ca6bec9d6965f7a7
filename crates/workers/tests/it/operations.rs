use std::time::Duration;

use roadstead_metadata::{Batch, Fault, Sql, Statement};
use roadstead_workers::{PurgeOperations, Worker};
use tokio::time::advance;

use crate::rig::Rig;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const OLD: &str = "SELECT count(*) FROM operation WHERE at < 1750000060000";

/// So many batches, made at one moment of the registry's clock.
async fn batches(rig: &Rig, count: usize) -> Vec<Batch> {
    let mut made = Vec::new();
    for _ in 0..count {
        let batch = Batch::new(rig.id_from(Duration::ZERO), rig.registry.clock().now());
        rig.metadata.commit(batch.clone()).await.unwrap();
        made.push(batch);
    }
    made
}

#[tokio::test(start_paused = true)]
async fn operation_ids_are_forgotten_after_a_day_in_bounded_steps() {
    let rig = Rig::new().await;
    let before = rig.count("SELECT count(*) FROM operation").await;
    let mut batch = batches(&rig, 1200).await.remove(0);
    batch.push(Statement::new("INSERT INTO guard(ok) SELECT 0", vec![]));
    let worker = PurgeOperations::new(rig.registry.clone());
    advance(DAY - MINUTE).await;
    assert_eq!(worker.step().await.unwrap().done, 0);
    assert!(rig.metadata.commit(batch).await.unwrap().replayed, "kept for a day");
    batches(&rig, 1).await;

    advance(2 * MINUTE).await;
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(worker.step().await.unwrap().done);
    }
    assert_eq!(steps, [500, 500, 200, 0]);
    // What the start of the registry committed bears ids of the machine's clock, not of the test's.
    assert_eq!(rig.count(OLD).await, before);
    let young = rig.count("SELECT count(*) FROM operation").await - before;
    assert_eq!(young, 4, "the youngest batch and those of the three purges stay");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_when_nothing_is_old() {
    let rig = Rig::new().await;
    rig.metadata.fail_next_commit(Fault::UnavailableBefore);
    assert_eq!(PurgeOperations::new(rig.registry.clone()).step().await.unwrap().done, 0);
}
