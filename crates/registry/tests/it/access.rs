//! Access through the use cases: what is refused, how soon, and what it costs to know.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use roadstead_metadata::records::access::{Access, Subject};
use roadstead_metadata::records::grant::{self, Grantee, Object};
use roadstead_metadata::records::repository::{self, Repository};
use roadstead_metadata::records::{account, organization, team};
use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_oci::{Algorithm, Digest, Page};
use roadstead_registry::{
    AccessCache, Action, Caller, Error, Identity, Limits, Mount, Parts, Referrers, ReferrersQuery, Registry, Rules,
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::rig::{ME as ANYBODY, Rig, body, name, reference, sha256};

pub const ROOT: Uuid = Uuid::from_u128(101);
pub const ALICE: Uuid = Uuid::from_u128(102);
pub const BOB: Uuid = Uuid::from_u128(103);
pub const ACME: Uuid = Uuid::from_u128(104);
pub const DEV: Uuid = Uuid::from_u128(105);
pub const APP: Uuid = Uuid::from_u128(106);
pub const OUTAGE: Duration = Duration::from_secs(3600);

/// Metadata as another process sees it: others commit unseen, and what is newest may be out of reach.
#[derive(Debug)]
pub struct Elsewhere {
    inner: Arc<dyn Sql>,
    /// Round trips so far.
    pub questions: AtomicUsize,
    /// Questions about access so far.
    asked: AtomicUsize,
    pub away: AtomicBool,
    pub lags: AtomicBool,
    /// What answers what need not be newest, if not the same.
    pub standby: OnceLock<Arc<dyn Sql>>,
    /// Answers to the question for the revision wait until they are let go.
    pub held: AtomicBool,
    pub let_go: Notify,
    /// One waits.
    pub waits: AtomicBool,
}

#[async_trait]
impl Sql for Elsewhere {
    async fn query_many(&self, fresh: Freshness, asked: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        if asked.iter().any(|statement| statement.sql.contains("access_state")) {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        let unreachable = match fresh {
            Freshness::Latest => self.away.load(Ordering::SeqCst),
            Freshness::Local => self.lags.load(Ordering::SeqCst),
        };
        match unreachable {
            true => Err(QueryError::Unavailable("no primary".into())),
            false => {
                let revision = asked[0].sql.starts_with("SELECT revision");
                let standby = self.standby.get().filter(|_| fresh == Freshness::Local);
                let answer = standby.unwrap_or(&self.inner).query_many(fresh, asked).await;
                if revision && self.held.load(Ordering::SeqCst) {
                    self.waits.store(true, Ordering::SeqCst);
                    self.let_go.notified().await;
                }
                answer
            }
        }
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        self.inner.commit(batch).await
    }

    fn status(&self) -> Status {
        match self.away.load(Ordering::SeqCst) {
            true => Status::ReadOnly("no primary".into()),
            false => Status::Writable,
        }
    }

    fn revision(&self) -> Option<u64> {
        None
    }
}

/// An instance with access control.
pub struct Instance {
    pub registry: Arc<Registry>,
    pub sql: Arc<Elsewhere>,
    pub policy: Arc<AccessCache>,
}

impl Instance {
    pub fn asked(&self) -> usize {
        self.sql.asked.load(Ordering::SeqCst)
    }

    pub async fn pulls(&self, caller: &Caller, digest: &Digest) -> Result<u64, Error> {
        self.registry.blob_stat(caller, &name("acme/app"), digest).await
    }
}

pub async fn instance(rig: &Rig) -> Instance {
    let (asked, away, lags) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let (held, let_go, waits) = (AtomicBool::new(false), Notify::new(), AtomicBool::new(false));
    let sql = Arc::new(Elsewhere {
        inner: rig.sql.clone(),
        asked,
        away,
        lags,
        standby: OnceLock::new(),
        held,
        let_go,
        waits,
        questions: AtomicUsize::new(0),
    });
    let policy = Arc::new(AccessCache::new(sql.clone(), rig.clock.clone(), Rules::default(), OUTAGE));
    let parts = Parts {
        sql: sql.clone(),
        locations: rig.registry.locations().clone(),
        clock: rig.clock.clone(),
        policy: policy.clone(),
        limits: Limits::default(),
    };
    Instance { registry: Registry::start(parts).await.unwrap(), sql, policy }
}

pub async fn commit(rig: &Rig, statements: impl IntoIterator<Item = Statement>) {
    let mut batch = Batch::new(Uuid::now_v7(), 5);
    batch.extend(statements);
    rig.sql.commit(batch).await.unwrap();
}

pub fn user(id: Uuid) -> Caller {
    Identity::new(Subject::User(id), "x").into()
}

pub fn scoped(id: Uuid, scope: &str) -> Caller {
    let scope = Some(scope.parse().unwrap());
    Identity { scope, ..Identity::new(Subject::User(id), "x") }.into()
}

pub fn dev() -> team::Team {
    team::Team { id: DEV, organization: ACME, name: "dev".to_owned(), created_at: 5 }
}

pub async fn repository(rig: &Rig, id: Uuid, namespace: Uuid, name: &str, public: bool) {
    let new = Repository { id, name: name.to_owned(), public, immutable_tags: false, created_at: 5 };
    commit(rig, repository::create_in(namespace, &new)).await;
}

/// A system admin, an organization of alice, with a private repository that bob's team may write. The digest of a blob in it.
pub async fn acme() -> (Rig, Digest) {
    let rig = Rig::new().await;
    for (id, name) in [(ROOT, "root"), (ALICE, "alice"), (BOB, "bob")] {
        commit(&rig, account::create(id, name, None, id == ROOT, 5)).await;
    }
    commit(&rig, organization::create(ACME, "acme", Some(ALICE), 5)).await;
    commit(&rig, team::create(&dev())).await;
    commit(&rig, team::put_member(&dev(), BOB, 5)).await;
    repository(&rig, APP, ACME, "acme/app", false).await;
    commit(&rig, grant::put(Object::Repository(APP), Grantee::Team(DEV), Access::ReadWrite, 5)).await;
    let digest = rig.push("acme/app", b"secret").await;
    (rig, digest)
}

/// Nothing that a caller can ask tells a private repository from none.
#[tokio::test]
async fn nothing_tells_of_a_private_repository() {
    let (rig, digest) = acme().await;
    let config = rig.push("acme/app", b"config").await;
    let manifest = crate::rig::image((&config, 6), &[(&digest, 6)]);
    let pushed = rig.put("acme/app", "v1", &manifest).await.unwrap().digest;
    let registry = instance(&rig).await.registry;
    let stranger = Uuid::from_u128(130);
    commit(&rig, account::create(stranger, "eve", None, false, 5)).await;
    let out_of_scope = scoped(BOB, "pull,push,delete:bob/*");
    for caller in [Caller::Anonymous, user(stranger), out_of_scope] {
        let mut answers = Vec::new();
        for repository in ["acme/app", "acme/none", "none/none"].map(name) {
            let of =
                async |answer: Result<(), Error>| answer.unwrap_err().to_string().replace(repository.as_str(), "R");
            let (tag, by_digest) = (reference("v1"), reference(&pushed.to_string()));
            let put = roadstead_registry::PutManifest {
                reference: tag.clone(),
                content_type: None,
                tags: vec![],
                bytes: bytes::Bytes::from(manifest.to_string()),
                precondition: Default::default(),
            };
            let query = ReferrersQuery::default();
            let found: Result<Referrers, Error> = registry.referrers(&caller, &repository, &pushed, &query).await;
            answers.push([
                of(registry.manifest(&caller, &repository, &tag).await.map(drop)).await,
                of(registry.manifest_info(&caller, &repository, &by_digest).await.map(drop)).await,
                of(registry.blob_stat(&caller, &repository, &digest).await.map(drop)).await,
                of(registry.open_blob(&caller, &repository, &digest).await.map(drop)).await,
                of(registry.tags(&caller, &repository, &Page::default()).await.map(drop)).await,
                of(found.map(drop)).await,
                of(registry.put_manifest(&caller, &repository, put).await.map(drop)).await,
                of(registry.push_blob(&caller, &repository, digest, Some(6), body(b"secret")).await).await,
                of(registry.start_upload(&caller, &repository, Algorithm::Sha256).await.map(drop)).await,
                of(registry.delete_manifest(&caller, &repository, &tag).await).await,
                of(registry.delete_manifest(&caller, &repository, &by_digest).await).await,
                of(registry.delete_blob(&caller, &repository, &digest).await).await,
            ]);
        }
        assert_eq!(answers[0], answers[1], "{caller:?}");
        assert_eq!(answers[0], answers[2], "{caller:?}");
        let names = registry.catalog(&caller, &Page::default()).await.unwrap().names;
        assert_eq!(names, Vec::<String>::new(), "{caller:?}");
    }
    // A mount from it, or from wherever the blob is, is as if it was nowhere.
    let eve = user(stranger);
    for from in [Some(name("acme/app")), Some(name("acme/none")), None] {
        let mounted = registry.mount_blob(&eve, &name("eve/x"), &digest, from.as_ref()).await.unwrap();
        assert_eq!(mounted, Mount::NotMounted, "{from:?}");
    }
    let mounted = registry.mount_blob(&user(BOB), &name("bob/x"), &digest, Some(&name("acme/app"))).await.unwrap();
    assert_eq!(mounted, Mount::Mounted);
    assert_eq!(registry.mount_blob(&user(BOB), &name("bob/y"), &digest, None).await.unwrap(), Mount::Mounted);
}

/// A mount that names no source asks as often for many repositories that may not be pulled as for one.
#[tokio::test]
async fn a_mount_without_a_source_costs_the_same_however_many_have_the_blob() {
    let (rig, digest) = acme().await;
    let instance = instance(&rig).await;
    let eve = Uuid::from_u128(131);
    commit(&rig, account::create(eve, "eve", None, false, 5)).await;
    let mut costs = Vec::new();
    for number in 0..4u128 {
        let before = instance.sql.questions.load(Ordering::SeqCst);
        let mounted = instance.registry.mount_blob(&user(eve), &name("eve/x"), &digest, None).await.unwrap();
        assert_eq!(mounted, Mount::NotMounted);
        costs.push(instance.sql.questions.load(Ordering::SeqCst) - before);
        for more in 0..5 {
            let to = format!("acme/more-{number}-{more}");
            repository(&rig, Uuid::from_u128(200 + 10 * number + more), ACME, &to, false).await;
            rig.push(&to, b"secret").await;
        }
    }
    assert!(costs[1..].windows(2).all(|pair| pair[0] == pair[1]), "{costs:?}");
    // One that may be pulled is found among them.
    commit(&rig, grant::put(Object::Repository(Uuid::from_u128(213)), Grantee::User(eve), Access::ReadOnly, 5)).await;
    let mounted = instance.registry.mount_blob(&user(eve), &name("eve/x"), &digest, None).await.unwrap();
    assert_eq!(mounted, Mount::Mounted);
    let narrow = scoped(eve, "pull,push:eve/*");
    assert_eq!(instance.registry.mount_blob(&narrow, &name("eve/y"), &digest, None).await.unwrap(), Mount::Mounted);
    commit(&rig, account::create(Uuid::from_u128(132), "kim", None, false, 5)).await;
    let kim = scoped(Uuid::from_u128(132), "pull,push:kim/*");
    assert_eq!(instance.registry.mount_blob(&kim, &name("kim/y"), &digest, None).await.unwrap(), Mount::NotMounted);
}

/// Who may read and not do more is told so.
#[tokio::test]
async fn a_reader_is_denied_and_told_what_is_missing() {
    let (rig, digest) = acme().await;
    commit(&rig, grant::put(Object::Repository(APP), Grantee::Team(DEV), Access::ReadOnly, 5)).await;
    let registry = instance(&rig).await.registry;
    registry.blob_stat(&user(BOB), &name("acme/app"), &digest).await.unwrap();
    let denied = registry.delete_blob(&user(BOB), &name("acme/app"), &digest).await;
    assert!(matches!(&denied, Err(Error::Denied(text)) if text.contains("acme/app") && text.contains("read-write")));
    assert!(!registry.may(&user(BOB), Action::Push, &name("acme/app")).await);
    assert!(registry.may(&user(ALICE), Action::Admin, &name("acme/app")).await);
    registry.recognize(&user(BOB)).await.unwrap();
    assert!(matches!(registry.recognize(&user(Uuid::nil())).await, Err(Error::Unauthorized)));
}

/// A push makes what is not there, private, in its own commit and only where its caller may push to everything.
#[tokio::test]
async fn a_push_makes_a_repository_where_it_may() {
    let (rig, digest) = acme().await;
    let registry = instance(&rig).await.registry;
    let push =
        async |caller: &Caller, to: &str| registry.push_blob(caller, &name(to), digest, Some(6), body(b"secret")).await;
    push(&user(BOB), "bob/new").await.unwrap();
    push(&user(ALICE), "acme/new").await.unwrap();
    push(&user(ROOT), "bare").await.unwrap();
    assert!(matches!(push(&user(BOB), "acme/other").await, Err(Error::NameUnknown(_))));
    assert!(matches!(push(&user(BOB), "bare2").await, Err(Error::NameUnknown(_))));
    let nowhere = push(&user(ROOT), "nowhere/x").await;
    assert!(
        matches!(&nowhere, Err(Error::Denied(text)) if text.contains("add a user or an organization")),
        "{nowhere:?}"
    );
    for made in ["bob/new", "acme/new", "bare"] {
        assert!(!repository::settings(&*rig.sql, made).await.unwrap().unwrap().public, "{made}");
    }
    assert_eq!(rig.count("SELECT count(*) FROM namespace WHERE name = 'nowhere'").await, 0);
    // What goes while bytes arrive is not made again by somebody who may only write to it.
    rig.commit("DELETE FROM repository_blob").await;
    let upload = registry.start_upload(&user(BOB), &name("acme/app"), Algorithm::Sha256).await.unwrap();
    rig.commit("DELETE FROM repository WHERE name = 'acme/app'").await;
    let (whole, session) = (crate::rig::length(b"secret"), &upload.session);
    let late = registry.finish_upload(&user(BOB), &name("acme/app"), session, digest, whole, body(b"secret")).await;
    assert!(matches!(late, Err(Error::NameUnknown(_))), "{late:?}");
    assert_eq!(rig.count("SELECT count(*) FROM repository WHERE name = 'acme/app'").await, 0);
}

/// What was taken while the bytes arrived counts at their end.
#[tokio::test]
async fn a_push_that_takes_long_is_asked_again() {
    let (rig, _) = acme().await;
    let registry = instance(&rig).await.registry;
    let (send, received) = futures::channel::mpsc::unbounded();
    let push = tokio::spawn({
        let registry = registry.clone();
        let body: roadstead_registry::ByteStream = Box::pin(received);
        async move { registry.push_blob(&user(BOB), &name("acme/app"), sha256(b"late"), Some(4), body).await }
    });
    send.unbounded_send(Ok(bytes::Bytes::from_static(b"la"))).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    commit(&rig, team::remove_member(DEV, BOB)).await;
    rig.clock.advance(Duration::from_secs(1));
    send.unbounded_send(Ok(bytes::Bytes::from_static(b"te"))).unwrap();
    drop(send);
    let refused = push.await.unwrap();
    assert!(matches!(refused, Err(Error::NameUnknown(_))), "{refused:?}");
    assert_eq!(rig.objects("blobs/").await.len(), 1, "what was refused leaves no object");
}

/// The catalog of each is what it may pull, in pages that are full but for the last.
#[tokio::test]
async fn the_catalog_is_what_the_caller_may_pull() {
    let (rig, _) = acme().await;
    for (number, to) in ["acme/a", "acme/z", "alice/own", "bob/own"].into_iter().enumerate() {
        let namespace = [ACME, ACME, ALICE, BOB][number];
        repository(&rig, Uuid::from_u128(140 + number as u128), namespace, to, to == "acme/z").await;
    }
    let registry = instance(&rig).await.registry;
    let paged = async |caller: &Caller| {
        let (mut seen, mut last) = (Vec::new(), None);
        loop {
            let page = registry.catalog(caller, &Page { n: Some(2), last: last.take() }).await.unwrap();
            assert!(page.names.len() == 2 || !page.more);
            last = page.names.last().cloned();
            seen.extend(page.names);
            if !page.more {
                return seen.join(" ");
            }
        }
    };
    for (caller, seen) in [
        (Caller::Anonymous, "acme/z"),
        (user(BOB), "acme/app acme/z bob/own"),
        (user(ALICE), "acme/a acme/app acme/z alice/own"),
        (user(ROOT), "acme/a acme/app acme/z alice/own bob/own"),
        (Caller::Operator, "acme/a acme/app acme/z alice/own bob/own"),
        (scoped(ALICE, "pull:acme/* push:alice/own"), "acme/a acme/app acme/z"),
        (scoped(ALICE, "pull:acme/app,pull:x".split(',').next().unwrap()), "acme/app"),
    ] {
        assert_eq!(paged(&caller).await, seen, "{caller:?}");
    }
    assert!(matches!(registry.catalog(&user(Uuid::nil()), &Page::default()).await, Err(Error::Unauthorized)));
    assert_eq!(rig.registry.catalog(&ANYBODY, &Page::default()).await.unwrap().names.len(), 5);
}
