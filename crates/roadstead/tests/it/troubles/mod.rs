//! Trouble on the way to the bucket and on the way to the database, while clients push and pull through two instances:
//! no wrong byte, nothing acknowledged lost, no upload stuck, and a log that says who failed and why.
//!
//! Of the two instances one is hasty: its timeouts are shorter than the stalls, those of the other are longer.

mod clients;
mod kinds;
mod remains;
mod stand;
mod uploads;

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use roadstead_testkit::servers::{Postgres, s3};
use roadstead_testkit::{Client, Ledger, Seed};

use crate::scale;
use clients::{Load, World};
use kinds::Kind;
use stand::Stand;

/// What worked before works again in this time, once nothing is wrong any more.
const WELL_AGAIN: Duration = Duration::from_secs(30);
/// Clients at a time.
const CLIENTS: u64 = 6;

#[test]
fn no_trouble_with_bucket_or_database_breaks_a_promise() {
    let (Some(bucket), Some(postgres)) = (s3(), Postgres::start(false)) else { return };
    let seed = scale::seed();
    let each = Kind::ALL.len() as u64;
    let rounds = scale::rounds(each, each);
    let (stand, world) = (Stand::start(bucket, postgres, seed), World::default());
    let (mut kinds, mut ledgers) = (BTreeMap::<&str, u64>::new(), Vec::new());
    for number in 0..rounds {
        let seed = seed.derive(number);
        // Each once, and then as it comes.
        let chosen = if number < each { number } else { seed.derive(1).below(each) };
        let kind = Kind::ALL[usize::try_from(chosen).unwrap()];
        *kinds.entry(kind.name()).or_default() += 1;
        ledgers.push(round(&stand, &world, number, kind, seed));
    }
    let images: usize = ledgers.iter().map(Ledger::images).sum();
    let remains = remains::clean(stand);
    ledgers.push(world.finished);
    for ledger in &ledgers {
        assert_eq!(ledger.verify_all(&remains.server.client()), Vec::<String>::new());
    }
    let kinds: Vec<String> = kinds.iter().map(|(name, rounds)| format!("{rounds} {name}")).collect();
    println!("{rounds} rounds: {}", kinds.join(", "));
    println!("{rounds} rounds: {images} images acknowledged, {}, {}", world.counts, remains.told);
}

/// Clients at work, trouble in the midst of it, and what has to hold once it is over. What was acknowledged is the answer.
fn round(stand: &Stand, world: &World, number: u64, kind: Kind, seed: Seed) -> Ledger {
    let (ledger, begin) = (Ledger::default(), Instant::now());
    let printed = stand.printed();
    let (acknowledge, acknowledged) = mpsc::channel();
    let load = Load::new(world, &ledger, stand.addrs(), number, seed);
    let few = |what: &str, count: usize| {
        for _ in 0..count {
            let pushed = acknowledged.recv_timeout(WELL_AGAIN);
            pushed.unwrap_or_else(|_| panic!("round {number}, {}: no push succeeds {what}", kind.name()));
        }
    };
    let lasted = thread::scope(|scope| {
        // Whatever panics here, the clients come to an end.
        let _over = load.ends();
        for who in 0..CLIENTS {
            let (load, acknowledge) = (&load, acknowledge.clone());
            scope.spawn(move || load.work(who, &acknowledge));
        }
        few("before it", 3);
        let lasted = kind.happens(stand, &printed, seed);
        stand.becomes_well(WELL_AGAIN, kind.name());
        acknowledged.try_iter().count();
        few("after it", 3);
        lasted
    });
    let uploads = uploads::settle_all(world, stand.addrs(), seed);
    // The patient one: a machine that is busy may be too slow for the other.
    let [_, patient] = stand.addrs();
    let mut wrong = ledger.verify_all(&Client::new(patient));
    wrong.extend(world.deleted(patient));
    wrong.append(&mut world.complaints.lock().unwrap());
    assert!(wrong.is_empty(), "round {number}, {}:\n{}", kind.name(), wrong.join("\n"));
    let refused = load.refused();
    kind.check(stand, &printed, refused);
    println!(
        "round {number}, {} for {:.1} s, {:.1} s in all: {} images, refused {refused:?}, {uploads}",
        kind.name(),
        lasted.as_secs_f32(),
        begin.elapsed().as_secs_f32(),
        ledger.images(),
    );
    ledger
}
