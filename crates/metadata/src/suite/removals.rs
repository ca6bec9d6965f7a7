//! Clauses on the removal of a repository.

use std::sync::Arc;

use uuid::Uuid;

use super::bookkeeping::{LOCATION, NAME, REPOSITORY, copy, digest, prepare, push, put};
use super::identities::refused;
use super::races::both;
use super::{AT, ask, commit, number, say};
use crate::records::access::{self, Access, Asked, Subject};
use crate::records::grant::{self, Grantee, Object};
use crate::records::removal::{self, Removing};
use crate::records::upload::{self, UploadRecord};
use crate::records::visible::{self, Range, Viewer};
use crate::records::{account, blob, collect, manifest, organization, referrer, repository, tag};
use crate::{Freshness, Millis, Sql, Statement};

const BOB: Uuid = Uuid::from_u128(60);
const EVE: Uuid = Uuid::from_u128(61);

/// The id of a removal at a time.
fn at(time: Millis) -> Uuid {
    let (seconds, millis) = (time as u64 / 1000, (time % 1000) as u32);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, millis * 1_000_000))
}

fn session(id: u128, created_at: Millis) -> UploadRecord {
    UploadRecord {
        id: Uuid::from_u128(id),
        repository: NAME.to_owned(),
        location: LOCATION,
        epoch: 0,
        received: 0,
        hash_state: vec![1],
        parts: Vec::new(),
        created_at,
        updated_at: created_at,
        closed_at: None,
    }
}

/// A repository with some of all that there can be in one, and somebody with access to it.
async fn furnish(sql: &dyn Sql) {
    prepare(sql).await;
    commit(sql, account::create(BOB, "bob", None, false, AT)).await;
    commit(sql, account::create(EVE, "eve", None, true, AT)).await;
    commit(sql, organization::create(Uuid::from_u128(62), "team", Some(EVE), AT)).await;
    commit(sql, grant::put(Object::Repository(REPOSITORY), Grantee::User(BOB), Access::ReadWrite, AT)).await;
    for number in 1..=3 {
        commit(sql, push(&copy(number, 1), AT)).await;
    }
    commit(sql, put(4, &[digest(1), digest(2)], &[], None)).await;
    commit(sql, put(5, &[], &[digest(4)], None)).await;
    let subject = referrer::add(REPOSITORY, &digest(4), &digest(5), "a/b", "{}");
    let tags = ["a", "b"].map(|name| name.parse().unwrap());
    commit(sql, [subject].into_iter().chain(tag::set(REPOSITORY, &tags, &digest(4), AT))).await;
    commit(sql, tag::set(REPOSITORY, &tags[..1], &digest(5), AT)).await;
    commit(sql, tag::delete(REPOSITORY, &tags[1], AT)).await;
    commit(sql, [upload::create(&session(70, AT)), upload::create(&session(71, AT + 2))]).await;
}

/// Takes all parts of a removed repository; how many.
async fn take(sql: &dyn Sql, removing: &Removing, now: Millis) -> usize {
    for number in 1.. {
        let part = removal::part(sql, removing, now).await.unwrap();
        commit(sql, part.statements).await;
        if part.last {
            return number;
        }
    }
    unreachable!()
}

/// From one commit on a repository is gone for everybody, and its name and its namespace are free; then goes what it held.
pub async fn a_removed_repository_goes_in_parts(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    furnish(sql).await;
    let (before, now) = (access::revision(sql).await.unwrap(), AT + 1);
    refused(sql, removal::remove(REPOSITORY, "team/other", at(now), now)).await;
    assert_eq!(removal::next(sql).await.unwrap(), None);
    commit(sql, removal::remove(REPOSITORY, NAME, at(now), now)).await;
    refused(sql, removal::remove(REPOSITORY, NAME, at(now), now)).await;

    let revision = access::revision(sql).await.unwrap();
    assert!(revision > before);
    assert_eq!(repository::find(sql, Freshness::Latest, NAME).await.unwrap(), None);
    for viewer in
        [Viewer::All, Viewer::Public, Viewer::Subject(Subject::User(BOB)), Viewer::Subject(Subject::User(EVE))]
    {
        let seen = visible::page(sql, viewer.under(revision), &[Range::all()], 9).await.unwrap();
        assert_eq!(seen, Vec::<String>::new(), "{viewer:?}");
    }
    assert_eq!(tag::page(sql, NAME, "", 9).await.unwrap(), Vec::<String>::new());
    assert!(manifest::had(sql, NAME, &[digest(4)], &[digest(1)]).await.unwrap().manifests.is_empty());
    assert_eq!(blob::repositories(sql, &digest(1), Uuid::nil(), 9).await.unwrap(), [], "nothing to mount from");
    refused(sql, repository::set(REPOSITORY, Some(true), None)).await;
    refused(sql, grant::put(Object::Repository(REPOSITORY), Grantee::User(BOB), Access::Admin, AT)).await;
    let asked = Asked { subject: Some(Subject::User(BOB)), token: None, repository: NAME };
    let facts = access::facts(sql, Freshness::Latest, asked).await.unwrap();
    assert_eq!((facts.repository, facts.granted), (None, None));
    commit(sql, organization::remove(facts.namespace.unwrap().0)).await;

    // Another of its name is another.
    let again = Uuid::from_u128(80);
    commit(sql, repository::create(again, Uuid::from_u128(81), NAME, AT)).await;
    commit(sql, [blob::link(again, &digest(2))]).await;
    let removing = removal::next(sql).await.unwrap().unwrap();
    assert_eq!(removing, Removing { id: REPOSITORY, name: NAME.to_owned(), at: now });
    // The session, tags, history, children, blobs, manifests, links, itself.
    assert_eq!(take(sql, &removing, now).await, 8);
    assert_eq!(removal::next(sql).await.unwrap(), None);
    for gone in [
        "SELECT count(*) FROM tag",
        "SELECT count(*) FROM tag_history",
        "SELECT count(*) FROM referrer",
        "SELECT count(*) FROM manifest",
        "SELECT count(*) FROM manifest_blob",
        "SELECT count(*) FROM manifest_child",
        "SELECT count(*) FROM manifest_content",
        "SELECT count(*) FROM repository WHERE name >= '~'",
    ] {
        assert_eq!(number(sql, gone, []).await, 0, "{gone}");
    }
    assert_eq!(number(sql, "SELECT count(*) FROM repository_blob", []).await, 1);
    assert_eq!(blob::linked(sql, again, &[1, 2, 3].map(digest)).await.unwrap(), [(digest(2), 8)]);
    // Blobs that nothing links any more are the collector's after their grace, which begins with the removal of the link.
    assert!(collect::doomed(sql, now - 1, 9).await.unwrap().is_empty());
    let doomed = collect::doomed(sql, now, 9).await.unwrap();
    assert_eq!(doomed.len(), 2);
    assert!(doomed.iter().all(|blob| blob.digest != digest(2)));
    // A session from after the removal is for what comes after it.
    let open = ask(sql, "SELECT id FROM upload WHERE closed_at IS NULL", []).await;
    assert_eq!(open.iter().map(|row| row.id(0).unwrap()).collect::<Vec<_>>(), [Uuid::from_u128(71)]);
}

/// A push that found the repository by its name against its removal: it is acknowledged only when the removal saw it.
pub async fn a_push_is_before_the_removal_of_its_repository_or_refused(sql: Arc<dyn Sql>) {
    prepare(&*sql).await;
    let tag = ["v1".parse().unwrap()];
    let idle =
        |from: i64| (0..40).map(move |k| say("DELETE FROM lease WHERE name = $1", [format!("{}", from + k).into()]));
    // What the removal found, told by it.
    let tell = "INSERT INTO setting (name, value, updated_at) SELECT $1, name, 0 FROM tag WHERE repository_id = $2";
    for round in 0..30i64 {
        let (id, name) = (Uuid::from_u128(1000 + round as u128), format!("team/r{round}"));
        commit(&*sql, repository::create(id, Uuid::from_u128(3), &name, AT)).await;
        let stat = manifest::ManifestStat {
            digest: digest(round as u64),
            media_type: "x/y".to_owned(),
            size: 2,
            untagged_since: None,
        };
        let new = manifest::NewManifest { repository: id, stat: &stat, subject: None, blobs: &[], children: &[] };
        let mut push: Vec<Statement> = vec![repository::guard_named(id, &name)];
        push.extend(idle(1));
        push.push(manifest::put_content(&stat.digest, b"{}"));
        push.extend(manifest::put(&new, AT));
        push.extend(tag::set(id, &tag, &stat.digest, AT));
        let mut removed: Vec<Statement> = vec![say(tell, [name.as_str().into(), id.into()])];
        removed.extend(idle(100));
        removed.extend(removal::remove(id, &name, at(AT), AT));
        let won = both(&sql, push, removed).await;
        assert!(won[1], "round {round}: {won:?}");
        let seen = number(&*sql, "SELECT count(*) FROM setting WHERE name = $1", [name.as_str().into()]).await;
        assert_eq!(seen == 1, won[0], "round {round}: a push that the removal did not see was acknowledged");
        let removing = removal::next(&*sql).await.unwrap().unwrap();
        assert_eq!((removing.id, removing.name.as_str()), (id, name.as_str()));
        take(&*sql, &removing, AT).await;
    }
    assert_eq!(number(&*sql, "SELECT count(*) FROM manifest", []).await, 0);
}
