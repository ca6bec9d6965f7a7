//! Repositories that are removed, also while somebody pushes to them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use roadstead_metadata::records::access::{Access, Subject};
use roadstead_metadata::records::removal;
use roadstead_metadata::records::repository;
use roadstead_metadata::{Batch, CommitError, Committed, Freshness, QueryError, Rows, Sql, Statement, Status};
use roadstead_oci::Page;
use roadstead_registry::identities::{
    GrantTarget, Identities, IdentityError, NewGrant, NewRepository, NewUser, RepositoryChange,
};
use roadstead_registry::{
    AccessCache, Action, Caller, Error, Everyone, Identity, Limits, Mount, Parts, Policy, Registry, Rules,
};
use serde_json::json;
use uuid::Uuid;

use crate::rig::{ME, Rig, body, image, name, sha256};

/// Metadata in which something happens before the next commit.
#[derive(Clone)]
struct Meanwhile(Arc<dyn Sql>, Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Meanwhile").field(&self.0).finish()
    }
}

#[async_trait]
impl Sql for Meanwhile {
    async fn query_many(&self, fresh: Freshness, asked: Vec<Statement>) -> Result<Vec<Rows>, QueryError> {
        self.0.query_many(fresh, asked).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let first = self.1.lock().take();
        if let Some(first) = first {
            first.await;
        }
        self.0.commit(batch).await
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn revision(&self) -> Option<u64> {
        self.0.revision()
    }
}

async fn remove(sql: Arc<dyn Sql>, policy: Arc<dyn Policy>, repository: &'static str) {
    let id = repository::find(&*sql, Freshness::Latest, repository).await.unwrap().unwrap();
    let mut batch = Batch::new(Uuid::now_v7(), 5);
    batch.extend(removal::remove(id, repository, Uuid::now_v7(), 5));
    sql.commit(batch).await.unwrap();
    policy.changed();
}

/// A registry over the metadata of a rig, before whose next commit a repository is removed.
struct Raced {
    rig: Rig,
    sql: Meanwhile,
    policy: Arc<dyn Policy>,
    registry: Arc<Registry>,
}

impl Raced {
    async fn new(policy: impl FnOnce(&Rig) -> Arc<dyn Policy>) -> Self {
        let rig = Rig::new().await;
        let sql = Meanwhile(rig.sql.clone(), Arc::default());
        let policy = policy(&rig);
        let parts = Parts {
            sql: Arc::new(sql.clone()),
            locations: rig.registry.locations().clone(),
            clock: rig.clock.clone(),
            policy: policy.clone(),
            limits: Limits::default(),
        };
        let registry = Registry::start(parts).await.unwrap();
        Self { rig, sql, policy, registry }
    }

    /// With decisions by who asks.
    async fn deciding() -> Self {
        let life = Duration::from_secs(60);
        Self::new(|rig| Arc::new(AccessCache::new(rig.sql.clone(), rig.clock.clone(), Rules::default(), life))).await
    }

    fn remove_before_the_next_commit(&self, repository: &'static str) {
        *self.sql.1.lock() = Some(Box::pin(remove(self.rig.sql.clone(), self.policy.clone(), repository)));
    }
}

fn empty_index() -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []})
}

async fn put(
    registry: &Arc<Registry>,
    caller: &Caller,
    repository: &str,
    json: &serde_json::Value,
) -> Result<(), Error> {
    let put = roadstead_registry::PutManifest {
        reference: "v1".parse().unwrap(),
        content_type: None,
        tags: vec![],
        bytes: json.to_string().into(),
        precondition: roadstead_registry::Precondition::default(),
    };
    registry.put_manifest(caller, &name(repository), put).await.map(drop)
}

#[tokio::test]
async fn a_push_that_meets_a_removal_makes_another_repository() {
    let raced = Raced::new(|_| Arc::new(Everyone)).await;
    let (rig, registry) = (&raced.rig, &raced.registry);
    let layer = rig.push("a/from", b"layer").await;
    for round in 0..3 {
        let digest = rig.push("a/b", format!("first {round}").as_bytes()).await;
        raced.remove_before_the_next_commit("a/b");
        match round {
            0 => {
                let (bytes, pushed) = (b"second", sha256(b"second"));
                registry.push_blob(&ME, &name("a/b"), pushed, Some(6), body(bytes)).await.unwrap();
                assert_eq!(rig.pull("a/b", &pushed).await.unwrap(), bytes);
            }
            1 => {
                put(registry, &ME, "a/b", &empty_index()).await.unwrap();
                assert_eq!(rig.tags("a/b").await, ["v1"]);
            }
            _ => {
                let mounted = registry.mount_blob(&ME, &name("a/b"), &layer, Some(&name("a/from"))).await.unwrap();
                assert_eq!(mounted, Mount::Mounted);
                assert_eq!(rig.pull("a/b", &layer).await.unwrap(), b"layer");
            }
        }
        assert!(matches!(rig.pull("a/b", &digest).await, Err(Error::BlobUnknown(_))), "that went");
    }
    // A manifest whose blobs went with the repository is refused, and says which.
    let digest = rig.push("a/b", b"config").await;
    raced.remove_before_the_next_commit("a/b");
    let refused = put(registry, &ME, "a/b", &image((&digest, 6), &[])).await;
    assert!(matches!(&refused, Err(Error::ManifestBlobUnknown(missing)) if missing[0].digest == digest), "{refused:?}");
}

#[tokio::test]
async fn a_push_that_meets_a_removal_makes_another_repository_only_where_it_may() {
    let raced = Raced::deciding().await;
    let identities = Identities::new(raced.rig.sql.clone(), raced.rig.clock.clone(), raced.policy.clone());
    let mut callers = Vec::new();
    for name in ["alice", "bob"] {
        let user = identities.create_user(&Caller::Operator, &NewUser { name, password: None, admin: false }).await;
        callers.push(Caller::from(Identity::new(Subject::User(user.unwrap().id), name)));
    }
    let app = name("alice/app");
    for (caller, makes) in [(&callers[0], true), (&callers[1], false)] {
        let new = NewRepository { name: app.clone(), public: false, immutable_tags: false };
        identities.create_repository(&callers[0], new).await.unwrap();
        let grant = NewGrant { target: GrantTarget::Repository(app.clone()), to: "bob", access: Access::ReadWrite };
        identities.put_grant(&callers[0], &grant).await.unwrap();
        assert!(raced.registry.may(caller, Action::Push, &app).await);
        raced.remove_before_the_next_commit("alice/app");
        let pushed = put(&raced.registry, caller, "alice/app", &empty_index()).await;
        match makes {
            true => pushed.unwrap(),
            false => assert!(matches!(pushed, Err(Error::NameUnknown(_))), "{pushed:?}"),
        }
        let found = repository::find(&*raced.rig.sql, Freshness::Latest, "alice/app").await.unwrap();
        assert_eq!(found.is_some(), makes);
        if makes {
            identities.remove_repository(caller, &app).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_repository_is_removed_by_its_admins() {
    let raced = Raced::deciding().await;
    let (all, registry) =
        (Identities::new(raced.rig.sql.clone(), raced.rig.clock.clone(), raced.policy.clone()), &raced.registry);
    let admin = Caller::Operator;
    for name in ["alice", "bob", "root"] {
        all.create_user(&admin, &NewUser { name, password: None, admin: name == "root" }).await.unwrap();
    }
    let bob = all.user(&admin, "bob").await.unwrap().id;
    let bob = Caller::from(Identity::new(Subject::User(bob), "bob"));
    let app = name("alice/app");
    let unknown = |outcome: Result<(), IdentityError>| {
        assert!(matches!(outcome, Err(IdentityError::Registry(Error::NameUnknown(_)))), "{outcome:?}");
    };
    unknown(all.remove_repository(&admin, &app).await);
    let new = NewRepository { name: app.clone(), public: false, immutable_tags: true };
    all.create_repository(&admin, new).await.unwrap();
    put(registry, &admin, "alice/app", &empty_index()).await.unwrap();
    unknown(all.remove_repository(&bob, &app).await);
    let grant = NewGrant { target: GrantTarget::Repository(app.clone()), to: "bob", access: Access::ReadWrite };
    all.put_grant(&admin, &grant).await.unwrap();
    assert!(matches!(all.remove_repository(&bob, &app).await, Err(IdentityError::Denied(_))));
    assert!(matches!(all.remove_repository(&Caller::Anonymous, &app).await, Err(IdentityError::Unauthorized)));
    let owns = all.remove_user(&admin, "alice").await.unwrap_err().to_string();
    assert!(owns.contains("owns repositories, alice/app"), "{owns}");
    all.change_repository(&admin, &app, RepositoryChange { public: Some(true), ..RepositoryChange::default() })
        .await
        .unwrap();
    assert!(registry.may(&Caller::Anonymous, Action::Pull, &app).await);

    all.remove_repository(&admin, &app).await.unwrap();
    unknown(all.remove_repository(&admin, &app).await);
    assert!(!registry.may(&Caller::Anonymous, Action::Pull, &app).await, "at once");
    assert!(!registry.may(&bob, Action::Pull, &app).await);
    assert!(matches!(registry.tags(&admin, &app, &Page::default()).await, Err(Error::NameUnknown(_))));
    for caller in [&admin, &bob] {
        assert_eq!(registry.catalog(caller, &Page::default()).await.unwrap().names, Vec::<String>::new());
        assert!(all.repositories(caller, "", 9).await.unwrap().is_empty());
    }
    // Nothing is in the way of its user any more, whatever it still holds.
    assert_eq!(raced.rig.count("SELECT count(*) FROM tag").await, 1);
    all.remove_user(&admin, "alice").await.unwrap();
}
