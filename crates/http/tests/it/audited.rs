//! What the audit is told of requests, and who may see it.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use roadstead_http::{AuditApi, OciApi};
use roadstead_metadata::records::access::Subject;
use roadstead_metadata::{Memory, Sql, migrate, schema};
use roadstead_oci::RepositoryName;
use roadstead_registry::audit::{Actor, Audit, AuditAction, AuditOutcome, Event};
use roadstead_registry::identities::{Identities, NewRepository, NewUser};
use roadstead_registry::{
    AccessCache, Action, Caller, Clock, Denial, Error, Everyone, Identity, Parts, Permit, Policy, Registry, Rules,
    SystemClock,
};
use roadstead_storage::{Faults, Faulty, Memory as MemoryStore, Operation};
use roadstead_workers::{AuditLog, AuditOptions};
use serde_json::Value;
use uuid::Uuid;

use crate::api::{self, Api, sha256};
use crate::wire::{Answer, Running};

async fn audited(store: Arc<dyn roadstead_storage::Engine>) -> (Api, Arc<Audit>) {
    let audit = Arc::new(Audit::new(Arc::new(SystemClock::new())));
    let told = audit.clone();
    (Api::over(store, |api| api.with_audit(told)).await, audit)
}

/// What an event tells, in a line.
fn told(event: &Event) -> String {
    let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let digest = event.digest.map(|digest| digest.hex()[..4].to_owned());
    let (repository, tag) = (event.repository.as_ref(), event.tag.as_ref());
    format!(
        "{} {} {} {} {} {}",
        event.action.name(),
        event.outcome.name(),
        text(repository.map(ToString::to_string)),
        text(tag.map(|tag| tag.as_str().to_owned())),
        text(digest),
        text(event.status.map(|status| status.to_string())),
    )
}

fn taken(audit: &Audit) -> Vec<String> {
    audit.take().iter().map(told).collect()
}

#[tokio::test]
async fn pushes_pulls_mounts_and_deletions_are_told_and_nothing_else() {
    let (api, audit) = audited(Arc::new(MemoryStore::new())).await;
    let (_, digest) = api.push_image("team/app", "v1").await;
    let (config, layer, image) = (sha256(b"{}"), sha256(b"layer"), &digest.hex()[..4]);
    let pushed = |digest: &str| format!("push ok team/app - {digest} 201");
    let (config_hex, layer_hex) = (config.hex()[..4].to_owned(), layer.hex()[..4].to_owned());
    let expected = [pushed(&config_hex), pushed(&layer_hex), format!("push ok team/app v1 {image} 201")];
    assert_eq!(taken(&audit), expected);

    // Nothing of this is an event.
    let started = api.call("POST", "/v2/team/app/blobs/uploads/", &[], b"").await;
    let session = started.header("location").unwrap().to_owned();
    api.call("PATCH", &session, &[], b"lay").await;
    api.call("GET", &session, &[], b"").await;
    for path in ["/v2/", "/v2/_catalog", "/v2/team/app/tags/list", "/v2/Team/app/tags/list"] {
        api.get(path).await;
    }
    api.call("HEAD", "/v2/team/app/manifests/v1", &[], b"").await;
    api.call("HEAD", "/v2/team/app/manifests/none", &[], b"").await;
    assert_eq!(taken(&audit), [""; 0]);

    api.call("PUT", &format!("{session}?digest={layer}"), &[], b"er").await;
    api.call("POST", &format!("/v2/team/b/blobs/uploads/?mount={layer}&from=team/app"), &[], b"").await;
    api.get("/v2/team/app/manifests/v1").await;
    api.get(&format!("/v2/team/app/manifests/{digest}")).await;
    api.get(&format!("/v2/team/app/blobs/{layer}")).await;
    api.call("GET", &format!("/v2/team/app/blobs/{layer}"), &[("Range", "bytes=1-2")], b"").await;
    api.get("/v2/team/app/manifests/none").await;
    api.call("PUT", "/v2/team/app/manifests/bad", &[], b"{").await;
    api.call("DELETE", "/v2/team/app/manifests/v1", &[], b"").await;
    api.call("DELETE", &format!("/v2/team/app/manifests/{digest}"), &[], b"").await;
    let events = audit.take();
    let remote = events.iter().all(|event| event.remote.is_some_and(|ip| ip.is_loopback()) && event.request.is_some());
    assert!(remote && events.iter().all(|event| matches!(event.actor, Actor::Caller(Caller::Anonymous))));
    let expected = [
        pushed(&layer_hex),
        format!("mount ok team/b - {layer_hex} 201"),
        format!("pull ok team/app v1 {image} 200"),
        format!("pull ok team/app - {image} 200"),
        format!("pull ok team/app - {layer_hex} 200"),
        format!("pull ok team/app - {layer_hex} 206"),
        "pull failed team/app none - 404".to_owned(),
        "push failed team/app bad - 400".to_owned(),
        "delete ok team/app v1 - 202".to_owned(),
        format!("delete ok team/app - {image} 202"),
    ];
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_push_whose_client_went_is_told_as_unknown() {
    let faults = Faults::new();
    let (api, audit) = audited(Arc::new(Faulty::new(MemoryStore::new(), faults.clone()))).await;
    let held = faults.hold(Operation::Finish, 1);
    let digest = sha256(b"layer");
    let mut client = api.server.connect().await;
    let head =
        format!("POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nlayer");
    client.send_bytes(head.as_bytes()).await;
    held.arrived().await;
    drop(client);
    let event = loop {
        match audit.take().pop() {
            Some(event) => break event,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(told(&event), "push unknown a - - -");
    held.release();
}

/// Answers as it is asked to.
#[derive(Debug)]
struct Refusing;

#[async_trait::async_trait]
impl Policy for Refusing {
    fn at_once(&self, _: &Caller, _: Action, name: &RepositoryName) -> Option<roadstead_registry::Result<Permit>> {
        Some(Err(match name.as_str() {
            "nobody" => Error::Unauthorized,
            _ => Error::Denied(Denial::Write.to_string()),
        }))
    }
}

async fn parts(policy: Arc<dyn Policy>) -> (Parts, Arc<dyn Sql>, Arc<dyn Clock>) {
    let sql: Arc<dyn Sql> = Arc::new(Memory::open().unwrap());
    migrate(&*sql, schema::MIGRATIONS, 1).await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    (api::parts(sql.clone(), Arc::new(MemoryStore::new()), clock.clone(), policy), sql, clock)
}

async fn call(server: &Running, method: &str, path: &str, headers: &str) -> Answer {
    let mut client = server.connect().await;
    let body = if method == "GET" || method == "HEAD" { "" } else { "Content-Length: 0\r\n" };
    client.send_bytes(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}{body}\r\n").as_bytes()).await;
    if method == "HEAD" { client.head().await.unwrap() } else { client.answer().await }
}

#[tokio::test]
async fn refusals_are_told_of_every_endpoint_but_no_challenge() {
    let (parts, _, clock) = parts(Arc::new(Refusing)).await;
    let audit = Arc::new(Audit::new(clock));
    let api = OciApi::new(Registry::start(parts).await.unwrap()).with_audit(audit.clone());
    let server = Running::start(api.router(), |_| {}).await;
    let layer = sha256(b"layer");
    let ask = [
        ("GET", "manifests/v1".to_owned(), "pull"),
        ("HEAD", "manifests/v1".to_owned(), "pull"),
        ("HEAD", format!("blobs/{layer}"), "pull"),
        ("POST", "blobs/uploads/".to_owned(), "push"),
        ("DELETE", "manifests/v1".to_owned(), "delete"),
        ("GET", "tags/list".to_owned(), "list"),
        ("GET", format!("referrers/{layer}"), "list"),
    ];
    for (method, path, action) in &ask {
        assert_eq!(call(&server, method, &format!("/v2/secret/{path}"), "").await.status, 403, "{method} {path}");
        let events = audit.take();
        assert_eq!((events.len(), events[0].action.name(), events[0].outcome.name()), (1, *action, "denied"), "{path}");
        // A client that asks how to log in.
        assert_eq!(call(&server, method, &format!("/v2/nobody/{path}"), "").await.status, 401);
        assert!(audit.take().is_empty(), "{method} {path}");
    }
}

struct Shown {
    audit: Arc<Audit>,
    identities: Arc<Identities>,
    api: AuditApi,
}

async fn shown() -> Shown {
    let (parts, sql, clock) = parts(Arc::new(Everyone)).await;
    let policy = AccessCache::new(sql.clone(), clock.clone(), Rules::default(), Duration::from_secs(60));
    let identities = Arc::new(Identities::new(sql, clock.clone(), Arc::new(policy)));
    let audit = Arc::new(Audit::new(clock));
    let registry = Registry::start(parts).await.unwrap();
    let spool = Arc::new(MemoryStore::new());
    let log = AuditLog::open(audit.clone(), registry, spool, Uuid::now_v7(), AuditOptions::default()).await.unwrap();
    let api = AuditApi::new(log).with_identities(identities.clone());
    Shown { audit, identities, api }
}

impl Shown {
    fn pull(&self, repository: &str) {
        let mut event = Event::new(AuditAction::Pull, AuditOutcome::Ok, Actor::Claimed("bob".into()));
        event.repository = Some(repository.parse().unwrap());
        self.audit.note(event);
    }

    async fn ask(&self, caller: Option<Caller>, query: &str) -> (u16, Value, Option<String>) {
        let router: Router = self.api.clone().router();
        let router = match caller {
            Some(caller) => router.layer(Extension(caller)),
            None => router,
        };
        let server = Running::start(router, |_| {}).await;
        let answer = call(&server, "GET", &format!("/api/v1/audit{query}"), "").await;
        let link = answer.header("link").map(str::to_owned);
        (answer.status, serde_json::from_slice(&answer.body).unwrap(), link)
    }
}

#[tokio::test]
async fn system_admins_see_all_and_admins_of_a_repository_what_is_of_it() {
    let shown = shown().await;
    let user = async |name: &str, admin: bool| -> Caller {
        let new = NewUser { name, password: None, admin };
        let id = shown.identities.create_user(&Caller::Operator, &new).await.unwrap().id;
        Identity::new(Subject::User(id), name).into()
    };
    let (root, alice, eve) = (user("root", true).await, user("alice", false).await, user("eve", false).await);
    let new = NewRepository { name: "alice/app".parse().unwrap(), public: false, immutable_tags: false };
    shown.identities.create_repository(&alice, new).await.unwrap();
    for repository in ["alice/app", "team/b"] {
        shown.pull(repository);
    }
    let status = async |caller: &Caller, query: &str| shown.ask(Some(caller.clone()), query).await.0;
    assert_eq!(shown.ask(None, "").await.0, 401);
    assert_eq!(status(&Caller::Anonymous, "").await, 401);
    for caller in [&Caller::Operator, &root] {
        let (status, page, _) = shown.ask(Some(caller.clone()), "?action=pull").await;
        assert_eq!((status, page["events"].as_array().unwrap().len()), (200, 2), "{caller:?}");
    }
    let (of_one, page, _) = shown.ask(Some(alice.clone()), "?repository=alice/app&action=pull").await;
    assert_eq!((of_one, page["events"].as_array().unwrap().len()), (200, 1));
    assert_eq!((status(&alice, "").await, status(&alice, "?repository=team/b").await), (403, 404));
    assert_eq!((status(&eve, "").await, status(&eve, "?repository=alice/app").await), (403, 404));
}

/// Who made a repository under a name that another one had before learns nothing of that one.
#[tokio::test]
async fn a_name_that_comes_again_shows_nothing_of_before() {
    let shown = shown().await;
    let new = NewUser { name: "alice", password: None, admin: false };
    let id = shown.identities.create_user(&Caller::Operator, &new).await.unwrap().id;
    let alice: Caller = Identity::new(Subject::User(id), "alice").into();
    shown.pull("alice/app");
    let before = shown.audit.clock().now();
    while shown.audit.clock().now() <= before {
        std::hint::spin_loop();
    }
    let new = NewRepository { name: "alice/app".parse().unwrap(), public: false, immutable_tags: false };
    shown.identities.create_repository(&alice, new).await.unwrap();
    shown.pull("alice/app");
    let query = "?repository=alice/app&action=pull";
    for (caller, query, events) in [
        (&alice, query.to_owned(), 1),
        (&alice, format!("{query}&since=1970-01-01"), 1),
        (&Caller::Operator, query.to_owned(), 2),
    ] {
        let (status, page, _) = shown.ask(Some(caller.clone()), &query).await;
        assert_eq!((status, page["events"].as_array().unwrap().len()), (200, events), "{caller:?} {query}");
    }
}

#[tokio::test]
async fn pages_follow_their_links_and_wrong_queries_are_refused_by_name() {
    let shown = shown().await;
    for number in 0..5 {
        shown.pull(&format!("team/app{number}"));
    }
    let (mut query, mut found) = ("?n=2&actor=bob".to_owned(), Vec::new());
    loop {
        let (status, page, link) = shown.ask(Some(Caller::Operator), &query).await;
        assert_eq!(status, 200);
        found.extend(page["events"].as_array().unwrap().iter().map(|event| event["repository"].clone()));
        let Some(link) = link else {
            assert_eq!(page["next"], Value::Null);
            break;
        };
        let path = link.strip_prefix("</api/v1/audit").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        path.clone_into(&mut query);
    }
    assert_eq!(found, ["team/app4", "team/app3", "team/app2", "team/app1", "team/app0"]);
    for (query, named) in [
        ("?actr=bob", "actr"),
        ("?since=yesterday", "since"),
        ("?repository=Team/App", "repository"),
        ("?last=1", "last"),
        ("?n=many", "n:"),
    ] {
        let (status, body, _) = shown.ask(Some(Caller::Operator), query).await;
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(status == 422 && message.contains(named), "{query}: {message}");
    }
}
