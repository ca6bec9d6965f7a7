//! The API with access control, over memory engines, with a clock that tests move, and with people in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_http::{Auth, OciApi};
use roadstead_metadata::records::access::Access;
use roadstead_metadata::records::organization::Role;
use roadstead_metadata::{Memory, Sql, migrate, schema};
use roadstead_registry::audit::{Audit, Event};
use roadstead_registry::identities::{GrantTarget, Identities, NewGrant, NewRepository, NewToken, NewUser, Source};
use roadstead_registry::{AccessCache, Caller, Clock, Issuer, Keyring, Registry, Rules, SystemClock};
use roadstead_storage::Memory as MemoryStore;
use serde_json::Value;
use uuid::Uuid;

use crate::api::{Api, parts, sha256};
use crate::wire::{Answer, Running};

pub(crate) const PASSWORD: &str = "correct horse";
const OPERATOR: Caller = Caller::Operator;

/// The machine's clock, put forward.
#[derive(Debug, Default)]
pub(crate) struct Ahead(SystemClock, AtomicI64);

impl Ahead {
    pub(crate) fn advance(&self, by: Duration) {
        self.1.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for Ahead {
    fn now(&self) -> i64 {
        self.0.now() + self.1.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() + Duration::from_millis(self.1.load(Ordering::SeqCst) as u64)
    }
}

/// A registry that asks who comes.
pub(crate) struct Guarded {
    pub(crate) api: Api,
    pub(crate) identities: Arc<Identities>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) clock: Arc<Ahead>,
    pub(crate) sql: Arc<dyn Sql>,
    pub(crate) audit: Arc<Audit>,
}

/// What a request shows.
pub(crate) fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

impl Guarded {
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// The same with others who vouch for users.
    pub(crate) async fn start_with(sources: Vec<Arc<dyn Source>>) -> Self {
        let metadata = Arc::new(Memory::open().unwrap());
        let sql: Arc<dyn Sql> = metadata.clone();
        migrate(&*sql, schema::MIGRATIONS, 1).await.unwrap();
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(Ahead::default());
        let policy =
            Arc::new(AccessCache::new(sql.clone(), clock.clone(), Rules::default(), Duration::from_secs(3_600)));
        let parts = parts(sql.clone(), store.clone(), clock.clone(), policy.clone());
        let registry = Registry::start(parts).await.unwrap();
        let audit = Arc::new(Audit::new(clock.clone()));
        let identities = Identities::new(sql.clone(), clock.clone(), policy).with_audit(audit.clone());
        let identities = identities.with_sources(sources);
        let identities = Arc::new(identities);
        let keys = Keyring::open(sql.clone(), clock.clone()).await.unwrap();
        let issuer = Arc::new(Issuer::new(keys.clone(), clock.clone(), "roadstead"));
        let auth = Auth::new(registry.clone(), identities.clone(), issuer, clock.clone(), None);
        let auth = auth.with_audit(audit.clone());
        let scraping = auth.clone();
        let admin = crate::admin::over(registry.clone(), identities.clone(), keys.clone(), clock.clone());
        let router = auth.router().merge(auth.guard(admin.for_callers()));
        let router = router.merge(OciApi::new(registry.clone()).with_auth(auth).router());
        let server = Running::over(router, |app| app.with_metrics_for(scraping)).await;
        let api = Api { server, metadata, store };
        Self { api, identities, registry, keys, clock, sql, audit }
    }

    /// Adds a user with [`PASSWORD`].
    pub(crate) async fn user(&self, name: &str, admin: bool) {
        let new = NewUser { name, password: Some(PASSWORD), admin };
        self.identities.create_user(&OPERATOR, &new).await.unwrap();
    }

    /// Adds organization `acme` with a repository `acme/app` that has an image under `v1`, one that is public, users and
    /// a robot of all kinds.
    pub(crate) async fn world(&self) {
        let identities = &self.identities;
        for name in ["alice", "reader", "writer", "keeper", "owner"] {
            self.user(name, false).await;
        }
        self.user("root", true).await;
        identities.create_organization(&OPERATOR, "acme").await.unwrap();
        identities.put_member(&OPERATOR, "acme", "owner", Role::Owner).await.unwrap();
        identities.create_robot(&OPERATOR, "acme", "ci").await.unwrap();
        for (name, public) in [("acme/app", false), ("acme/open", true), ("acme/other", false)] {
            let new = NewRepository { name: name.parse().unwrap(), public, immutable_tags: false };
            identities.create_repository(&OPERATOR, new).await.unwrap();
        }
        let app = || GrantTarget::Repository("acme/app".parse().unwrap());
        let grants = [("reader", Access::ReadOnly), ("writer", Access::ReadWrite), ("keeper", Access::Admin)];
        for (to, access) in grants.into_iter().chain([("acme+ci", Access::ReadWrite)]) {
            identities.put_grant(&OPERATOR, &NewGrant { target: app(), to, access }).await.unwrap();
        }
        for repository in ["acme/app", "acme/open", "acme/other"] {
            self.push_image(&basic("root", PASSWORD), repository, "v1").await;
        }
    }

    /// An access token; for `of`, or for root.
    pub(crate) async fn token(&self, of: &str, scope: Option<&str>, life: Option<Duration>) -> (Uuid, String) {
        let new = NewToken {
            name: "test",
            of: Some(of),
            scope: scope.map(|scope| scope.parse().unwrap()),
            expires_at: life.map(|life| self.clock.now() + life.as_millis() as i64),
        };
        let made = self.identities.create_token(&OPERATOR, new).await.unwrap();
        (made.token.id, made.secret)
    }

    /// A request with what it shows; empty shows nothing.
    pub(crate) async fn call(&self, method: &str, path: &str, shown: &str, body: &[u8]) -> Answer {
        let headers = [("Authorization", shown), ("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
        let from = usize::from(shown.is_empty());
        self.api.call(method, path, &headers[from..], body).await
    }

    /// A request to the admin API.
    pub(crate) async fn ask(&self, method: &str, path: &str, shown: &str, body: Value) -> Answer {
        let headers = [("Authorization", shown), ("Content-Type", "application/json")];
        let from = usize::from(shown.is_empty());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.api.call(method, &format!("/api/v1{path}"), &headers[from..], body.as_bytes()).await
    }

    /// What the audit was told since it was asked last: action, outcome, object, status.
    pub(crate) fn told(&self) -> Vec<String> {
        let event = |event: &Event| {
            let object = event.object.as_deref().unwrap_or("-");
            let status = event.status.map_or("-".to_owned(), |status| status.to_string());
            format!("{} {} {object} {status}", event.action.name(), event.outcome.name())
        };
        self.audit.take().iter().map(event).collect()
    }

    /// A form to the token endpoint.
    pub(crate) async fn post_form(&self, form: &str) -> Answer {
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.api.call("POST", "/auth/token", &headers, form.as_bytes()).await
    }

    /// What the token endpoint gives for `shown`, as a header that shows it.
    pub(crate) async fn bearer(&self, shown: &str, scope: &str) -> String {
        let answer = self.call("GET", &format!("/auth/token?service=roadstead&scope={scope}"), shown, b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        format!("Bearer {}", json(&answer)["token"].as_str().unwrap())
    }

    pub(crate) async fn push_image(&self, shown: &str, repository: &str, tag: &str) {
        for blob in [&b"{}"[..], b"layer"] {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(blob));
            let answer = self.call("POST", &path, shown, blob).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        let manifest = crate::api::image().to_string();
        let answer = self.call("PUT", &format!("/v2/{repository}/manifests/{tag}"), shown, manifest.as_bytes()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

pub(crate) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("not JSON: {}", answer.text()))
}
