//! Clauses on the records of the background work, over the product's own schema: what scrub finds, how far it came, what
//! nothing holds any more. Each runs every statement of its record.

use std::sync::Arc;

use roadstead_oci::{Algorithm, Digest};
use uuid::Uuid;

use super::{AT, assert_conflict, batch, commit, number};
use crate::records::damage::{self, Kind};
use crate::records::location::{self, LocationRecord};
use crate::records::manifest::{self, ManifestStat, NewManifest};
use crate::records::placement::{self, Placement};
use crate::records::scrub::{self, Hashing, Phase};
use crate::records::{blob, collect, preview, reap, repository, setting, tag, untagged};
use crate::schema::MIGRATIONS;
use crate::{Millis, Sql, Statement, migrate};

pub(super) const LOCATION: Uuid = Uuid::from_u128(1);
pub(super) const REPOSITORY: Uuid = Uuid::from_u128(2);
pub(super) const NAME: &str = "team/app";
/// Of pages, so small that several are needed.
const FEW: i64 = 2;

/// The schema, with a location and a repository.
pub(super) async fn prepare(sql: &dyn Sql) {
    migrate(sql, MIGRATIONS, AT).await.unwrap();
    let record = LocationRecord { id: LOCATION, name: "main".to_owned(), replica: 0 };
    let made = repository::create(REPOSITORY, Uuid::from_u128(3), NAME, AT);
    commit(sql, [location::add(&record, AT)].into_iter().chain(made)).await;
}

pub(super) fn digest(number: u64) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_be_bytes())
}

pub(super) fn copy(number: u64, generation: u64) -> Placement {
    let digest = digest(number);
    let object_key = format!("blobs/sha256/{}-{generation:08}", digest.hex());
    Placement { digest, location: LOCATION, object_key, size: 8 }
}

/// A push of a blob.
pub(super) fn push(copy: &Placement, at: Millis) -> Vec<Statement> {
    let mut statements = vec![blob::arrive(&copy.digest, copy.size, at)];
    statements.extend(placement::put(copy, at));
    statements.push(blob::link(REPOSITORY, &copy.digest));
    statements
}

/// A push of a manifest that names blobs and other manifests.
pub(super) fn put(named: u64, blobs: &[Digest], children: &[Digest], untagged_since: Option<Millis>) -> Vec<Statement> {
    let stat = ManifestStat { digest: digest(named), media_type: "x/y".to_owned(), size: 2, untagged_since };
    let new = NewManifest { repository: REPOSITORY, stat: &stat, subject: None, blobs, children };
    [manifest::put_content(&stat.digest, b"{}")].into_iter().chain(manifest::put(&new, AT)).collect()
}

/// An object that is bad loses its placement and keeps its row until its blob has another copy; then the reaper has it.
pub async fn what_scrub_finds_is_recorded_and_heals(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let bad = copy(1, 1);
    commit(sql, push(&bad, AT)).await;
    commit(sql, damage::quarantine(&bad, Kind::WrongHash, AT)).await;
    assert_conflict(sql.commit(batch(damage::quarantine(&bad, Kind::WrongHash, AT))).await);
    assert_eq!(number(sql, "SELECT count(*) FROM owed", []).await, 1);
    assert!(placement::here(sql, LOCATION, &bad.digest).await.unwrap().is_none());
    let found = damage::page(sql, LOCATION, "", FEW).await.unwrap();
    assert_eq!((found.len(), found[0].kind, &found[0].object_key), (1, Kind::WrongHash, &bad.object_key));
    assert!(manifest::had(sql, NAME, &[], &[bad.digest]).await.unwrap().blobs.is_empty());
    assert_eq!(blob::linked(sql, REPOSITORY, &[bad.digest]).await.unwrap(), [(bad.digest, 8)]);

    // It is back, and bad again; then a push takes its place.
    assert_eq!(damage::unhealed(sql, LOCATION, "", AT, FEW).await.unwrap()[0].object.object_key, bad.object_key);
    assert!(damage::healed(sql, LOCATION, "", FEW).await.unwrap().is_empty());
    commit(sql, damage::adopt(&bad, AT)).await;
    assert_conflict(sql.commit(batch(damage::adopt(&bad, AT))).await);
    assert_eq!(placement::page(sql, LOCATION, "", FEW).await.unwrap().len(), 1);
    assert_eq!(number(sql, "SELECT count(*) FROM owed", []).await, 0);
    commit(sql, damage::quarantine(&bad, Kind::Missing, AT)).await;
    let good = copy(1, 2);
    commit(sql, damage::replace(&good, AT)).await;
    assert_conflict(sql.commit(batch(damage::replace(&copy(1, 3), AT))).await);
    let healed = damage::healed(sql, LOCATION, "", FEW).await.unwrap();
    assert_eq!(healed[0].by.as_ref().map(|by| &by.object_key), Some(&good.object_key));
    commit(sql, damage::settle(LOCATION, std::slice::from_ref(&bad.object_key), AT)).await;
    assert_eq!(reap::due(sql, LOCATION, AT, FEW).await.unwrap().len(), 1);
    assert_eq!(damage::counts(sql, LOCATION).await.unwrap(), []);

    // What cannot be read keeps its placement.
    commit(sql, [damage::record(&good, Kind::Unreadable, AT)]).await;
    assert_eq!(damage::counts(sql, LOCATION).await.unwrap(), [(Kind::Unreadable, 1)]);
    assert_eq!(placement::count(sql, LOCATION).await.unwrap(), 1);
    commit(sql, [damage::forget_unreadable(LOCATION)]).await;
    assert_eq!(damage::counts(sql, LOCATION).await.unwrap(), []);
}

/// An object that nothing names is noted once, kept when a push names it, and no push names it once it was reaped.
pub async fn an_orphan_is_a_pushs_or_the_reapers(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let [kept, gone, nameless] = [copy(1, 1), copy(2, 1), Placement { object_key: "blobs/x".to_owned(), ..copy(3, 1) }];
    let keys = [&kept, &gone, &nameless].map(|copy| copy.object_key.clone());
    let note = |copy: &Placement, digest, at| damage::note(LOCATION, &copy.object_key, digest, at);
    for at in [AT, AT + 1] {
        let notes =
            [note(&kept, Some(&kept.digest), at), note(&gone, Some(&gone.digest), at), note(&nameless, None, at)];
        commit(sql, notes).await;
    }
    assert_eq!(damage::known(sql, LOCATION, &keys, AT).await.unwrap().len(), 3);
    assert_eq!(damage::known(sql, LOCATION, &keys, AT - 1).await.unwrap().len(), 0, "noted by a later clock");
    assert_eq!(damage::orphans(sql, LOCATION).await.unwrap(), 2);
    assert_eq!(damage::due(sql, LOCATION, AT - 1, 9).await.unwrap().len(), 0);
    assert_eq!(damage::due(sql, LOCATION, AT, 9).await.unwrap().len(), 2);
    commit(sql, push(&kept, AT)).await;
    assert_eq!(damage::pushed(sql, LOCATION, 9).await.unwrap(), std::slice::from_ref(&kept.object_key));

    commit(sql, damage::reap_orphans(LOCATION, &keys, AT, AT + 5)).await;
    assert_eq!(damage::of_kind(sql, LOCATION, Kind::Reaped, AT + 5, 9).await.unwrap().len(), 2);
    assert_eq!(placement::here(sql, LOCATION, &kept.digest).await.unwrap().unwrap().object_key, kept.object_key);
    assert_conflict(sql.commit(batch(push(&gone, AT))).await);
    commit(sql, [damage::forget(LOCATION, std::slice::from_ref(&kept.object_key), Kind::Orphan)]).await;
    assert_eq!(damage::counts(sql, LOCATION).await.unwrap(), [(Kind::Reaped, 2)]);

    let other = note(&Placement { object_key: "blobs/y".to_owned(), ..nameless }, None, AT);
    commit(sql, [other]).await;
    commit(sql, [damage::forget_nameless(LOCATION)]).await;
    assert_eq!(damage::counts(sql, LOCATION).await.unwrap(), [(Kind::Reaped, 2)]);
}

/// Of two that save the same step of a run, one does; and a setting is what was put last.
pub async fn a_run_of_scrub_is_saved_by_one(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    assert!(scrub::get(sql, Uuid::from_u128(9)).await.unwrap().is_none());
    assert!(scrub::get(sql, LOCATION).await.unwrap().unwrap().last.is_none());
    commit(sql, scrub::begin(LOCATION, Uuid::from_u128(7), true, Some(1 << 20), true, AT)).await;
    assert_conflict(sql.commit(batch(scrub::begin(LOCATION, Uuid::from_u128(8), false, None, false, AT))).await);
    let mut run = scrub::get(sql, LOCATION).await.unwrap().unwrap().running().unwrap().clone();
    assert_eq!((run.run, run.deep, run.rate, run.by_hand), (Uuid::from_u128(7), true, Some(1 << 20), true));
    (run.phase, run.after) = (Phase::Placements, "blobs/a".to_owned());
    run.hashing = Some(Hashing { object_key: "blobs/b".to_owned(), again: true, state: vec![1, 0, 255] });
    (run.counts.objects, run.counts.repaired) = (3, 1);
    commit(sql, scrub::save(LOCATION, &run, AT + 1)).await;
    assert_conflict(sql.commit(batch(scrub::save(LOCATION, &run, AT + 1))).await);
    let saved = scrub::get(sql, LOCATION).await.unwrap().unwrap().last.unwrap();
    (run.step, run.updated_at) = (run.step + 1, AT + 1);
    assert_eq!(saved, run);
    commit(sql, [scrub::stop(LOCATION, AT + 2)]).await;
    let stopped = scrub::get(sql, LOCATION).await.unwrap().unwrap().last.unwrap();
    assert!(stopped.stopped && stopped.ended_at == Some(AT + 2));
    assert_conflict(sql.commit(batch(scrub::save(LOCATION, &stopped, AT + 3))).await);
    commit(sql, scrub::begin(LOCATION, Uuid::from_u128(8), false, None, false, AT)).await;

    commit(sql, [setting::add("s", "one", AT), setting::add("s", "two", AT)]).await;
    assert_eq!(setting::get(sql, "s").await.unwrap().as_deref(), Some("one"));
    commit(sql, [setting::put("s", "two", AT), setting::put("t", "three", AT)]).await;
    assert_eq!(setting::get(sql, "s").await.unwrap().as_deref(), Some("two"));
}

/// Manifests that nothing holds are found and go; what they alone held is due next, and a preview tells of it before.
pub async fn what_nothing_holds_is_told_and_goes(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let layers: Vec<Digest> = (1..=3).map(digest).collect();
    for number in 1..=3 {
        commit(sql, push(&copy(number, 1), AT)).await;
    }
    // 20 is an index over 10 and 11; 12 is tagged; 13 is held by nothing.
    for (number, layer) in [(10, 0), (11, 0), (12, 1), (13, 2)] {
        commit(sql, put(number, &layers[layer..=layer], &[], Some(AT))).await;
    }
    commit(sql, put(20, &[], &[digest(10), digest(11)], Some(AT))).await;
    let name = "v1".parse().unwrap();
    commit(sql, tag::set(REPOSITORY, [&name], &digest(12), AT)).await;
    assert_conflict(sql.commit(batch(put(21, &[digest(99)], &[], Some(AT)))).await);

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = untagged::candidates(sql, AT, after.as_ref(), FEW).await.unwrap();
        seen.extend(page.iter().map(|manifest| manifest.digest));
        after = page.last().cloned();
        if (page.len() as i64) < FEW {
            break;
        }
    }
    assert!([10, 11, 13, 20].iter().all(|number| seen.contains(&digest(*number))), "{seen:?}");
    let mut unheld = untagged::unheld(sql, REPOSITORY, &seen).await.unwrap();
    let mut expected = vec![digest(13), digest(20)];
    unheld.sort();
    expected.sort();
    assert_eq!(unheld, expected);
    commit(sql, untagged::rely(REPOSITORY, &digest(13), AT + 1)).await;
    commit(sql, untagged::remove(REPOSITORY, &seen, AT, AT)).await;
    let left = manifest::had(sql, NAME, &(10..=20).map(digest).collect::<Vec<_>>(), &[]).await.unwrap().manifests;
    assert_eq!(left.len(), 4, "only the index is gone: of it lived two, one is tagged, one a push relies on");
    commit(sql, untagged::remove(REPOSITORY, &seen, AT + 1, AT + 1)).await;
    let left = manifest::had(sql, NAME, &(10..=20).map(digest).collect::<Vec<_>>(), &[]).await.unwrap().manifests;
    assert_eq!(left, [digest(12)]);

    let (mut candidates, mut from) = (Vec::new(), Some(preview::Cursor::default()));
    while let Some(cursor) = from {
        let (page, next) = preview::page(sql, AT + 1, cursor, 1).await.unwrap();
        candidates.extend(page.into_iter().map(|candidate| candidate.digest));
        from = next;
    }
    let mut expected = vec![layers[0], layers[2]];
    candidates.sort();
    expected.sort();
    assert_eq!(candidates, expected);
    assert_eq!(collect::waiting(sql, AT + 1).await.unwrap().count, 2);
    let unused: Vec<Digest> = collect::unused(sql, AT + 1, 9).await.unwrap().iter().map(|link| link.digest).collect();
    commit(sql, collect::unlink(REPOSITORY, &unused, AT + 1)).await;
    let doomed: Vec<Digest> = collect::doomed(sql, AT + 1, 9).await.unwrap().iter().map(|blob| blob.digest).collect();
    assert_eq!(doomed.len(), 2);
    commit(sql, collect::remove(&doomed, AT + 1, AT + 1)).await;
    assert_eq!(reap::due(sql, LOCATION, AT + 1, 9).await.unwrap().len(), 2);
    assert_eq!(manifest::had(sql, NAME, &[], &layers).await.unwrap().blobs, [(layers[1], 8)]);
}
