//! The audit on its way to the store and back, over engines that fail as they are told to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roadstead_metadata::Millis;
use roadstead_registry::Caller;
use roadstead_registry::audit::{Actor, Audit, AuditAction, AuditOutcome, Event, Filter};
use roadstead_storage::{Engine, ErrorKind, Identity, Memory, Operation};
use roadstead_workers::{AuditLog, AuditOptions, AuditRetention, Progress, Scrub, StepError, Worker};
use tokio::time::advance;
use uuid::Uuid;

use crate::audited::{INTERVAL, Process, tags};
use crate::rig::{ME, REPOSITORY, Rig, key_of};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn stored(rig: &Rig) -> Vec<String> {
    rig.objects("eu").await.into_iter().filter(|key| key.starts_with("audit/")).collect()
}

#[tokio::test(start_paused = true)]
async fn events_go_to_the_store_once_they_are_old_and_a_reader_sees_them_before() {
    let rig = Rig::new().await;
    let process = Process::start(&rig, 1).await;
    process.pull("alice", "v1");
    // Not even in the spool.
    assert_eq!(process.tags(&Filter::default()).await, ["v1"]);
    process.spool().await.unwrap();
    assert_eq!(process.upload().await.unwrap(), Progress::IDLE, "young");
    assert!(stored(&rig).await.is_empty());
    advance(INTERVAL).await;
    process.spool().await.unwrap();
    assert_eq!(process.upload().await.unwrap().done, 1);
    assert_eq!(process.spooled().await, 0);
    let keys = stored(&rig).await;
    let expected = format!("audit/2025-06-15/{}/00000000-1750000000000-1750000000000", Uuid::from_u128(1));
    assert_eq!(keys, [expected]);
    let page = process.page(&Filter::default(), 10).await;
    let event = &page.events[0];
    assert_eq!((page.events.len(), page.next), (1, None));
    assert_eq!(
        (&event["actor"], &event["repository"], &event["action"]),
        (&"alice".into(), &REPOSITORY.into(), &"pull".into())
    );
    // At rest nothing is written.
    advance(INTERVAL).await;
    assert_eq!(process.spool().await.unwrap().done, 0);
    assert_eq!((process.spooled().await, stored(&rig).await.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_takes_nothing_events_wait_and_arrive_later() {
    let rig = Rig::new().await;
    let process = Process::start(&rig, 1).await;
    for (round, operation) in [Operation::Writer, Operation::Write, Operation::Finish].into_iter().enumerate() {
        rig.faults.refuse(operation, 1, ErrorKind::Unavailable);
        process.pull("alice", &format!("v{round}"));
        advance(INTERVAL).await;
        process.spool().await.unwrap();
        advance(INTERVAL).await;
        process.spool().await.unwrap();
        let failed = process.upload().await;
        assert!(matches!(&failed, Err(StepError::Storage { location, .. }) if location == "eu"), "{failed:?}");
        assert_eq!(process.spooled().await, 1, "it waits");
        // Pulls are none of its business.
        assert!(rig.registry.manifest(&ME, &REPOSITORY.parse().unwrap(), &"none".parse().unwrap()).await.is_err());
        process.pull("alice", "meanwhile");
        assert_eq!(process.upload().await.unwrap().done, 1);
        process.spool().await.unwrap();
        advance(INTERVAL).await;
        process.spool().await.unwrap();
        assert_eq!(process.upload().await.unwrap().done, 1);
    }
    // An object whose answer was lost is there already.
    rig.faults.forget(Operation::Finish, 1, ErrorKind::Unavailable);
    process.pull("alice", "v3");
    process.log.finish().await.unwrap_err();
    process.log.finish().await.unwrap();
    let expected = ["v3", "meanwhile", "v2", "meanwhile", "v1", "meanwhile", "v0"];
    assert_eq!(process.tags(&Filter::default()).await, expected);
    assert_eq!((process.spooled().await, process.audit.dropped()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_fills_the_spool_is_dropped_counted_and_told() {
    let rig = Rig::new().await;
    let options = AuditOptions { interval: INTERVAL, spool: 1 << 20 };
    let process = Process::over(&rig, 1, Memory::new(), options).await;
    // The store is away, and the memory is emptied each time.
    let mut noted = 0;
    while process.audit.dropped() == 0 {
        for _ in 0..200 {
            // Not alike: those would be gathered.
            process.pull("alice", &format!("v{noted}"));
            noted += 1;
        }
        process.spool().await.unwrap();
        assert!(noted < 20_000, "the spool takes more than it should");
    }
    let dropped = process.audit.dropped();
    assert!(dropped <= 200 && process.log.waiting() <= 1 << 20, "{dropped}");
    advance(INTERVAL).await;
    process.spool().await.unwrap();
    while process.upload().await.unwrap().more {}
    process.upload().await.unwrap();
    process.pull("alice", "after");
    process.log.finish().await.unwrap();
    let told = process.page(&Filter { action: Some("dropped".into()), ..Filter::default() }, 10).await;
    assert_eq!(told.events.len(), 1, "{told:?}");
    assert_eq!((told.events[0]["count"].as_u64(), &told.events[0]["actor_kind"]), (Some(dropped), &"system".into()));
    let mut found = 0;
    let mut filter = Filter { action: Some("pull".into()), ..Filter::default() };
    loop {
        let page = process.page(&filter, 1000).await;
        found += page.events.len() as u64;
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    assert_eq!(found + dropped, noted + 1);
}

#[tokio::test(start_paused = true)]
async fn what_fills_the_memory_is_dropped_counted_and_told() {
    let rig = Rig::new().await;
    let audit = Arc::new(Audit::new(rig.clock.clone()).with_capacity(4096));
    for number in 0..100 {
        let actor = Actor::Claimed(format!("user{number}").into());
        audit.note(Event::new(AuditAction::Login, AuditOutcome::Denied, actor));
    }
    assert!(audit.noted() > 1 && audit.noted() + audit.dropped() == 100);
    let spool = Arc::new(Memory::new());
    let log = AuditLog::open(audit.clone(), rig.registry.clone(), spool, Uuid::from_u128(1), AuditOptions::default());
    let log = log.await.unwrap();
    let page = log.page(&Filter::default(), 1000).await.unwrap();
    let (dropped, logins): (Vec<_>, Vec<_>) = page.events.iter().partition(|event| event["action"] == "dropped");
    assert_eq!((dropped.len(), logins.len() as u64), (1, audit.noted()));
    assert_eq!(dropped[0]["count"].as_u64(), Some(audit.dropped()));
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_fails_loses_nothing_that_was_taken_from_memory() {
    let rig = Rig::new().await;
    let process = Process::start(&rig, 1).await;
    for (round, operation) in [Operation::Append, Operation::Write, Operation::Sync].into_iter().enumerate() {
        process.faults.refuse(operation, 1, ErrorKind::Full);
        process.pull("alice", &format!("v{round}"));
        assert!(process.spool().await.is_err(), "{operation:?}");
        process.spool().await.unwrap();
    }
    // Half of a line, then another segment.
    process.faults.cut_write(1, 100, ErrorKind::Full);
    process.pull("alice", "v3");
    assert!(process.spool().await.is_err());
    process.log.finish().await.unwrap();
    assert_eq!(process.tags(&Filter::default()).await, ["v3", "v2", "v1", "v0"]);
    assert_eq!(process.spooled().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_left_goes_to_the_store_at_the_next_start() {
    let rig = Rig::new().await;
    let process = Process::start(&rig, 1).await;
    process.pull("alice", "v1");
    process.spool().await.unwrap();
    advance(Duration::from_millis(1)).await;
    process.pull("alice", "v2");
    process.spool().await.unwrap();
    // Lost: what no step took to the spool.
    process.pull("alice", "lost");
    let spool = process.spool.clone();
    drop(process);
    // Half of a line is what a write leaves that was cut.
    let key = spool.list("", None, 10).await.unwrap()[0].key.clone();
    let size = spool.stat(&key).await.unwrap().size;
    let mut writer = spool.extend().unwrap().append(&key, size).await.unwrap();
    writer.write(vec![Bytes::from_static(b"{\"id\":\"0197")]).await.unwrap();
    drop(writer);
    let next = Process::over(&rig, 2, spool, AuditOptions::default()).await;
    assert!(next.log.waiting() > size);
    advance(Duration::from_millis(1)).await;
    next.pull("alice", "v3");
    next.spool().await.unwrap();
    assert_eq!(next.upload().await.unwrap().done, 1);
    assert_eq!(next.spooled().await, 1, "its own grows on");
    assert_eq!(stored(&rig).await.len(), 1);
    assert_eq!(next.tags(&Filter::default()).await, ["v3", "v2", "v1"]);
}

#[tokio::test(start_paused = true)]
async fn events_of_two_processes_come_in_the_order_of_their_times_page_by_page() {
    let rig = Rig::new().await;
    let (one, other) = (Process::start(&rig, 1).await, Process::start(&rig, 2).await);
    let mut expected = Vec::new();
    for round in 0..120 {
        let (process, actor) = if round % 3 == 0 { (&one, "alice") } else { (&other, "bob") };
        process.pull(actor, &format!("v{round}"));
        expected.insert(0, format!("v{round}"));
        // Several of the same millisecond, segments that overlap, and several days.
        advance(Duration::from_secs(if round % 2 == 0 { 0 } else { 7 })).await;
        if round % 40 == 39 {
            advance(DAY).await;
        }
        for process in [&one, &other] {
            process.spool().await.unwrap();
            process.upload().await.unwrap();
        }
    }
    one.log.finish().await.unwrap();
    other.log.finish().await.unwrap();
    assert!(stored(&rig).await.len() > 10);
    for size in [1, 7, 120, 1000] {
        let (mut found, mut filter) = (Vec::new(), Filter::default());
        loop {
            let page = one.page(&filter, size).await;
            assert!(page.events.len() <= size);
            let times: Vec<Millis> = page.events.iter().map(|event| event["at"].as_i64().unwrap()).collect();
            assert!(times.is_sorted_by(|a, b| a >= b));
            found.extend(tags(&page));
            match page.next {
                Some(next) => filter.before = Some(next),
                None => break,
            }
        }
        let sorted = |mut tags: Vec<String>| {
            tags.sort();
            tags
        };
        // Within a millisecond the order of two processes is theirs to choose.
        assert_eq!(sorted(found.clone()), sorted(expected.clone()), "{size}");
        assert_eq!(found.len(), 120);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_asked_for_is_found() {
    let rig = Rig::new().await;
    let process = Process::start(&rig, 1).await;
    let start = rig.registry.clock().now();
    for (actor, tag) in [("alice", "v1"), ("bob", "v2"), ("alice", "v3")] {
        process.pull(actor, tag);
        advance(Duration::from_secs(60)).await;
    }
    let mut change = Event::new(AuditAction::Change("grant.put"), AuditOutcome::Ok, Actor::Caller(Caller::Operator));
    change.object = Some("bob".into());
    process.audit.note(change);
    let mut denied = Event::new(AuditAction::Push, AuditOutcome::Denied, Actor::Caller(Caller::Anonymous));
    denied.repository = Some("library/alpine".parse().unwrap());
    process.audit.note(denied);
    process.log.finish().await.unwrap();
    let count = async |filter: Filter| process.page(&filter, 100).await.events.len();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(Filter { actor: text("alice"), ..Filter::default() }).await, 2);
    assert_eq!(count(Filter { actor: text("operator"), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { action: text("grant"), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { action: text("gran"), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { outcome: text("denied"), actor: text("anonymous"), ..Filter::default() }).await, 1);
    for name in ["alpine", "library/alpine"] {
        assert_eq!(count(Filter::default().within(&name.parse().unwrap())).await, 1, "{name}");
    }
    assert_eq!(
        process.tags(&Filter { since: Some(start + 60_000), action: text("pull"), ..Filter::default() }).await,
        ["v3", "v2"]
    );
    assert_eq!(process.tags(&Filter { until: Some(start + 60_000), ..Filter::default() }).await, ["v1"]);
    assert_eq!(process.tags(&Filter { since: Some(start), until: Some(start), ..Filter::default() }).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_request_is_told_by_its_number() {
    let rig = Rig::new().await;
    let process = Process::start(&rig, 1).await;
    for _ in 0..10 {
        process.pull("bob", "v2");
    }
    for _ in 0..5000 {
        process.pull("alice", "v1");
    }
    let page = process.page(&Filter::default(), 1000).await;
    let of = |actor: &str| page.events.iter().filter(|event| event["actor"] == actor).collect::<Vec<_>>();
    assert_eq!(of("bob").len(), 10);
    let counted: u64 = of("alice").iter().map(|event| event["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!((of("alice").len(), counted), (17, 5000));
    // Nor by asking for something else each time.
    for number in 0..5000 {
        let mut event = Event::new(AuditAction::Pull, AuditOutcome::Failed, Actor::Caller(Caller::Anonymous));
        event.tag = Some(format!("v{number}").parse().unwrap());
        process.audit.note(event);
    }
    let page = process.page(&Filter { outcome: Some("failed".into()), ..Filter::default() }, 1000).await;
    let counted: u64 = page.events.iter().map(|event| event["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!((page.events.len(), counted), (217, 5000));
}

#[tokio::test(start_paused = true)]
async fn days_that_are_over_for_long_enough_go_and_nothing_else() {
    let rig = Rig::new().await;
    let process = Process::start(&rig, 1).await;
    rig.put("eu", "blobs/sha256/aa/left").await;
    rig.put("eu", "audit/not-a-day/x/1").await;
    for day in 0..4 {
        process.pull("alice", &format!("v{day}"));
        process.log.finish().await.unwrap();
        advance(DAY).await;
    }
    let retention = AuditRetention::new(rig.registry.clone(), 2 * DAY);
    assert_eq!(retention.step().await.unwrap().done, 0, "the clock has not been watched");
    advance(Duration::from_secs(600)).await;
    assert_eq!(retention.step().await.unwrap().done, 2);
    assert_eq!(process.tags(&Filter::default()).await, ["v3", "v2"]);
    assert_eq!(rig.objects("eu").await.len(), 4);
    // Somebody sets the clock.
    rig.clock.jump(100 * 86_400_000);
    assert_eq!(retention.step().await.unwrap().done, 0);
    assert_eq!(stored(&rig).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn scrub_and_collector_leave_the_audit_alone() {
    let rig = Rig::new().await;
    for location in rig.registry.locations().iter() {
        let identity = Identity::new(Uuid::from_u128(9), location.id);
        Identity::claim(&*location.engine, &identity).await.unwrap();
    }
    let process = Process::start(&rig, 1).await;
    process.pull("alice", "v1");
    process.log.finish().await.unwrap();
    rig.put("eu", &format!("blobs/sha256/aa/{}/{}", "aa".repeat(32), Uuid::now_v7())).await;
    let scrub = Scrub::new(rig.registry.clone());
    scrub.begin(true, None).await.unwrap();
    for _ in 0..50 {
        scrub.step().await.unwrap();
        advance(Duration::from_secs(5)).await;
    }
    assert_eq!(rig.count("SELECT COUNT(*) FROM damage").await, 1, "what is really nobody's was seen");
    assert_eq!(rig.count("SELECT COUNT(*) FROM damage WHERE object_key LIKE 'audit/%'").await, 0);
    assert_eq!(stored(&rig).await.len(), 1);
    assert!(rig.location("eu").engine.stat(&key_of(&stored(&rig).await[0])).await.is_ok());
}
