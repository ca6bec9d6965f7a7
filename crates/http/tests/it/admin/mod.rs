//! The admin API for identities: every endpoint's status and body, by whom it is asked.

mod manners;
mod people;
mod things;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use roadstead_http::AdminApi;
use roadstead_metadata::{Memory, Sql, migrate, schema};
use roadstead_registry::identities::{Identities, NewUser};
use roadstead_registry::{AccessCache, Caller, Clock, Keyring, Registry, Rules, SystemClock};
use roadstead_storage::Memory as MemoryStore;
use roadstead_workers::{Collect, Collection, Instances, Reaper, Scrub, Supervisor};
use serde_json::{Value, json};

use crate::api::parts;
use crate::wire::{Answer, Running};

/// Who a request of these tests says that it is.
const CALLER: &str = "x-caller";

const PASSWORD: &str = "correct horse";

/// The API for callers, with `root`, a system admin.
struct Office {
    server: Running,
    metadata: Arc<Memory>,
    identities: Arc<Identities>,
    callers: Callers,
}

/// Who has been recognized, by what the requests say.
type Callers = Arc<Mutex<HashMap<String, Caller>>>;

impl Office {
    async fn start() -> Self {
        let (metadata, api, identities) = api().await;
        let callers = Callers::default();
        let known = callers.clone();
        let recognize = move |mut request: Request, next: Next| {
            let name = request.headers().get(CALLER).map(|value| value.to_str().unwrap().to_owned());
            if let Some(caller) = name.map(|name| known.lock().unwrap()[&name].clone()) {
                request.extensions_mut().insert(caller);
            }
            next.run(request)
        };
        let router = api.for_callers().layer(middleware::from_fn(recognize));
        Self { server: Running::start(router, |_| {}).await, metadata, identities, callers }
    }

    /// Asks as somebody with this password or token; as nobody when the name is empty.
    async fn ask(&self, who: (&str, &str), method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let caller = self.recognized(who).await;
        let (length, path) =
            (body.len(), if path.starts_with("/api") { path.into() } else { format!("/api/v1{path}") });
        let mut client = self.server.connect().await;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{caller}\r\n");
        client.send(&format!("{head}{body}")).await;
        client.answer().await
    }

    /// The header of somebody who logs in.
    async fn recognized(&self, (name, secret): (&str, &str)) -> String {
        let caller = match name {
            "" => return String::new(),
            "operator" => Caller::Operator,
            "anonymous" => Caller::Anonymous,
            name => self.identities.log_in(name, secret).await.unwrap().into(),
        };
        let said = format!("{name} {}", secret.trim());
        self.callers.lock().unwrap().insert(said.trim().to_owned(), caller);
        format!("{CALLER}: {}\r\n", said.trim())
    }

    /// The same as `root`; the status has to be this one.
    async fn root(&self, status: u16, method: &str, path: &str, body: Value) -> Value {
        self.by("root", status, method, path, body).await
    }

    /// The same as a user whose password is [`PASSWORD`].
    async fn by(&self, name: &str, status: u16, method: &str, path: &str, body: Value) -> Value {
        let answer = self.ask((name, PASSWORD), method, path, body).await;
        assert_eq!(answer.status, status, "{name}: {method} {path}: {}", answer.text());
        json_of(&answer)
    }

    /// What a refusal to somebody says: its code.
    async fn refused(&self, name: &str, status: u16, method: &str, path: &str, body: Value) -> String {
        let told = self.by(name, status, method, path, body).await;
        told["errors"][0]["code"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
    }

    async fn user(&self, name: &str) {
        self.root(201, "POST", "/users", json!({"name": name, "password": PASSWORD})).await;
    }
}

fn json_of(answer: &Answer) -> Value {
    if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() }
}

/// What the next page is asked by.
fn next(answer: &Answer) -> Option<String> {
    let (url, rest) = answer.header("link")?.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rest, "; rel=\"next\"");
    Some(url.to_owned())
}

async fn api() -> (Arc<Memory>, AdminApi, Arc<Identities>) {
    let metadata = Arc::new(Memory::open().unwrap());
    let (sql, clock): (Arc<dyn Sql>, Arc<dyn Clock>) = (metadata.clone(), Arc::new(SystemClock::new()));
    migrate(&*sql, schema::MIGRATIONS, 1).await.unwrap();
    let policy = Arc::new(AccessCache::new(sql.clone(), clock.clone(), Rules::default(), Duration::from_secs(60)));
    let parts = parts(sql.clone(), Arc::new(MemoryStore::new()), clock.clone(), policy.clone());
    let registry = Registry::start(parts).await.unwrap();
    let identities = Arc::new(Identities::new(sql, clock.clone(), policy));
    let root = NewUser { name: "root", password: Some(PASSWORD), admin: true };
    identities.create_user(&Caller::Operator, &root).await.unwrap();
    let keys = Keyring::open(metadata.clone(), Arc::new(SystemClock::new())).await.unwrap();
    (metadata, over(registry, identities.clone(), keys, clock), identities)
}

/// The API of an instance with the usual work.
pub(crate) fn over(
    registry: Arc<Registry>,
    identities: Arc<Identities>,
    keys: Arc<Keyring>,
    clock: Arc<dyn Clock>,
) -> AdminApi {
    let collect = Arc::new(Collect::new(registry.clone()));
    let collection = Arc::new(Collection::new(collect, Arc::new(Reaper::new(registry.clone()))));
    let scrub = Arc::new(Scrub::new(registry.clone()));
    let workers = Arc::new(Supervisor::new(clock));
    workers.spawn(scrub.clone());
    let instances = Instances::new(registry, false, "1.2.3", "");
    AdminApi::new(workers, collection, scrub, instances, identities).with_keys(Some(keys))
}
