//! What all endpoints have in common: pages, refusals, who is let in.

use axum::Router;
use roadstead_metadata::Status;
use serde_json::{Value, json};

use super::{Office, PASSWORD, api, json_of, next};
use crate::wire::Running;

#[tokio::test]
async fn lists_come_a_page_at_a_time() {
    let office = Office::start().await;
    office.root(201, "POST", "/organizations", json!({"name": "acme"})).await;
    for name in ["a", "b", "c", "d"] {
        office.root(201, "POST", "/users", json!({"name": name})).await;
        office.root(200, "PUT", &format!("/organizations/acme/members/{name}"), Value::Null).await;
        office.root(201, "POST", "/repositories", json!({"name": format!("acme/{name}")})).await;
        office.root(201, "POST", "/tokens", json!({"name": name, "for": "user:a"})).await;
    }
    let member = "/organizations/acme/members";
    for (list, key, total) in [
        ("/users", "name", 5),
        ("/repositories", "name", 4),
        (member, "user", 5),
        ("/tokens?for=user:a", "name", 4_usize),
    ] {
        let separator = if list.contains('?') { '&' } else { '?' };
        let (mut path, mut seen, mut pages) = (format!("/api/v1{list}{separator}n=2"), Vec::new(), 0);
        loop {
            let answer = office.ask(("root", PASSWORD), "GET", &path, Value::Null).await;
            let entries = json_of(&answer);
            assert!(answer.status == 200 && entries.as_array().unwrap().len() <= 2, "{}", answer.text());
            seen.extend(entries.as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = next(&answer) else { break };
            assert!(next.contains("n=2&last="), "{next}");
            path = next;
        }
        let mut whole = seen.clone();
        whole.sort();
        whole.dedup();
        assert_eq!((seen.len(), whole.len(), pages), (total, total, total.div_ceil(2)), "{list}: {seen:?}");
    }
    assert_eq!(office.root(200, "GET", "/users?n=0", Value::Null).await, json!([]));
    assert_eq!(office.root(200, "GET", "/users?n=99999&last=c", Value::Null).await.as_array().unwrap().len(), 2);
    assert_eq!(office.refused("root", 422, "GET", "/users?n=many", Value::Null).await, "INVALID");
    assert_eq!(office.refused("root", 422, "GET", &format!("{member}?last=x"), Value::Null).await, "INVALID");
    assert_eq!(office.refused("root", 400, "GET", "/users?last=%zz", Value::Null).await, "INVALID");
}

/// As the document tells them, so that no endpoint can be forgotten here.
#[tokio::test]
async fn nobody_gets_anywhere_and_every_endpoint_of_the_document_is_there() {
    let office = Office::start().await;
    office.user("alice").await;
    let answer = office.ask(("", ""), "GET", "/openapi.json", Value::Null).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document = json_of(&answer);
    assert_eq!(document["openapi"], "3.1.0");
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            if path == "/openapi.json" {
                continue;
            }
            let answer = office.ask(("", ""), &method, &path, json!({})).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
            assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(json_of(&answer)["errors"][0]["code"], "UNAUTHORIZED");
            // With a body that its use case could begin with nobody is let in either, but to what is public.
            let answer = office.ask(("anonymous", ""), &method, &path, Value::Null).await;
            let expected = if (method.as_str(), path.as_str()) == ("GET", "/repositories") { 200 } else { 401 };
            let refused_first = matches!(answer.status, 422) && matches!(method.as_str(), "POST" | "PUT" | "DELETE");
            assert!(answer.status == expected || refused_first, "{method} {path}: {}", answer.text());
            asked += 1;
        }
    }
    assert!(asked > 40, "{asked}");
    for path in ["/workers", "/instances", "/scrub", "/settings"] {
        assert_eq!(office.refused("alice", 403, "GET", path, Value::Null).await, "DENIED");
        office.root(200, "GET", path, Value::Null).await;
    }
    for (method, path) in [("POST", "/gc"), ("POST", "/scrub"), ("DELETE", "/scrub"), ("POST", "/scrub/orphans")] {
        assert_eq!(office.refused("alice", 403, method, path, Value::Null).await, "DENIED");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_asked_for_rightly_is_told() {
    let office = Office::start().await;
    for path in ["/nothing", "/", "", "/users/a/b", "/organizations//members"] {
        assert_eq!(office.refused("root", 404, "GET", path, Value::Null).await, "NOT_FOUND", "{path}");
    }
    let answer = office.ask(("root", PASSWORD), "DELETE", "/users", Value::Null).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")));
    for (body, status, part) in [
        ("nonsense", 400, "no JSON"),
        ("[\"bob\", null, true]", 400, "JSON object"),
        ("{\"name\": \"bob\", \"pasword\": \"hunter2222\"}", 422, "unknown field `pasword`"),
        ("{\"name\": \"bob\", \"admin\": \"hunter2222\"}", 422, "admin: expected a boolean"),
        ("{\"name\": \"bob\", \"password\": 12345678}", 422, "password: expected a string"),
        ("", 422, "missing field `name`"),
    ] {
        let mut client = office.server.connect().await;
        let length = body.len();
        let root = office.recognized(("root", PASSWORD)).await;
        let head = format!("POST /api/v1/users HTTP/1.1\r\nHost: x\r\n{root}");
        client.send(&format!("{head}Content-Length: {length}\r\n\r\n{body}")).await;
        let answer = client.answer().await;
        assert!(answer.status == status && answer.text().contains(part), "{body}: {}", answer.text());
        assert!(!answer.text().contains("hunter2222") && !answer.text().contains("12345678"), "{}", answer.text());
    }
    let large = json!({"name": "x".repeat(65 << 10)});
    let answer = office.ask(("root", PASSWORD), "POST", "/users", large).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    let mut client = office.server.connect().await;
    let root = office.recognized(("root", PASSWORD)).await;
    let head = format!("POST /api/v1/gc HTTP/1.1\r\nHost: x\r\n{root}");
    client.send(&format!("{head}Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 403, "another site's page");
}

/// A page in a browser that knows somebody's credentials can send forms, and says whose page it is.
#[tokio::test]
async fn a_form_of_a_web_page_does_nothing() {
    let office = Office::start().await;
    let root = office.recognized(("root", PASSWORD)).await;
    let body = json!({"name": "evil", "password": "battery staple", "admin": true}).to_string();
    for (headers, status) in [
        ("Content-Type: text/plain", 415),
        ("Content-Type: application/x-www-form-urlencoded", 415),
        ("Content-Type: application/json\r\nOrigin: http://evil.example", 403),
        ("Content-Type: application/json\r\nOrigin: null", 403),
        ("Content-Type: application/json; charset=utf-8\r\nOrigin: https://x", 201),
    ] {
        let mut client = office.server.connect().await;
        let head = format!("POST /api/v1/users HTTP/1.1\r\nHost: x\r\n{root}{headers}\r\n");
        client.send(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(client.answer().await.status, status, "{headers}");
    }
}

#[tokio::test]
async fn while_metadata_takes_no_writes_it_is_told_when_to_come_again() {
    let office = Office::start().await;
    office.metadata.set_status(Status::ReadOnly("for a while".into()));
    let answer = office.ask(("operator", ""), "POST", "/organizations", json!({"name": "acme"})).await;
    assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{}", answer.text());
    assert_eq!(json_of(&answer)["errors"][0]["code"], "UNAVAILABLE");
}

#[tokio::test]
async fn the_operator_does_everything_on_the_socket() {
    let (_, api, _) = api().await;
    let server = Running::start(Router::new().merge(api.router()), |_| {}).await;
    for path in ["/api/v1/user", "/api/v1/users", "/api/v1/workers", "/api/v1/openapi.json"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}
