//! Clauses on identities and access, over the product's own schema. Each runs every statement of its records.

use std::sync::Arc;

use roadstead_oci::{Algorithm, Digest};
use uuid::Uuid;

use super::tokens::token;
use super::{AT, assert_conflict, batch, commit, number};
use crate::records::access::{self, Access, Asked, Facts, Subject};
use crate::records::access_token;
use crate::records::grant::{self, Grantee, Object};
use crate::records::manifest::{self, ManifestStat, NewManifest};
use crate::records::organization::{self, Role};
use crate::records::repository::{self, NamespaceKind, Repository};
use crate::records::robot::{self, Robot};
use crate::records::team::{self, Team};
use crate::records::visible::{self, Range, Viewer};
use crate::records::{account, tag};
use crate::schema::MIGRATIONS;
use crate::{Freshness, QueryError, Sql, Statement, migrate};

pub(super) const ROOT: Uuid = Uuid::from_u128(1);
pub(super) const ALICE: Uuid = Uuid::from_u128(2);
pub(super) const BOB: Uuid = Uuid::from_u128(3);
pub(super) const ACME: Uuid = Uuid::from_u128(4);
const DEV: Uuid = Uuid::from_u128(5);
pub(super) const CI: Uuid = Uuid::from_u128(6);
pub(super) const APP: Uuid = Uuid::from_u128(7);
pub(super) const TOKEN: Uuid = Uuid::from_u128(8);

pub(super) fn dev() -> Team {
    Team { id: DEV, organization: ACME, name: "dev".to_owned(), created_at: AT }
}

fn app(id: Uuid, name: &str, public: bool) -> Repository {
    Repository { id, name: name.to_owned(), public, immutable_tags: false, created_at: AT }
}

/// Three users, the first of them a system admin; an organization of the second with a team and a private repository.
pub(super) async fn prepare(sql: &dyn Sql) {
    migrate(sql, MIGRATIONS, AT).await.unwrap();
    for (id, name, admin) in [(ROOT, "root", true), (ALICE, "alice", false), (BOB, "bob", false)] {
        commit(sql, account::create(id, name, Some("hash"), admin, AT)).await;
    }
    commit(sql, organization::create(ACME, "acme", Some(ALICE), AT)).await;
    commit(sql, team::create(&dev())).await;
    let ci = Robot { id: CI, namespace: ACME, name: "ci".to_owned(), created_at: AT };
    commit(sql, robot::create(&ci)).await;
    commit(sql, repository::create_in(ACME, &app(APP, "acme/app", false))).await;
}

pub(super) async fn facts(sql: &dyn Sql, subject: Option<Subject>, repository: &str) -> Facts {
    let asked = Asked { subject, token: Some(TOKEN), repository };
    access::facts(sql, Freshness::Latest, asked).await.unwrap()
}

pub(super) async fn refused(sql: &dyn Sql, statements: impl IntoIterator<Item = Statement>) {
    assert_conflict(sql.commit(batch(statements)).await);
}

/// Users, organizations, teams and robots come, are listed and go, each with what hangs on it.
pub async fn identities_come_and_go(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    refused(sql, account::create(Uuid::from_u128(99), "acme", None, false, AT)).await;
    refused(sql, organization::create(Uuid::from_u128(99), "bob", None, AT)).await;
    commit(sql, repository::create(Uuid::from_u128(98), Uuid::from_u128(97), "bare", AT)).await;
    refused(sql, account::create(Uuid::from_u128(99), "library", None, false, AT)).await;
    // Of somebody for whom another vouches, who takes nothing that is there.
    for taken in ["acme", "bob"] {
        refused(sql, account::create_of(Uuid::from_u128(96), taken, "htpasswd", false, AT)).await;
    }
    for used in ["bob", "library"] {
        refused(sql, [account::guard_unused(used)]).await;
    }
    let unused = [account::guard_unused("zoe")];
    commit(sql, unused.into_iter().chain(account::create_of(Uuid::from_u128(96), "zoe", "htpasswd", false, AT))).await;
    let zoe = account::by_name(sql, Freshness::Latest, "zoe").await.unwrap().unwrap();
    assert_eq!((zoe.source.as_deref(), zoe.password_hash, zoe.active), (Some("htpasswd"), None, true));
    // What its source calls it is kept once, and anew when that was forgotten.
    assert_eq!(zoe.subject, None);
    commit(sql, account::bind(zoe.id, "1")).await;
    refused(sql, account::bind(zoe.id, "2")).await;
    assert_eq!(account::by_id(sql, Freshness::Latest, zoe.id).await.unwrap().unwrap().subject.as_deref(), Some("1"));
    commit(sql, account::unbind(zoe.id)).await;
    commit(sql, account::bind(zoe.id, "2")).await;
    assert_eq!(account::page(sql, "root", 1).await.unwrap()[0].subject.as_deref(), Some("2"));
    commit(sql, account::remove(zoe.id, AT)).await;
    refused(sql, account::unbind(zoe.id)).await;
    let names: Vec<String> = account::page(sql, "alice", 9).await.unwrap().into_iter().map(|a| a.name).collect();
    assert_eq!(names, ["bob", "root"]);
    assert_eq!(account::page(sql, "", 1).await.unwrap()[0].id, ALICE);
    assert_eq!(account::admins(sql).await.unwrap(), 1);
    refused(sql, [account::guard_no_admin()]).await;
    // One of a source, or without a password, may not come in any more: none that counts.
    for (id, name, made) in [
        (95, "yann", account::create_of(Uuid::from_u128(95), "yann", "htpasswd", true, AT)),
        (94, "xeno", account::create(Uuid::from_u128(94), "xeno", None, true, AT)),
    ] {
        commit(sql, made).await;
        assert_eq!(account::admins(sql).await.unwrap(), 1, "{name}");
        refused(sql, account::set_power(ROOT, Some(false), None)).await;
        refused(sql, account::remove(ROOT, AT)).await;
        commit(sql, account::set_power(Uuid::from_u128(id), None, Some(false))).await;
        commit(sql, account::set_power(Uuid::from_u128(id), None, Some(true))).await;
        commit(sql, account::remove(Uuid::from_u128(id), AT)).await;
    }

    // A password makes a later epoch, also by a clock that went back.
    commit(sql, account::set_password(BOB, "other", AT - 5)).await;
    let bob = account::by_name(sql, Freshness::Latest, "bob").await.unwrap().unwrap();
    assert_eq!((bob.password_hash.as_deref(), bob.password_changed_at), (Some("other"), AT + 1));
    commit(sql, account::set_password(BOB, "other", AT + 5)).await;
    let bob = account::by_id(sql, Freshness::Local, BOB).await.unwrap().unwrap();
    assert_eq!((bob.name.as_str(), bob.password_changed_at, bob.active), ("bob", AT + 5, true));

    // The last ones stay.
    refused(sql, account::set_power(ROOT, Some(false), Some(true))).await;
    refused(sql, account::set_power(ROOT, Some(true), Some(false))).await;
    refused(sql, account::remove(ROOT, AT)).await;
    refused(sql, organization::put_member(ACME, ALICE, Role::Member, AT)).await;
    refused(sql, organization::remove_member(ACME, ALICE)).await;
    refused(sql, account::remove(ALICE, AT)).await;
    assert_eq!(organization::owned_alone(sql, ALICE).await.unwrap().as_deref(), Some("acme"));
    commit(sql, organization::put_member(ACME, ROOT, Role::Owner, AT)).await;
    assert_eq!(organization::owned_alone(sql, ALICE).await.unwrap(), None);
    assert_eq!(organization::owners(sql, ACME, 9).await.unwrap(), [ROOT, ALICE]);

    // Who is in a team is in its organization, and leaves the one with the other.
    commit(sql, team::put_member(&dev(), BOB, AT)).await;
    let members = organization::members(sql, ACME, Uuid::nil(), 9).await.unwrap();
    let roles: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.role)).collect();
    assert_eq!(roles, [("root", Role::Owner), ("alice", Role::Owner), ("bob", Role::Member)]);
    assert_eq!(team::members(sql, DEV, Uuid::nil(), 9).await.unwrap(), [(BOB, "bob".to_owned())]);
    commit(sql, organization::remove_member(ACME, BOB)).await;
    refused(sql, organization::remove_member(ACME, BOB)).await;
    assert_eq!(team::members(sql, DEV, Uuid::nil(), 9).await.unwrap(), []);
    commit(sql, team::put_member(&dev(), BOB, AT)).await;
    commit(sql, team::remove_member(DEV, BOB)).await;
    refused(sql, team::remove_member(DEV, BOB)).await;

    assert_eq!(organization::by_name(sql, "acme").await.unwrap().unwrap().id, ACME);
    assert_eq!(organization::by_name(sql, "bob").await.unwrap(), None);
    assert_eq!(organization::page(sql, "", 9).await.unwrap().len(), 1);
    assert_eq!(team::by_name(sql, "acme", "dev").await.unwrap(), Some(dev()));
    assert_eq!(team::page(sql, ACME, "", 9).await.unwrap(), [dev()]);
    assert_eq!(robot::page(sql, ACME, "", 9).await.unwrap()[0].id, CI);
    assert_eq!(robot::by_name(sql, "acme", "ci").await.unwrap().unwrap().id, CI);
    assert_eq!(robot::by_id(sql, Freshness::Latest, CI).await.unwrap().unwrap().1, "acme");

    // Repositories hold on to their namespace; without them all of it goes.
    refused(sql, organization::remove(ACME)).await;
    commit(sql, account::create(Uuid::from_u128(50), "eve", None, false, AT)).await;
    commit(sql, repository::create_in(Uuid::from_u128(50), &app(Uuid::from_u128(51), "eve/x", false))).await;
    refused(sql, account::remove(Uuid::from_u128(50), AT)).await;
    assert_eq!(repository::some_of(sql, Uuid::from_u128(50), 9).await.unwrap(), ["eve/x"]);
    commit(sql, access_token::create(&token(Subject::User(BOB)))).await;
    commit(sql, team::put_member(&dev(), BOB, AT)).await;
    commit(sql, grant::put(Object::Repository(APP), Grantee::User(BOB), Access::Admin, AT)).await;
    commit(sql, account::remove(BOB, AT)).await;
    refused(sql, account::remove(BOB, AT)).await;
    for left in [
        "SELECT count(*) FROM access_token",
        "SELECT count(*) FROM team_member",
        "SELECT count(*) FROM repository_grant",
        "SELECT count(*) FROM namespace WHERE name = 'bob'",
    ] {
        assert_eq!(number(sql, left, []).await, 0, "{left}");
    }
    commit(sql, team::remove(&dev())).await;
    refused(sql, team::remove(&dev())).await;
    commit(sql, robot::remove(CI)).await;
    refused(sql, robot::remove(CI)).await;
}

/// A namespace that was only pushed to becomes that of who takes its name, with its repositories.
pub async fn a_namespace_is_claimed_with_what_is_in_it(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let made = Uuid::from_u128(60);
    commit(sql, repository::create(Uuid::from_u128(61), made, "team/app", AT)).await;
    assert_eq!(repository::namespace(sql, "team").await.unwrap(), Some((made, NamespaceKind::System)));
    commit(sql, organization::create(Uuid::from_u128(62), "team", Some(BOB), AT)).await;
    assert_eq!(repository::namespace(sql, "team").await.unwrap(), Some((made, NamespaceKind::Organization)));
    let seen = facts(sql, Some(Subject::User(BOB)), "team/app").await;
    assert_eq!((seen.owner, seen.repository.unwrap().public), (Some(true), false));
    refused(sql, account::create(Uuid::from_u128(63), "team", None, false, AT)).await;
}

/// One question answers all that a decision needs: what is there, what is granted, and to whom.
pub async fn facts_tell_what_a_decision_needs(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let (alice, bob, ci) = (Some(Subject::User(ALICE)), Some(Subject::User(BOB)), Some(Subject::Robot(CI)));
    let nobody = facts(sql, None, "acme/app").await;
    assert_eq!((nobody.standing, nobody.token, nobody.owner, nobody.granted), (None, None, None, None));
    assert_eq!(nobody.repository.map(|r| (r.id, r.public, r.immutable_tags)), Some((APP, false, false)));
    assert_eq!(nobody.namespace, Some((ACME, NamespaceKind::Organization)));
    let absent = facts(sql, bob, "nowhere/app").await;
    assert_eq!((absent.repository, absent.namespace), (None, None));
    assert_eq!(facts(sql, alice, "acme/new").await.owner, Some(true));
    assert_eq!(facts(sql, alice, "acme/").await.owner, Some(true), "of the namespace alone");
    assert!(facts(sql, Some(Subject::User(ROOT)), "bare").await.standing.unwrap().admin);
    assert_eq!(facts(sql, Some(Subject::User(Uuid::from_u128(99))), "acme/app").await.standing, None);
    assert_eq!(facts(sql, Some(Subject::Robot(BOB)), "acme/app").await.standing, None, "a user is no robot");

    // Grants add up: the highest of those to the subject and its teams, on the repository and on its namespace.
    let granted = async |subject| {
        let facts = facts(sql, subject, "acme/app").await;
        (facts.granted, facts.granted_namespace)
    };
    let put = async |object, to, access| commit(sql, grant::put(object, to, access, AT)).await;
    put(Object::Repository(APP), Grantee::User(BOB), Access::ReadOnly).await;
    assert_eq!(granted(bob).await, (Some(Access::ReadOnly), None));
    put(Object::Repository(APP), Grantee::Team(DEV), Access::ReadWrite).await;
    assert_eq!(granted(bob).await, (Some(Access::ReadOnly), None), "not of the team");
    commit(sql, team::put_member(&dev(), BOB, AT)).await;
    assert_eq!(granted(bob).await, (Some(Access::ReadWrite), None));
    put(Object::Namespace(ACME), Grantee::User(BOB), Access::ReadOnly).await;
    assert_eq!(granted(bob).await, (Some(Access::ReadWrite), Some(Access::ReadOnly)));
    put(Object::Namespace(ACME), Grantee::Team(DEV), Access::Admin).await;
    assert_eq!(granted(bob).await, (Some(Access::Admin), Some(Access::Admin)));
    put(Object::Namespace(ACME), Grantee::Robot(CI), Access::ReadWrite).await;
    assert_eq!(granted(ci).await, (Some(Access::ReadWrite), Some(Access::ReadWrite)));
    let names: Vec<_> = grant::page(sql, Object::Namespace(ACME), Uuid::nil(), 9).await.unwrap();
    let names: Vec<_> = names.iter().map(|grant| (grant.name.as_str(), grant.access)).collect();
    assert_eq!(names, [("bob", Access::ReadOnly), ("acme/dev", Access::Admin), ("acme+ci", Access::ReadWrite)]);
    assert_eq!(grant::page(sql, Object::Repository(APP), BOB, 9).await.unwrap()[0].grantee, Grantee::Team(DEV));
    commit(sql, grant::remove(Object::Namespace(ACME), DEV)).await;
    commit(sql, grant::remove(Object::Repository(APP), DEV)).await;
    assert_eq!(granted(bob).await, (Some(Access::ReadOnly), Some(Access::ReadOnly)));

    // A team is of its organization's repositories only.
    let elsewhere = Uuid::from_u128(70);
    commit(sql, repository::create_in(BOB, &app(elsewhere, "bob/app", false))).await;
    refused(sql, grant::put(Object::Repository(elsewhere), Grantee::Team(DEV), Access::Admin, AT)).await;
    refused(sql, grant::put(Object::Namespace(BOB), Grantee::Team(DEV), Access::Admin, AT)).await;
    refused(sql, grant::put(Object::Repository(Uuid::nil()), Grantee::User(BOB), Access::Admin, AT)).await;
    refused(sql, grant::put(Object::Namespace(ACME), Grantee::Robot(ALICE), Access::Admin, AT)).await;

    // Who may do nothing any more.
    commit(sql, account::set_power(BOB, Some(false), Some(false))).await;
    assert!(!facts(sql, bob, "acme/app").await.standing.unwrap().active);
    let of_bob = Robot { id: Uuid::from_u128(71), namespace: BOB, name: "r".to_owned(), created_at: AT };
    commit(sql, robot::create(&of_bob)).await;
    assert!(!facts(sql, Some(Subject::Robot(of_bob.id)), "acme/app").await.standing.unwrap().active);
    assert!(facts(sql, ci, "acme/app").await.standing.unwrap().active);
    commit(sql, repository::set(APP, Some(true), Some(true))).await;
    let seen = facts(sql, None, "acme/app").await.repository.unwrap();
    assert!(seen.public && seen.immutable_tags);
    assert!(repository::settings(sql, "acme/app").await.unwrap().unwrap().public);
    refused(sql, repository::set(Uuid::nil(), Some(true), Some(true))).await;
}

/// Whatever changes who may do what raises the revision; what changes nothing of it does not.
pub async fn what_changes_access_raises_its_revision(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    commit(sql, access_token::create(&token(Subject::User(BOB)))).await;
    let before = access::revision(sql).await.unwrap();
    assert_eq!(facts(sql, None, "acme/app").await.revision, before);
    commit(sql, repository::create(Uuid::from_u128(81), Uuid::from_u128(80), "x/y", AT)).await;
    assert_eq!(access::revision(sql).await.unwrap(), before, "a push is no change of access");
    let ci = Robot { id: Uuid::from_u128(90), namespace: ACME, name: "other".to_owned(), created_at: AT };
    let changes: Vec<Vec<Statement>> = vec![
        account::create(Uuid::from_u128(82), "x", None, true, AT),
        account::set_password(BOB, "h", AT).into(),
        account::set_power(BOB, Some(true), Some(true)).into(),
        organization::create(Uuid::from_u128(83), "org", Some(BOB), AT),
        organization::put_member(ACME, BOB, Role::Owner, AT),
        team::put_member(&dev(), BOB, AT).into(),
        grant::put(Object::Repository(APP), Grantee::Team(DEV), Access::ReadOnly, AT),
        grant::put(Object::Namespace(ACME), Grantee::Team(DEV), Access::ReadOnly, AT),
        grant::remove(Object::Repository(APP), DEV).into(),
        grant::remove(Object::Namespace(ACME), DEV).into(),
        team::remove_member(DEV, BOB).into(),
        organization::remove_member(ACME, BOB).into(),
        robot::create(&ci).into(),
        robot::remove(ci.id).into(),
        team::create(&Team { id: Uuid::from_u128(84), name: "ops".to_owned(), ..dev() }).into(),
        team::remove(&dev()).into(),
        access_token::revoke(TOKEN, AT).into(),
        access_token::end([TOKEN], AT).into(),
        repository::set(APP, Some(true), Some(false)).into(),
        organization::remove(Uuid::from_u128(83)).into(),
        account::remove(Uuid::from_u128(82), AT).into_iter().skip(1).collect(),
    ];
    let mut last = before;
    for (number, change) in changes.into_iter().enumerate() {
        commit(sql, change).await;
        let now = access::revision(sql).await.unwrap();
        assert!(now > last, "change {number}");
        last = now;
    }
}

/// A page of what somebody may see has each name once and in order, however many ways lead to it.
pub async fn the_catalog_is_what_one_may_see(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let mut all = vec!["acme/app".to_owned()];
    for (number, name) in ["acme-x/a", "acme/b", "acme/c", "bob/a", "bob/b", "z/hidden"].into_iter().enumerate() {
        let id = Uuid::from_u128(200 + number as u128);
        let namespace = access::namespace_of(name);
        let statements = match repository::namespace(sql, namespace).await.unwrap() {
            Some((in_it, _)) => repository::create_in(in_it, &app(id, name, false)),
            None => repository::create(id, Uuid::from_u128(300 + number as u128), name, AT),
        };
        commit(sql, statements).await;
        all.push(name.to_owned());
    }
    all.sort();
    let acme_x = repository::settings(sql, "acme-x/a").await.unwrap().unwrap().id;
    commit(sql, repository::set(acme_x, Some(true), Some(false))).await;
    commit(sql, grant::put(Object::Repository(acme_x), Grantee::User(BOB), Access::ReadOnly, AT)).await;
    commit(sql, grant::put(Object::Repository(APP), Grantee::Team(DEV), Access::ReadOnly, AT)).await;
    commit(sql, team::put_member(&dev(), BOB, AT)).await;
    commit(sql, grant::put(Object::Repository(APP), Grantee::Robot(CI), Access::ReadOnly, AT)).await;
    let paged = async |viewer: Viewer, ranges: &[Range]| {
        let revision = access::revision(sql).await.unwrap();
        let (mut seen, mut after) = (Vec::<String>::new(), String::new());
        loop {
            let rest: Vec<Range> = ranges.iter().cloned().map(|range| range.after(&after)).collect();
            let page = visible::page(sql, viewer.under(revision), &rest, 2).await.unwrap();
            let Some(last) = page.last() else { return seen };
            after.clone_from(last);
            seen.extend(page);
        }
    };
    let every = [Range::all()];
    assert_eq!(paged(Viewer::All, &every).await, all);
    assert_eq!(paged(Viewer::Public, &every).await, ["acme-x/a"]);
    let (alice, bob, ci) = (Subject::User(ALICE), Subject::User(BOB), Subject::Robot(CI));
    assert_eq!(paged(Viewer::Subject(alice), &every).await, ["acme-x/a", "acme/app", "acme/b", "acme/c"]);
    assert_eq!(paged(Viewer::Subject(bob), &every).await, ["acme-x/a", "acme/app", "bob/a", "bob/b"]);
    assert_eq!(paged(Viewer::Subject(ci), &every).await, ["acme-x/a", "acme/app"]);
    commit(sql, grant::put(Object::Namespace(ACME), Grantee::Team(DEV), Access::ReadOnly, AT)).await;
    let some = [
        Range { from: "acme/".to_owned(), to: "acme0".to_owned() },
        Range { from: "bob/b".to_owned(), to: "bob/b!".to_owned() },
    ];
    assert_eq!(paged(Viewer::Subject(bob), &some).await, ["acme/app", "acme/b", "acme/c", "bob/b"]);
    for viewer in [Viewer::All, Viewer::Public, Viewer::Subject(alice), Viewer::Subject(bob), Viewer::Subject(ci)] {
        let some = repository::all_settings(sql, &all).await.unwrap();
        let ids: Vec<Uuid> = some.iter().map(|repository| repository.id).collect();
        let seen = visible::among(sql, viewer.under(0), &ids).await.unwrap();
        let seen = some.iter().filter(|one| seen.contains(&one.id)).map(|one| one.name.clone()).collect::<Vec<_>>();
        assert_eq!(seen, paged(viewer, &every).await, "{viewer:?}");
        assert!(visible::among(sql, viewer.under(0), &[Uuid::nil()][..0]).await.unwrap().is_empty());
    }
    assert_eq!(visible::page(sql, Viewer::All.under(0), &[], 9).await.unwrap(), Vec::<String>::new());
    assert_eq!(visible::page(sql, Viewer::All.under(0), &every, 0).await.unwrap(), Vec::<String>::new());
    // What is older than what is known is no answer, but for who sees everything.
    let newer = access::revision(sql).await.unwrap() + 1;
    assert_eq!(visible::page(sql, Viewer::All.under(newer), &every, 99).await.unwrap(), all);
    for viewer in [Viewer::Public, Viewer::Subject(alice)] {
        let old = visible::page(sql, viewer.under(newer), &every, 9).await;
        assert!(matches!(old, Err(QueryError::Unavailable(_))), "{old:?}");
        let old = visible::among(sql, viewer.under(newer), &[APP]).await;
        assert!(matches!(old, Err(QueryError::Unavailable(_))), "{old:?}");
    }
}

/// In a repository that keeps its tags one neither moves nor goes; new ones come, and the same again is no move.
pub async fn immutable_tags_stay(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let digests = [1u8, 2].map(|number| Digest::of(Algorithm::Sha256, &[number]));
    for digest in digests {
        let stat = ManifestStat { digest, media_type: "x/y".to_owned(), size: 2, untagged_since: None };
        let new = NewManifest { repository: APP, stat: &stat, subject: None, blobs: &[], children: &[] };
        commit(sql, [manifest::put_content(&digest, b"{}")].into_iter().chain(manifest::put(&new, AT))).await;
    }
    let [v1, v2] = ["v1", "v2"].map(|name| name.parse().unwrap());
    commit(sql, tag::set(APP, [&v1], &digests[0], AT)).await;
    assert_eq!(tag::fixed(sql, APP, [&v1]).await.unwrap(), []);
    commit(sql, repository::set(APP, Some(false), Some(true))).await;
    commit(sql, tag::set(APP, [&v1, &v2], &digests[0], AT)).await;
    refused(sql, tag::set(APP, [&v1], &digests[1], AT)).await;
    refused(sql, tag::delete(APP, &v1, AT)).await;
    refused(sql, tag::untag(APP, &digests[0], AT)).await;
    assert_eq!(tag::fixed(sql, APP, [&v1]).await.unwrap(), [("v1".to_owned(), digests[0])]);
    assert_eq!(tag::fixed_to(sql, APP, &digests[0]).await.unwrap().as_deref(), Some("v1"));
    assert_eq!(tag::fixed_to(sql, APP, &digests[1]).await.unwrap(), None);
    commit(sql, tag::untag(APP, &digests[1], AT)).await;
    commit(sql, repository::set(APP, Some(false), Some(false))).await;
    commit(sql, tag::set(APP, [&v1], &digests[1], AT)).await;
    commit(sql, tag::delete(APP, &v2, AT)).await;
}
