//! `roadstead status` and the endpoints it asks.

use std::process::Output;

use roadstead_testkit::{Body, Request, Server};
use serde_json::Value;

use crate::gc;

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks over the network.
fn at(url: &str, words: &[&str]) -> Output {
    crate::scale::program().args(["status", "--server", url]).args(words).output().unwrap()
}

fn body(server: &Server, method: &str, target: &str) -> (u16, Value) {
    let answer = server.client().call(method, target).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[test]
fn an_instance_tells_who_it_is_and_what_it_does() {
    let server = crate::scale::launch().set("ROADSTEAD_INSTANCE__REGION", "eu west").start();
    let (address, url) = (server.addr().to_string(), format!("http://{}", server.addr()));
    let page = told(&gc::roadstead(server.directory(), &["status"]));
    let row = page.lines().nth(1).unwrap();
    assert!(row.starts_with(&address) && row.contains("  eu west  answers  ") && row.contains("collect, "), "{page}");
    assert_eq!(told(&at(&url, &[])), page);

    let json: Value = serde_json::from_str(&told(&at(&url, &["--json"]))).unwrap();
    let instance = &json["instances"][0];
    assert_eq!((&instance["address"], &instance["answers"]), (&address.as_str().into(), &true.into()));
    assert!(instance["beat_at"].as_i64() >= instance["started_at"].as_i64());
    assert!(json["workers"].as_array().unwrap().iter().any(|worker| worker["name"] == "instances"));

    // Nothing that changes anything is to be had over the network.
    let (status, listed) = body(&server, "GET", "/api/v1/instances");
    assert_eq!((status, &listed[0]["id"]), (200, &instance["id"]));
    for (method, target) in [("POST", "/api/v1/gc"), ("GET", "/api/v1/scrub"), ("POST", "/api/v1/scrub")] {
        assert_eq!(body(&server, method, target).0, 404, "{method} {target}");
    }
    assert_eq!(body(&server, "DELETE", "/api/v1/instances").0, 405);
    // Nor anything by way of a proxy or of another name.
    let ask = |name: &str, value: &str| {
        let request = Request::new("GET", "/api/v1/instances").header(name, value);
        server.client().send(&request, Body::None).unwrap().status
    };
    assert_eq!(ask("Host", "localhost:80"), 200);
    for (name, value, told) in
        [("X-Forwarded-For", "10.0.0.1", 404), ("Via", "1.1 x", 404), ("Host", "evil.example:5000", 421)]
    {
        assert_eq!(ask(name, value), told, "{name}: {value}");
    }
}

#[test]
fn an_instance_that_others_reach_tells_nothing_over_the_network() {
    let server = crate::scale::launch()
        .set("ROADSTEAD_AUTH__ENABLED", "false")
        .set("ROADSTEAD_HTTP__ADDR", "0.0.0.0:0")
        .set("ROADSTEAD_HTTP__TLS__DISABLED", "true")
        .set("ROADSTEAD_INSTANCE__ADDRESS", "registry-1:5000")
        .start();
    let url = format!("http://127.0.0.1:{}", server.addr().port());
    let refused = at(&url, &["--json"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let page = told(&gc::roadstead(server.directory(), &["status"]));
    assert!(page.lines().nth(1).unwrap().starts_with("registry-1:5000  "), "{page}");
}

#[test]
fn who_is_not_there_is_named() {
    let gone = at("http://127.0.0.1:9", &[]);
    assert_eq!(gone.status.code(), Some(1));
    let text = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(text.contains("http://127.0.0.1:9"), "{text}");
    let wrong = at("127.0.0.1:9", &[]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("http://HOST:PORT"), "{wrong:?}");
}
