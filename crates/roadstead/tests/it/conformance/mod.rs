//! Our own conformance suite: the requirements of the OCI distribution specification 1.1, one named clause each,
//! written from its text, against a server that is only known by its address.
//!
//! `ROADSTEAD_TEST_URL=http://HOST:PORT` points it at any registry; otherwise one is started. The number of clauses
//! is asserted, so that none can be lost unnoticed. A clause beyond the specification, for what we promise in
//! addition, has a name that begins with `ours_`.

mod blobs;
mod chunks;
mod digests;
mod errors;
mod manifests;
mod mounts;
mod referrers;
mod subject;
mod tag_parameter;
mod tags;
mod uploads;

use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};

use roadstead_testkit::Server;
use roadstead_testkit::servers::{database, minio, s3};
use subject::Subject;

use crate::{postgres, s3 as bucket, scale};

/// What a clause answers: nothing, or what the server did instead.
type Verdict = Result<(), String>;

/// One requirement.
struct Clause {
    /// The endpoint of the specification's table, or the section.
    part: &'static str,
    name: &'static str,
    check: fn(&Subject) -> Verdict,
}

/// A module's clauses, each the name of a function with the part of the specification that it is of.
macro_rules! clauses {
    ($($part:literal: $($name:ident),+;)+) => {
        pub(super) const CLAUSES: &[super::Clause] =
            &[$($(super::Clause { part: $part, name: stringify!($name), check: $name }),+),+];
    };
}
use clauses;

fn all() -> impl Iterator<Item = &'static Clause> {
    let modules = [
        errors::CLAUSES,
        blobs::CLAUSES,
        uploads::CLAUSES,
        chunks::CLAUSES,
        digests::CLAUSES,
        mounts::CLAUSES,
        manifests::CLAUSES,
        tag_parameter::CLAUSES,
        tags::CLAUSES,
        referrers::CLAUSES,
    ];
    modules.into_iter().flatten()
}

const COUNT: usize = 167;

#[test]
fn every_clause_of_the_specification_holds() {
    let (addr, _server) = server();
    assert_eq!(hold(addr, None, &[]), COUNT, "the number of clauses changed; change it here too");
}

#[test]
fn every_clause_holds_with_blobs_in_a_bucket() {
    // The server keeps an object's metadata in a file whose name encodes the key, and one of a sha512 digest is too long.
    const TOO_LONG: &[&str] = &[
        "sha512_in_one_piece",
        "sha512_by_single_post",
        "sha512_in_chunks",
        "sha512_layers_may_be_named",
        "one_blob_under_both_algorithms",
    ];
    let Some(bucket) = s3() else { return };
    let server = bucket::launch(&bucket).start();
    assert_eq!(hold(server.addr(), None, TOO_LONG), COUNT - TOO_LONG.len());
}

#[test]
fn every_clause_holds_with_metadata_in_postgresql() {
    let Some(database) = database() else { return };
    let server = postgres::launch(&database).start();
    assert_eq!(hold(server.addr(), None, &[]), COUNT);
}

#[test]
fn every_clause_holds_on_postgresql_and_a_bucket() {
    let (Some(database), Some(bucket)) = (database(), minio()) else { return };
    let server = bucket::with_blobs_in(postgres::launch(&database), &bucket).start();
    assert_eq!(hold(server.addr(), None, &[]), COUNT);
}

#[test]
fn every_clause_holds_for_somebody_who_has_to_log_in() {
    let password = "correct horse";
    let launch = scale::launch().set("ROADSTEAD_AUTH__ENABLED", "true").set("ROADSTEAD_ADMIN_PASSWORD", password);
    let server = launch.start();
    assert_eq!(hold(server.addr(), Some(("admin", password)), &[]), COUNT);
}

/// Checks every clause but those named, as this user with its password. How many held.
fn hold(addr: SocketAddr, user: Option<(&str, &str)>, but: &[&str]) -> usize {
    let seed = scale::seed();
    let (mut passed, mut failed) = (0, Vec::new());
    for clause in all().filter(|clause| !but.contains(&clause.name)) {
        let subject = Subject::new(addr, user, seed, clause.name);
        let verdict = catch_unwind(AssertUnwindSafe(|| (clause.check)(&subject)))
            .unwrap_or_else(|_| Err("the clause panicked; its text stands above".to_owned()));
        match verdict {
            Ok(()) => passed += 1,
            Err(text) => failed.push(format!("{} {}: {text}", clause.part, clause.name)),
        }
    }
    println!("conformance: {passed} passed, {} failed", failed.len());
    failed.iter().for_each(|line| println!("FAILED {line}"));
    assert!(failed.is_empty(), "{} clauses failed; they are listed above", failed.len());
    passed
}

fn server() -> (SocketAddr, Option<Server>) {
    match std::env::var("ROADSTEAD_TEST_URL") {
        Ok(url) => {
            let host = url.trim_start_matches("http://").trim_end_matches('/');
            let addr = host.to_socket_addrs().expect("ROADSTEAD_TEST_URL").next().expect("an address");
            (addr, None)
        }
        Err(_) => {
            let server = scale::launch().start();
            (server.addr(), Some(server))
        }
    }
}
