//! What somebody has who stole a credential, and that it ends.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roadstead_metadata::records::access_token::{self, AccessToken};
use roadstead_metadata::records::organization::Role;
use roadstead_metadata::{Batch, Freshness};
use roadstead_registry::{Caller, Clock as _, Issuer, Keyring, NotGood, Rotation};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::guarded::{Guarded, PASSWORD, basic, json};

const V1: &str = "/v2/acme/app/manifests/v1";
const PULL: &str = "repository:acme/app:pull";

/// An access token that is made by whoever shows this: its id, and how it is shown.
async fn made(guarded: &Guarded, shown: &str, body: Value) -> (String, String) {
    let answer = guarded.ask("POST", "/tokens", shown, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let token = json(&answer);
    (token["id"].as_str().unwrap().to_owned(), format!("Bearer {}", token["secret"].as_str().unwrap()))
}

#[tokio::test]
async fn tokens_end_with_the_one_they_were_made_with() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let owner = basic("owner", PASSWORD);
    let status = async |shown: &str| guarded.call("GET", V1, shown, b"").await.status;
    let (stolen, thief) = made(&guarded, &owner, json!({"name": "stolen"})).await;
    let (_, child) = made(&guarded, &thief, json!({"name": "child"})).await;
    let (_, grandchild) = made(&guarded, &child, json!({"name": "grandchild"})).await;
    let (_, robot) = made(&guarded, &child, json!({"name": "robot", "for": "robot:acme+ci"})).await;
    let (_, other) = made(&guarded, &owner, json!({"name": "other"})).await;
    let bearer = guarded.bearer(&grandchild, PULL).await;
    for shown in [&child, &grandchild, &robot, &bearer, &other] {
        assert_eq!(status(shown).await, 200);
    }
    let listed = json(&guarded.ask("GET", "/tokens", &owner, Value::Null).await);
    let made_with: Vec<&Value> = listed.as_array().unwrap().iter().map(|token| &token["made_with"]).collect();
    assert_eq!(made_with, [&Value::Null, &json!(stolen), &listed[1]["id"], &Value::Null]);
    assert_eq!(guarded.ask("DELETE", &format!("/tokens/{stolen}"), &owner, Value::Null).await.status, 204);
    for shown in [&thief, &child, &grandchild, &robot, &bearer] {
        assert_eq!(status(shown).await, 401);
    }
    assert_eq!(status(&other).await, 200);
}

/// A login of the command line is a token that ends itself: what was made meanwhile for a robot goes on, until somebody
/// ends that token, too.
#[tokio::test]
async fn a_token_that_ends_itself_leaves_those_of_others() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let owner = basic("owner", PASSWORD);
    let status = async |shown: &str| guarded.call("GET", V1, shown, b"").await.status;
    let (login, shown) = made(&guarded, &owner, json!({"name": "login"})).await;
    let (_, own) = made(&guarded, &shown, json!({"name": "own"})).await;
    let (_, robot) = made(&guarded, &shown, json!({"name": "robot", "for": "robot:acme+ci"})).await;
    let end = format!("/tokens/{login}");
    assert_eq!(guarded.ask("DELETE", &end, &shown, Value::Null).await.status, 204);
    assert_eq!((status(&shown).await, status(&own).await, status(&robot).await), (401, 401, 200));
    assert_eq!(guarded.ask("DELETE", &end, &owner, Value::Null).await.status, 204);
    assert_eq!(status(&robot).await, 401);
}

/// Who left an organization ends nothing of its robots by ending a token of its own; others can still do that.
#[tokio::test]
async fn a_token_takes_along_only_what_its_owner_could_end() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let all = &guarded.identities;
    let (alice, root) = (basic("alice", PASSWORD), basic("root", PASSWORD));
    all.put_member(&Caller::Operator, "acme", "alice", Role::Owner).await.unwrap();
    let (login, shown) = made(&guarded, &alice, json!({"name": "login"})).await;
    let (id, robot) = made(&guarded, &shown, json!({"name": "robot", "for": "robot:acme+ci"})).await;
    all.remove_member(&Caller::Operator, "acme", "alice").await.unwrap();
    let end = format!("/tokens/{login}");
    guarded.told();
    assert_eq!(guarded.ask("DELETE", &end, &alice, Value::Null).await.status, 204);
    assert_eq!(guarded.call("GET", V1, &robot, b"").await.status, 200);
    assert_eq!(guarded.ask("GET", "/tokens", &shown, Value::Null).await.status, 401);
    guarded.audit.take();
    assert_eq!(guarded.ask("DELETE", &end, &root, Value::Null).await.status, 204);
    assert_eq!(guarded.call("GET", V1, &robot, b"").await.status, 401);
    let told = guarded.audit.take();
    let details: Vec<&str> = told.iter().filter_map(|event| event.detail.as_deref()).collect();
    assert!(details.contains(&format!("1 made with it: {id}").as_str()), "{details:?}");
}

/// However many were made with it: the token ends in a commit of its own, and those in steps. Nobody has more than a
/// thousand at a time.
#[tokio::test]
async fn a_token_ends_with_thousands_that_were_made_with_it() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let owner = basic("owner", PASSWORD);
    let (stolen, thief) = made(&guarded, &owner, json!({"name": "stolen"})).await;
    let parent = access_token::by_id(&*guarded.sql, Freshness::Latest, stolen.parse().unwrap()).await.unwrap().unwrap();
    for batch in 0..6_u128 {
        let made = (0..250).map(|number| AccessToken {
            id: Uuid::from_u128(1 + batch * 250 + number),
            parent: Some(parent.id),
            ..parent.clone()
        });
        let mut rows = Batch::new(Uuid::now_v7(), guarded.clock.now());
        rows.extend(made.flat_map(|token| access_token::create(&token)));
        guarded.sql.commit(rows).await.unwrap();
    }
    let more = guarded.ask("POST", "/tokens", &thief, json!({"name": "more"})).await;
    assert_eq!(more.status, 409, "{}", more.text());
    assert!(more.text().contains("has 1000 already"), "{}", more.text());
    assert_eq!(guarded.ask("DELETE", &format!("/tokens/{stolen}"), &owner, Value::Null).await.status, 204);
    assert_eq!(guarded.ask("GET", "/tokens", &thief, Value::Null).await.status, 401);
    let left = access_token::living(&*guarded.sql, parent.subject, guarded.clock.now(), 9).await.unwrap();
    assert_eq!(left, 0, "each is marked");
    let ended = guarded.told().iter().filter(|told| told.starts_with("token.revoke ok")).count();
    assert_eq!(ended, 4, "the token, and three steps");
    made(&guarded, &owner, json!({"name": "again"})).await;
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_ends_its_family() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let login = || async {
        let form = format!("grant_type=password&username=reader&password={PASSWORD}&access_type=offline");
        json(&guarded.post_form(&form).await)["refresh_token"].as_str().unwrap().to_owned()
    };
    let exchange = async |token: &str| {
        let answer = guarded.post_form(&format!("grant_type=refresh_token&refresh_token={token}")).await;
        (answer.status, json(&answer)["refresh_token"].as_str().unwrap_or_default().to_owned())
    };
    let (first, elsewhere) = (login().await, login().await);
    let (_, second) = exchange(&first).await;
    let (status, third) = exchange(&second).await;
    assert_eq!(status, 200);
    guarded.clock.advance(Duration::from_secs(30));
    guarded.told();
    // Whoever of both it is, the other one has the third.
    assert_eq!(exchange(&second).await.0, 401);
    assert_eq!(guarded.told(), ["token.replay ok reader -", "login denied - -"]);
    assert_eq!(exchange(&third).await.0, 401);
    assert_eq!(exchange(&first).await.0, 401);
    assert_eq!(guarded.told(), ["login denied - -", "login denied - -"], "once is enough");
    let (status, next) = exchange(&elsewhere).await;
    assert_eq!(status, 200, "another login");
    assert_eq!(exchange(&next).await.0, 200);
    assert_eq!(guarded.call("GET", V1, &basic("reader", PASSWORD), b"").await.status, 200);
}

/// A client that asks for two things at once, or did not get its answer, is no thief: from where the token was used it is
/// refused for half a minute, and nothing else.
#[tokio::test]
async fn a_client_that_shows_its_refresh_token_twice_at_once_stays_in() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let form = format!("grant_type=password&username=reader&password={PASSWORD}&access_type=offline");
    let mut token = json(&guarded.post_form(&form).await)["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        guarded.told();
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        let (one, other) = tokio::join!(guarded.post_form(&form), guarded.post_form(&form));
        let (good, bad) = if one.status == 200 { (one, other) } else { (other, one) };
        assert_eq!((good.status, bad.status), (200, 401));
        assert_eq!(guarded.post_form(&form).await.status, 401, "once");
        guarded.clock.advance(Duration::from_secs(29));
        assert_eq!(guarded.post_form(&form).await.status, 401);
        assert!(guarded.told().iter().all(|told| told.starts_with("login ")));
        token = json(&good)["refresh_token"].as_str().unwrap().to_owned();
    }
}

#[tokio::test]
async fn a_stolen_signing_key_is_ended_at_once() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    // Another instance, which has met the token.
    let keys = Keyring::open(guarded.sql.clone(), guarded.clock.clone()).await.unwrap();
    let elsewhere = Issuer::new(keys.clone(), guarded.clock.clone(), "roadstead");
    let (root, reader) = (basic("root", PASSWORD), basic("reader", PASSWORD));
    let old = guarded.bearer(&reader, PULL).await;
    let text = |bearer: &str| bearer.trim_start_matches("Bearer ").to_owned();
    assert_eq!(guarded.call("GET", V1, &old, b"").await.status, 200);
    assert!(elsewhere.verify(&text(&old)).await.is_ok());
    let denied = guarded.ask("POST", "/keys/rotate", &reader, json!({"now": true})).await;
    assert_eq!(denied.status, 403);
    let made = guarded.ask("POST", "/keys/rotate", &root, json!({"now": true})).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let (made, ended) = (json(&made)["id"].clone(), json(&made)["ended"].clone());
    assert_eq!(ended, 1);
    let refused = guarded.call("GET", V1, &old, b"").await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().ends_with("error=\"invalid_token\""));
    // The client gets another one, of the new key, and that is good everywhere within a second.
    let new = guarded.bearer(&reader, PULL).await;
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text(&new).split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header["kid"], made);
    assert_eq!(guarded.call("GET", V1, &new, b"").await.status, 200);
    guarded.clock.advance(Duration::from_secs(1));
    assert_eq!(elsewhere.verify(&text(&old)).await.unwrap_err(), NotGood::Foreign);
    assert!(elsewhere.verify(&text(&new)).await.is_ok());
    assert_eq!(keys.published().len(), 1);
    // Nor does another instance sign with what it knew.
    let rotated = async |how| guarded.identities.rotate_key(&Caller::Operator, &guarded.keys, how).await.unwrap();
    rotated(Rotation::AtOnce).await;
    guarded.clock.advance(Duration::from_secs(1));
    let wishes = roadstead_registry::Wishes::parse([PULL]).unwrap();
    let issued = elsewhere.issue(&guarded.registry, &Caller::Anonymous, &wishes).await.unwrap();
    assert_eq!(guarded.call("GET", "/v2/", &format!("Bearer {}", issued.token), b"").await.status, 200);
    // Of several those count whose tokens were good still.
    rotated(Rotation::Overlapping).await;
    assert_eq!(rotated(Rotation::AtOnce).await.ended, Some(2));
    rotated(Rotation::Overlapping).await;
    guarded.clock.advance(Duration::from_secs(31 + 300 + 60));
    assert_eq!(rotated(Rotation::AtOnce).await.ended, Some(1));
    assert_eq!(guarded.keys.published().len(), 1);
}
