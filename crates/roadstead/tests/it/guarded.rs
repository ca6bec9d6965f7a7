//! What tests of access control share: servers that ask who comes, their administration over the network, and tokens.

use std::net::SocketAddr;

use roadstead_testkit::{Body, Client, Launch, Request, Response};
use serde_json::Value;

/// Of the admin, and of everybody that [`add_user`] adds.
pub(crate) const PASSWORD: &str = "correct horse";

/// A server that asks who comes, with an admin.
pub(crate) fn guarded(launch: Launch) -> Launch {
    launch.set("ROADSTEAD_AUTH__ENABLED", "true").set("ROADSTEAD_ADMIN_PASSWORD", PASSWORD)
}

/// The system admin at one of the instances.
pub(crate) fn admin(addr: SocketAddr) -> Client {
    Client::new(addr).user("admin", PASSWORD)
}

/// A call of the admin API, whatever its answer.
pub(crate) fn call(client: &Client, method: &str, path: &str, body: &Value) -> Response {
    let request = Request::new(method, format!("/api/v1{path}")).header("Content-Type", "application/json");
    match body {
        Value::Null => client.send(&request, Body::None),
        body => client.send(&request, Body::Bytes(body.to_string().as_bytes())),
    }
    .unwrap()
}

/// A call that must succeed.
pub(crate) fn administer(client: &Client, method: &str, path: &str, body: &Value) -> Value {
    let answer = call(client, method, path, body);
    assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
    answer.json()
}

pub(crate) fn add_user(admin: &Client, name: &str) {
    administer(admin, "POST", "/users", &serde_json::json!({"name": name, "password": PASSWORD}));
}

/// What the token endpoint gives this client for `scope`.
pub(crate) fn bearer(of: &Client, scope: &str) -> String {
    let answer = of.call("GET", &format!("/auth/token?service=roadstead&scope={scope}")).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["token"].as_str().unwrap().to_owned()
}
