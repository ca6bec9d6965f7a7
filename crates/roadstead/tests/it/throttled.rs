//! Whoever guesses passwords is stopped before the server hashes them, and nobody else is.

use std::net::Ipv4Addr;

use roadstead_testkit::{Body, Client, Request, Response, Server};
use serde_json::json;

use crate::guarded::{PASSWORD, add_user, admin, administer, guarded};
use crate::scale;

const GUESSER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

/// Hashes of passwords that the server has computed, by its own count.
pub(crate) fn hashes(server: &Server) -> u64 {
    let metrics = server.client().call("GET", "/metrics").unwrap();
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let counted = text.lines().find_map(|line| line.strip_prefix("roadstead_password_hashes_total "));
    counted.expect("a count").parse().unwrap()
}

/// A guess: at what clients pull from, at the token endpoint, and by its form, in turn.
fn guess(server: &Server, number: u64) -> Response {
    let client = server.client().from(GUESSER.into());
    let password = format!("guess number {number}");
    match number % 3 {
        0 => client.user("alice", &password).call("GET", "/v2/").unwrap(),
        1 => client.user("alice", &password).call("GET", "/auth/token?service=roadstead").unwrap(),
        _ => {
            let form = Request::new("POST", "/auth/token").header("Content-Type", "application/x-www-form-urlencoded");
            let body = format!("grant_type=password&username=alice&password={password}");
            client.send(&form, Body::Bytes(body.replace(' ', "+").as_bytes())).unwrap()
        }
    }
}

#[test]
fn a_throttled_try_costs_no_hash_and_keeps_nobody_else_out() {
    let server = guarded(scale::launch()).start();
    let admin = admin(server.addr());
    add_user(&admin, "alice");
    let token = administer(&admin, "POST", "/tokens", &json!({"name": "t", "for": "user:alice"}));
    let status = |client: Client| client.call("GET", "/v2/").unwrap().status;

    let before = hashes(&server);
    let (mut wrong, mut throttled) = (0, 0);
    for number in 0..300 {
        let answer = guess(&server, number);
        match answer.status {
            401 => wrong += 1,
            429 => {
                throttled += 1;
                let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
                assert!((1..=7).contains(&seconds), "{answer:?}");
                assert_eq!(answer.error_code().as_deref(), Some("TOOMANYREQUESTS"));
            }
            _ => panic!("{answer:?}"),
        }
    }
    println!("{wrong} wrong, {throttled} throttled");
    assert!(wrong >= 10 && throttled > wrong, "{wrong} wrong, {throttled} throttled");
    assert_eq!(hashes(&server) - before, wrong, "of the throttled ones none was hashed");

    // She comes from elsewhere, her programs and everybody else also from there.
    let secret = token["secret"].as_str().unwrap();
    let before = hashes(&server);
    assert_eq!(status(server.client().from(ELSEWHERE.into()).user("alice", PASSWORD)), 200);
    assert_eq!(hashes(&server) - before, 1);
    assert_eq!(status(server.client().from(GUESSER.into()).user("alice", secret)), 200);
    assert_eq!(status(server.client().from(GUESSER.into()).user("admin", PASSWORD)), 200);
    // And who logged in a moment ago is known there, too.
    assert_eq!(status(server.client().from(GUESSER.into()).user("alice", PASSWORD)), 200);
}
