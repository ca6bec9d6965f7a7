//! A registry over memory engines, with two locations and a clock that goes with tokio's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use roadstead_metadata::{Batch, Freshness, Memory, Sql, Statement, migrate, schema};
use roadstead_oci::Algorithm;
use roadstead_registry::{ByteStream, Caller, Chunk, Everyone, Limits, Parts, Registry};
use roadstead_storage::{Engine, Faults, Faulty, Location, Locations, Memory as MemoryStore, ObjectKey, Scope};
use uuid::Uuid;

use crate::clock::TestClock;

pub(crate) const ME: Caller = Caller::Anonymous;
pub(crate) const REPOSITORY: &str = "team/app";

pub(crate) struct Rig {
    pub(crate) registry: Arc<Registry>,
    pub(crate) metadata: Arc<Memory>,
    /// Faults of the first location, in a rig that was not given engines.
    pub(crate) faults: Faults,
    pub(crate) clock: Arc<TestClock>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let faults = Faults::new();
        let eu = Faulty::new(MemoryStore::new(), faults.clone());
        Self { faults, ..Self::over(Arc::new(eu), Arc::new(MemoryStore::new())).await }
    }

    /// A registry with `eu`, which it prefers, and `us`.
    pub(crate) async fn over(eu: Arc<dyn Engine>, us: Arc<dyn Engine>) -> Self {
        let metadata = Arc::new(Memory::open().unwrap());
        migrate(&*metadata, schema::MIGRATIONS, 0).await.unwrap();
        let clock = Arc::new(TestClock::new());
        let locations = vec![location("eu", 1, eu), location("us", 2, us)];
        let registry = Registry::start(Parts {
            sql: metadata.clone(),
            locations: Locations::new(locations, "eu").unwrap(),
            clock: clock.clone(),
            policy: Arc::new(Everyone),
            limits: Limits::default(),
        });
        Self { registry: registry.await.unwrap(), metadata, faults: Faults::new(), clock }
    }

    pub(crate) fn location(&self, name: &str) -> &Location {
        self.registry.locations().by_name(name).unwrap()
    }

    /// Publishes an object.
    pub(crate) async fn put(&self, location: &str, key: &str) {
        let mut writer = self.location(location).engine.writer(&key_of(key)).await.unwrap();
        writer.write(vec![Bytes::from_static(b"content")]).await.unwrap();
        writer.finish().await.unwrap();
    }

    /// The keys of all objects of a location.
    pub(crate) async fn objects(&self, location: &str) -> Vec<String> {
        let listed = self.location(location).engine.list("", None, 10_000).await.unwrap();
        listed.into_iter().map(|object| object.key.to_string()).collect()
    }

    /// Starts a session and stages bytes in it; its token.
    pub(crate) async fn stage(&self) -> String {
        let session = self.fresh().await;
        self.append(&session).await;
        session
    }

    /// Starts a session; its token.
    pub(crate) async fn fresh(&self) -> String {
        let name = REPOSITORY.parse().unwrap();
        self.registry.start_upload(&ME, &name, Algorithm::Sha256).await.unwrap().session
    }

    /// Adds bytes to a session.
    pub(crate) async fn append(&self, session: &str) {
        let body = Bytes::from_static(b"staged");
        let chunk = Chunk { range: None, length: Some(body.len() as u64) };
        let name = REPOSITORY.parse().unwrap();
        self.registry.append_upload(&ME, &name, session, chunk, once(body)).await.unwrap();
    }

    pub(crate) async fn commit(&self, statements: impl IntoIterator<Item = Statement>) {
        let mut batch = Batch::new(Uuid::now_v7(), self.registry.clock().now());
        batch.extend(statements);
        self.metadata.commit(batch).await.unwrap();
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let rows = self.metadata.query(Freshness::Latest, Statement::new(sql, vec![])).await.unwrap();
        rows[0].integer(0).unwrap()
    }

    /// A UUIDv7 made so long ago, by the registry's clock.
    pub(crate) fn id_from(&self, ago: Duration) -> Uuid {
        let at = Duration::from_millis(self.registry.clock().now() as u64) - ago;
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, at.as_secs(), at.subsec_nanos()))
    }
}

fn location(name: &str, id: u128, engine: Arc<dyn Engine>) -> Location {
    Location { name: name.to_owned(), id: Uuid::from_u128(id), scope: Scope::Shared, engine }
}

pub(crate) fn key_of(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

pub(crate) fn once(body: Bytes) -> ByteStream {
    futures::stream::iter([Ok(body)]).boxed()
}
