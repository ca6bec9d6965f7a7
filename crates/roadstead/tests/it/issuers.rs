//! Users of an OpenID Connect issuer: its ID tokens in place of passwords.

use std::time::{SystemTime, UNIX_EPOCH};

use roadstead_testkit::{IdentityProvider, Image, Launch, Seed, Server, TokenKey};
use serde_json::{Value, json};

use crate::scale;
use crate::sources::{ADMIN, comes, metrics, told, until_said};

fn launch(provider: &IdentityProvider) -> Launch {
    scale::launch()
        .set("ROADSTEAD_ADMIN_PASSWORD", ADMIN)
        .set("ROADSTEAD_LOG__LEVEL", "info")
        .set("ROADSTEAD_AUTH__OIDC__ISSUER", &provider.issuer())
        .set("ROADSTEAD_AUTH__OIDC__AUDIENCE", "registry")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a right token states of a user, and some other things in place of that.
fn claims(provider: &IdentityProvider, name: &str, other: Value) -> Value {
    let mut claims = json!({
        "iss": provider.issuer(), "aud": "registry", "sub": "1", "preferred_username": name,
        "iat": now(), "exp": now() + 300,
    });
    claims.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    claims
}

fn token(provider: &IdentityProvider, name: &str, other: Value) -> String {
    provider.key().token(&claims(provider, name, other))
}

#[test]
fn id_tokens_stand_in_place_of_passwords() {
    let provider = IdentityProvider::start();
    let server = launch(&provider).start();
    let alice = token(&provider, "alice", json!({}));
    assert_eq!(comes(&server, "alice", &alice), 200);
    let (client, image) = (server.client().user("alice", &alice), Image::generate(Seed(1), &[1_000]));
    client.push_image("alice/app", "v1", &image).unwrap();
    assert!(client.push_image("bob/app", "v1", &image).is_err());
    assert_eq!(client.pull_image("alice/app", "v1").unwrap(), image.digest());
    assert_eq!(told(&server, "user show alice"), format!("alice, of {}\n", provider.issuer()));

    // What is made of it is good for no longer.
    let short = token(&provider, "alice", json!({"exp": now() + 40}));
    let answer = server.client().user("alice", &short).call("GET", "/auth/token?service=roadstead").unwrap().json();
    assert!((1..=40).contains(&answer["expires_in"].as_u64().unwrap()), "{answer}");

    let events = told(&server, "audit --json --action login");
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let detail = format!("by {}", provider.issuer());
    assert!(events.iter().any(|event| event["actor"] == "alice" && event["detail"] == detail), "{events:?}");
    let output = server.ended();
    assert!(!output.contains(&alice) && !output.contains(alice.rsplit('.').next().unwrap()), "{output}");
}

#[test]
fn other_tokens_are_refused() {
    let provider = IdentityProvider::start();
    let server = launch(&provider).start();
    let key = provider.key();
    let of = |name: &str, other: Value| token(&provider, name, other);
    let plain = |name: &str| claims(&provider, name, json!({}));
    let public = key.published();
    for (name, wrong) in [
        ("expired", of("expired", json!({"exp": now() - 1}))),
        ("audience", of("audience", json!({"aud": "other"}))),
        ("issuer", of("issuer", json!({"iss": "https://login.example.com"}))),
        ("early", of("early", json!({"nbf": now() + 120}))),
        ("none", key.nobodys(&plain("none"))),
        ("symmetric", key.symmetric(public.to_string().as_bytes(), &plain("symmetric"))),
        ("symmetric-x", key.symmetric(public["x"].as_str().unwrap().as_bytes(), &plain("symmetric-x"))),
        ("stranger", TokenKey::new("key-1", "ES256").token(&plain("stranger"))),
        ("another", of("alice", json!({}))),
        ("Upper", of("Upper", json!({}))),
        ("library", of("library", json!({}))),
        // One of ours, with a password here.
        ("admin", of("admin", json!({}))),
    ] {
        assert_eq!(comes(&server, name, &wrong), 401, "{name}");
    }
    assert_eq!(comes(&server, "admin", ADMIN), 200);
    assert!(!told(&server, "user list").contains(&provider.issuer()), "nobody was let in");
}

#[test]
fn keys_change_and_the_issuer_goes() {
    let provider = IdentityProvider::start();
    let server = launch(&provider).start();
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", json!({"jti": 1}))), 200);
    let old = provider.key();
    for algorithm in ["RS256", "EdDSA"] {
        provider.rotate(algorithm);
        assert_eq!(comes(&server, "alice", &token(&provider, "alice", json!({"jti": algorithm}))), 200, "{algorithm}");
    }
    assert_eq!(comes(&server, "bob", &old.token(&claims(&provider, "bob", json!({})))), 401);

    // By keys that are known tokens are judged on; by others nobody is let in, and is told why.
    let known = provider.key();
    provider.down(true);
    assert_eq!(comes(&server, "alice", &known.token(&claims(&provider, "alice", json!({"jti": 2})))), 200);
    let unknown = provider.rotate("ES256").token(&claims(&provider, "alice", json!({"jti": 3})));
    let answer = server.client().user("alice", &unknown).call("GET", "/v2/").unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 503, "{text}");
    assert!(text.contains("the issuer of ID tokens does not answer; try again later"), "{text}");
    assert_eq!(comes(&server, "admin", ADMIN), 200);
}

#[test]
fn an_issuer_that_is_away_keeps_nobody_else_out() {
    let provider = IdentityProvider::start();
    provider.down(true);
    let server = launch(&provider).start();
    let alice = token(&provider, "alice", json!({}));
    let answer = server.client().user("alice", &alice).call("GET", "/v2/").unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains("the issuer of ID tokens does not answer; try again later"), "{text}");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert_eq!(comes(&server, "admin", ADMIN), 200);
    until_said(&server, 0, "the issuer's keys cannot be had");
    let gauge = format!("roadstead_identity_source_current{{source=\"{}\"}}", provider.issuer());
    assert!(metrics(&server).contains(&format!("{gauge} 0")), "{}", metrics(&server));
    provider.down(false);
    assert_eq!(comes(&server, "alice", &alice), 200);
    assert!(metrics(&server).contains(&format!("{gauge} 1")), "{}", metrics(&server));
    let output = server.ended();
    assert!(!output.contains("of users does not answer"), "it is told once, not with each request: {output}");
}

/// Nothing of what is asked for at the start is waited for, and what is wrong is told there.
#[test]
fn an_issuer_is_looked_at_before_the_first_login() {
    let provider = IdentityProvider::start();
    provider.claim("https://other.example.com");
    let server = launch(&provider).start();
    until_said(&server, 0, "write that in auth.oidc.issuer, to the last character");
    drop::<Server>(server);
}

/// A name that the issuer gives to somebody else is not the user of before.
#[test]
fn a_name_that_is_given_to_another_is_not_the_user_of_before() {
    let provider = IdentityProvider::start();
    let server = launch(&provider).start();
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", json!({"sub": "1"}))), 200);
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", json!({"sub": "2"}))), 401);
    until_said(&server, 0, "`roadstead user relink alice`");
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", json!({"sub": "1", "jti": 1}))), 200);
    assert_eq!(told(&server, "user relink alice"), "who logs in next as alice is user alice\n");
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", json!({"sub": "2", "jti": 1}))), 200);
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", json!({"sub": "1", "jti": 2}))), 401);
}

/// Only those come in whom the claims are of and an admin added.
#[test]
fn not_everybody_whom_an_issuer_knows_comes_in() {
    let provider = IdentityProvider::start();
    let server = launch(&provider)
        .set("ROADSTEAD_AUTH__OIDC__REQUIRED_CLAIMS", "repository_owner=acme")
        .set("ROADSTEAD_AUTH__OIDC__CREATE_ACCOUNTS", "false")
        .start();
    let (acme, other) = (json!({"repository_owner": "acme"}), json!({"repository_owner": "other"}));
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", acme.clone())), 401);
    until_said(&server, 0, &format!("`roadstead user add alice --source {}`", provider.issuer()));
    told(&server, &format!("user add alice --source {}", provider.issuer()));
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", other)), 401);
    assert_eq!(comes(&server, "alice", &token(&provider, "alice", acme)), 200);
}
