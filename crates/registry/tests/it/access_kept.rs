//! What is known about access, kept in memory: how soon a change is noticed, and what an outage does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use roadstead_metadata::Statement;
use roadstead_metadata::records::access::Access;
use roadstead_metadata::records::grant::{self, Grantee, Object};
use roadstead_metadata::records::{account, organization, repository as records, team};
use roadstead_oci::{Algorithm, Page};
use roadstead_registry::{Action, Caller, Error, Policy};
use uuid::Uuid;

use crate::access::{ACME, ALICE, APP, BOB, DEV, OUTAGE, ROOT, acme, commit, dev, instance, repository, user};
use crate::rig::name;

/// Whatever is taken from somebody, another instance refuses within a second, and this one at once.
#[tokio::test]
async fn what_was_revoked_is_refused_within_a_second_on_another_instance() {
    let (rig, digest) = acme().await;
    let (here, there) = (instance(&rig).await, instance(&rig).await);
    let bob = user(BOB);
    let takings: Vec<(&str, Vec<Statement>, Vec<Statement>)> = vec![
        (
            "the grant",
            grant::remove(Object::Repository(APP), DEV).into(),
            grant::put(Object::Repository(APP), Grantee::Team(DEV), Access::ReadWrite, 5),
        ),
        ("the membership", team::remove_member(DEV, BOB).into(), team::put_member(&dev(), BOB, 5).into()),
        (
            "the user's life",
            account::set_power(BOB, Some(false), Some(false)).into(),
            account::set_power(BOB, Some(false), Some(true)).into(),
        ),
        ("the organization", organization::remove_member(ACME, BOB).into(), team::put_member(&dev(), BOB, 5).into()),
    ];
    for (what, take, give) in takings {
        assert_eq!(here.pulls(&bob, &digest).await.unwrap(), 6, "{what}");
        assert_eq!(there.pulls(&bob, &digest).await.unwrap(), 6, "{what}");
        commit(&rig, take).await;
        here.policy.changed();
        let refused = here.pulls(&bob, &digest).await;
        assert!(matches!(refused, Err(Error::NameUnknown(_) | Error::Unauthorized)), "{what}: {refused:?}");
        // Before the second is over: an answer takes its time, too.
        rig.clock.advance(Duration::from_millis(900));
        let refused = there.pulls(&bob, &digest).await;
        assert!(matches!(refused, Err(Error::NameUnknown(_) | Error::Unauthorized)), "{what}: {refused:?}");
        commit(&rig, give).await;
        rig.clock.advance(Duration::from_secs(1));
    }
}

/// An answer that was on its way when this process changed something does not count as the newest.
#[tokio::test]
async fn a_change_holds_at_once_though_the_revision_was_just_asked_for() {
    let (rig, digest) = acme().await;
    let instance = instance(&rig).await;
    instance.pulls(&user(BOB), &digest).await.unwrap();
    rig.clock.advance(Duration::from_secs(1));
    instance.sql.held.store(true, Ordering::SeqCst);
    let bob = user(BOB);
    let pulls = instance.pulls(&bob, &digest);
    futures::pin_mut!(pulls);
    while !instance.sql.waits.load(Ordering::SeqCst) {
        assert!(futures::poll!(&mut pulls).is_pending());
    }
    commit(&rig, team::remove_member(DEV, BOB)).await;
    instance.policy.changed();
    instance.sql.held.store(false, Ordering::SeqCst);
    instance.sql.let_go.notify_one();
    // What began before may be either.
    drop(pulls.await);
    let refused = instance.pulls(&user(BOB), &digest).await;
    assert!(matches!(refused, Err(Error::NameUnknown(_))), "{refused:?}");
}

/// Of many pulls in a second none asks about access, however many callers and whoever changes what concerns nobody.
#[tokio::test]
async fn a_pull_asks_metadata_nothing_about_access() {
    let (rig, digest) = acme().await;
    let instance = instance(&rig).await;
    for caller in [user(BOB), user(ALICE)] {
        instance.pulls(&caller, &digest).await.unwrap();
    }
    let before = instance.asked();
    assert!(before <= 3, "the revision once and the facts of two: {before}");
    for _ in 0..100 {
        instance.pulls(&user(BOB), &digest).await.unwrap();
        instance.pulls(&user(ALICE), &digest).await.unwrap();
    }
    assert_eq!(instance.asked(), before);
    // A second later the revision is asked for, once for all, and it has not changed.
    rig.push("acme/app", b"a push changes nothing").await;
    rig.clock.advance(Duration::from_secs(1));
    let many = (0..20).map(|_| {
        let (registry, caller) = (instance.registry.clone(), user(BOB));
        tokio::spawn(async move { registry.blob_stat(&caller, &name("acme/app"), &digest).await.unwrap() })
    });
    for pull in many.collect::<Vec<_>>() {
        pull.await.unwrap();
    }
    assert_eq!(instance.asked(), before + 1);
}

/// A private repository costs whoever may not read it what one costs that is not there, however often it is asked for; and
/// what is given holds at once.
#[tokio::test]
async fn a_refusal_costs_what_an_absent_repository_costs() {
    let (rig, _) = acme().await;
    let instance = instance(&rig).await;
    let eve = Uuid::from_u128(150);
    commit(&rig, account::create(eve, "eve", None, false, 5)).await;
    for caller in [user(eve), Caller::Anonymous] {
        let mut costs = Vec::new();
        for repository in ["acme/app", "acme/none", "acme/app", "none/none", "acme/app"] {
            let before = instance.asked();
            instance.registry.tags(&caller, &name(repository), &Default::default()).await.unwrap_err();
            costs.push(instance.asked() - before);
        }
        assert_eq!(costs[1..], [2, 2, 2, 2], "{caller:?}");
    }
    commit(&rig, grant::put(Object::Repository(APP), Grantee::User(eve), Access::ReadOnly, 5)).await;
    instance.registry.tags(&user(eve), &name("acme/app"), &Default::default()).await.unwrap();
}

/// While the newest cannot be had, what is known serves pulls for a time and nothing else; then only what is public.
#[tokio::test]
async fn an_outage_is_bridged_for_a_time() {
    let (rig, digest) = acme().await;
    repository(&rig, Uuid::from_u128(120), ACME, "acme/open", true).await;
    rig.push("acme/open", b"secret").await;
    let instance = instance(&rig).await;
    let pull = async |caller: Caller| instance.registry.open_blob(&caller, &name("acme/app"), &digest).await.map(drop);
    pull(user(BOB)).await.unwrap();
    instance.sql.away.store(true, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(2));
    pull(user(BOB)).await.unwrap();
    // Somebody whose facts are not kept is known at hand, or not at all.
    pull(user(ALICE)).await.unwrap();
    assert!(matches!(pull(Caller::Anonymous).await, Err(Error::Unauthorized)));
    instance.sql.lags.store(true, Ordering::SeqCst);
    let decided = instance.policy.decide(&user(ROOT), Action::Pull, &name("acme/app")).await;
    assert!(matches!(decided, Err(Error::Unavailable { component: "metadata", .. })), "{decided:?}");
    instance.sql.lags.store(false, Ordering::SeqCst);
    let digest_in = async |repository: &str, caller: Caller| {
        instance.registry.open_blob(&caller, &name(repository), &digest).await.map(drop)
    };
    let push = instance.registry.start_upload(&user(BOB), &name("acme/app"), Algorithm::Sha256).await;
    assert!(matches!(push, Err(Error::Unavailable { component: "metadata", .. })), "{push:?}");
    rig.clock.advance(OUTAGE - Duration::from_secs(2));
    pull(user(BOB)).await.unwrap();
    rig.clock.advance(Duration::from_secs(1));
    assert!(matches!(pull(user(BOB)).await, Err(Error::Unavailable { component: "metadata", .. })));
    digest_in("acme/open", user(BOB)).await.unwrap();
    digest_in("acme/open", Caller::Anonymous).await.unwrap();
    instance.sql.away.store(false, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(1));
    pull(user(BOB)).await.unwrap();
}

/// What was heard to have changed is not served from before, though the change itself cannot be asked for.
#[tokio::test]
async fn facts_from_before_a_known_change_serve_nothing() {
    let (rig, digest) = acme().await;
    let instance = instance(&rig).await;
    instance.pulls(&user(BOB), &digest).await.unwrap();
    commit(&rig, team::remove_member(DEV, BOB)).await;
    rig.clock.advance(Duration::from_secs(1));
    instance.pulls(&user(ALICE), &digest).await.unwrap();
    instance.sql.away.store(true, Ordering::SeqCst);
    instance.sql.lags.store(true, Ordering::SeqCst);
    rig.clock.advance(Duration::from_secs(2));
    let decided = instance.policy.decide(&user(BOB), Action::Pull, &name("acme/app")).await;
    assert!(matches!(decided, Err(Error::Unavailable { .. })), "{decided:?}");
    instance.policy.decide(&user(ALICE), Action::Pull, &name("acme/app")).await.unwrap();
}

/// A catalog from a standby shows nobody what this instance knows to have been taken from it.
#[tokio::test]
async fn an_older_standby_lists_nothing_that_was_taken() {
    let ((rig, _), (old, _)) = (acme().await, acme().await);
    for rig in [&rig, &old] {
        repository(rig, Uuid::from_u128(160), ACME, "acme/open", true).await;
        commit(rig, records::set(Uuid::from_u128(160), Some(true), Some(false))).await;
    }
    let there = instance(&rig).await;
    there.sql.standby.set(old.sql.clone()).unwrap();
    let lists = async |caller: Caller| Ok::<_, Error>(there.registry.catalog(&caller, &Page::default()).await?.names);
    let away = |away| there.sql.away.store(away, Ordering::SeqCst);
    let who = || [user(BOB), Caller::Anonymous];
    let seen = [["acme/app", "acme/open"].to_vec(), ["acme/open"].to_vec()];
    for without in [false, true] {
        away(without);
        for (caller, seen) in who().into_iter().zip(&seen) {
            assert_eq!(lists(caller).await.unwrap(), *seen, "as old as what is known");
        }
    }
    away(false);
    let taken = || {
        let grant = grant::remove(Object::Repository(APP), DEV).into_iter();
        grant.chain(records::set(Uuid::from_u128(160), Some(false), Some(false)))
    };
    commit(&rig, taken()).await;
    there.policy.changed();
    for caller in who() {
        assert_eq!(lists(caller).await.unwrap(), Vec::<String>::new());
    }
    lists(user(ROOT)).await.unwrap();
    away(true);
    for caller in who() {
        let refused = lists(caller).await;
        assert!(matches!(refused, Err(Error::Unavailable { component: "metadata", .. })), "{refused:?}");
    }
    assert_eq!(lists(user(ROOT)).await.unwrap(), ["acme/app", "acme/open"], "who sees everything");
    commit(&old, taken()).await;
    for caller in who() {
        assert_eq!(lists(caller).await.unwrap(), Vec::<String>::new(), "the standby has heard of it");
    }
}
