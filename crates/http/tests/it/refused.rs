//! What the admin API refuses by whom it is asked, and that this is told.

use axum::Router;
use roadstead_http::OwnHosts;
use serde_json::{Value, json};

use crate::guarded::{Guarded, PASSWORD, basic, json};
use crate::wire::Running;

const OWN: &str = "/users/reader/password";

fn new(password: &str) -> Value {
    json!({"password": password})
}

#[tokio::test]
async fn an_access_token_does_not_change_the_password_of_its_owner() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let shown = |token: &str| format!("Bearer {token}");
    let reader = shown(&guarded.token("reader", None, None).await.1);
    let root = shown(&guarded.token("root", None, None).await.1);
    let put = async |path: &str, shown: &str, body: Value| guarded.ask("PUT", path, shown, body).await;
    let refused = put(OWN, &reader, new("battery staple")).await;
    assert_eq!((refused.status, refused.text().contains("the present one")), (403, true), "{}", refused.text());
    let wrong = json!({"password": "battery staple", "present": "wrong horse"});
    assert_eq!(put(OWN, &reader, wrong).await.status, 403);
    let own = format!("/users/{}/password", "root");
    assert_eq!(put(&own, &root, new("battery staple")).await.status, 403, "an admin's own neither");
    assert_eq!(guarded.call("GET", "/v2/", &basic("reader", PASSWORD), b"").await.status, 200);
    // Who knows the present one may, and an admin gives others a new one.
    let right = json!({"password": "battery staple", "present": PASSWORD});
    assert_eq!(put(OWN, &reader, right).await.status, 204);
    assert_eq!(put(OWN, &basic("reader", "battery staple"), new("another horse")).await.status, 204);
    assert_eq!(put(OWN, &root, new(PASSWORD)).await.status, 204);
    assert_eq!(guarded.call("GET", "/v2/", &basic("reader", PASSWORD), b"").await.status, 200);
}

#[tokio::test]
async fn refused_calls_are_told() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let reader = basic("reader", PASSWORD);
    assert_eq!(guarded.ask("GET", "/user", &reader, Value::Null).await.status, 200);
    guarded.told();
    for (method, path, shown, status, told) in [
        ("GET", "/users", &*reader, 403, "admin denied GET /api/v1/users 403"),
        ("DELETE", "/users/root", &reader, 403, "admin denied DELETE /api/v1/users/root 403"),
        ("POST", "/keys/rotate", &reader, 403, "admin denied POST /api/v1/keys/rotate 403"),
        ("GET", "/users/root", &reader, 404, "admin failed GET /api/v1/users/root 404"),
        ("GET", "/tokens", "", 401, "admin denied GET /api/v1/tokens 401"),
    ] {
        assert_eq!(guarded.ask(method, path, shown, Value::Null).await.status, status, "{path}");
        let events = guarded.audit.take();
        let [event] = &events[..] else { panic!("{path}: {events:?}") };
        assert!(event.remote.is_some_and(|remote| remote.is_loopback()) && event.request.is_some());
        guarded.audit.note(event.clone());
        assert_eq!(guarded.told(), [told]);
    }
    // A bearer token is for repositories; a forged one is nobody's, wherever it is shown.
    let bearer = guarded.bearer(&reader, "repository:acme/app:pull").await;
    guarded.told();
    assert_eq!(guarded.ask("GET", "/users", &bearer, Value::Null).await.status, 401);
    assert_eq!(guarded.told(), ["admin denied GET /api/v1/users 401"]);
    let forged = format!("{}AAAA", &bearer[..bearer.len() - 4]);
    for shown in [&forged, "Bearer a.b.c", "Digest a=b"] {
        assert_eq!(guarded.call("GET", "/v2/acme/app/manifests/v1", shown, b"").await.status, 401);
        assert_eq!(guarded.told(), ["login denied - -"], "{shown}");
        assert_eq!(guarded.ask("GET", "/user", shown, Value::Null).await.status, 401);
        assert_eq!(guarded.told(), ["login denied - -"], "{shown}");
    }
    // One whose time is over is what clients come with all day long; what was done is told by itself.
    guarded.clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(guarded.call("GET", "/v2/acme/app/manifests/v1", &bearer, b"").await.status, 401);
    assert_eq!(guarded.told(), [""; 0]);
    let made = guarded.ask("POST", "/tokens", &reader, json!({"name": "ci"})).await;
    assert_eq!((made.status, guarded.told().len()), (201, 2), "a login and a token");
    assert_eq!(json(&made)["name"], "ci");
}

#[tokio::test]
async fn the_document_has_the_audit() {
    let guarded = Guarded::start().await;
    guarded.user("root", true).await;
    let root = basic("root", PASSWORD);
    let document = json(&guarded.ask("GET", "/openapi.json", &root, Value::Null).await);
    let audit = &document["paths"]["/audit"]["get"];
    let names: Vec<&str> =
        audit["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["since", "until", "repository", "actor", "action", "outcome", "n", "last"]);
    let schema = &audit["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/AuditPage");
    // Here nobody keeps it, and says so.
    let absent = guarded.ask("GET", "/audit", &root, Value::Null).await;
    assert_eq!((absent.status, absent.text().contains("audit.enabled")), (409, true));
}

/// From a loopback address, but by another name, as through a proxy on this machine.
#[tokio::test]
async fn metrics_are_for_admins_and_this_machine() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let (_, scraper) = guarded.token("root", Some("metrics"), None).await;
    let (_, whole) = guarded.token("root", None, None).await;
    let (_, other) = guarded.token("root", Some("pull:acme/*"), None).await;
    let (_, of_reader) = guarded.token("reader", Some("metrics"), None).await;
    let shown = |token: &str| format!("Bearer {token}");
    let bearer = guarded.bearer(&basic("root", PASSWORD), "repository:acme/app:pull").await;
    for (who, status) in [
        (String::new(), 401),
        (basic("root", "wrong horse"), 401),
        (bearer, 401),
        (basic("reader", PASSWORD), 403),
        (shown(&of_reader), 403),
        (shown(&other), 403),
        (basic("root", PASSWORD), 200),
        (basic("root", &scraper), 200),
        (shown(&scraper), 200),
        (shown(&whole), 200),
    ] {
        let answer = guarded.call("GET", "/metrics", &who, b"").await;
        assert_eq!(answer.status, status, "{who}: {}", answer.text());
        assert_eq!(answer.text().contains("roadstead_build_info"), status == 200);
        assert!(status != 401 || answer.header("www-authenticate").is_some());
    }
    // One for metrics is for nothing else.
    assert_eq!(guarded.call("GET", "/v2/acme/app/manifests/v1", &shown(&scraper), b"").await.status, 404);
    assert_eq!(guarded.ask("GET", "/users", &shown(&scraper), Value::Null).await.status, 403);
    let asked = async |headers: &str| {
        let mut client = guarded.api.server.connect().await;
        client.send(&format!("GET /metrics HTTP/1.1\r\n{headers}\r\n")).await;
        client.answer().await.status
    };
    for here in ["Host: localhost:5000\r\n", "Host: 127.0.0.1\r\n", "Host: [::1]:5000\r\n"] {
        assert_eq!(asked(here).await, 200, "{here}");
        assert_eq!(asked(&format!("{here}X-Forwarded-For: 192.0.2.1\r\n")).await, 401, "{here}");
    }
}

/// A page may let its name point at this machine, and then ask it by that name.
#[tokio::test]
async fn who_asks_nobody_answers_only_to_its_own_names() {
    let api = Router::new().fallback(async || "served");
    let names = ["mirror.example.com".to_owned(), "10.0.0.9".to_owned()];
    let hosts = OwnHosts::new(Some("https://registry.example.com"), &names);
    let server = Running::over(api, |app| app.only_for(hosts)).await;
    let asked = async |method: &str, path: &str, host: &str| {
        let mut client = server.connect().await;
        client.send(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")).await;
        client.answer().await
    };
    for own in [
        "localhost:5000",
        "127.0.0.1:5000",
        "registry.localhost",
        "[::1]:5000",
        "registry.example.com",
        "mirror.example.com:5000",
        "10.0.0.9",
    ] {
        for path in ["/v2/", "/metrics", "/health"] {
            assert_eq!(asked("GET", path, own).await.status, 200, "{own} {path}");
        }
    }
    for (method, path) in
        [("GET", "/v2/"), ("PUT", "/v2/a/manifests/v1"), ("GET", "/metrics"), ("GET", "/api/v1/workers")]
    {
        let answer = asked(method, path, "evil.example.com:5000").await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.text().contains("http.names") && answer.text().contains("auth.enabled"), "{}", answer.text());
    }
    assert_eq!(asked("GET", "/load_balancer_status", "10.0.0.1").await.status, 200, "a load balancer asks as it likes");
    let mut client = server.connect().await;
    client.send("GET /v2/ HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200, "no browser");
    // What a page of elsewhere has a browser send, which needs no name of its own for that.
    let blob = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nContent-Length: 0\r\n";
    for (said, status) in [
        ("Origin: http://evil.example.com\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Origin: http://127.0.0.1:5000\r\nSec-Fetch-Site: same-origin\r\n", 200),
        ("", 200),
    ] {
        let mut client = server.connect().await;
        client.send(&format!("{blob}{said}\r\n")).await;
        assert_eq!(client.answer().await.status, status, "{said}");
    }
    let mut client = server.connect().await;
    client.send("GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nOrigin: http://evil.example.com\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200, "it may not read the answer");
}
