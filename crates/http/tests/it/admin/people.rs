//! Users, organizations and teams.

use serde_json::{Value, json};

use super::{Office, PASSWORD, json_of};

#[tokio::test]
async fn users() {
    let office = Office::start().await;
    let made = office.root(201, "POST", "/users", json!({"name": "alice", "password": PASSWORD, "admin": false})).await;
    assert_eq!((&made["name"], &made["admin"], &made["active"]), (&json!("alice"), &json!(false), &json!(true)));
    assert!(made["created_at"].as_i64().unwrap() > 0 && made.as_object().unwrap().len() == 5, "{made}");
    assert!(made.as_object().unwrap()["source"].is_null(), "{made}");
    let elsewhere = json!({"name": "eve", "source": "htpasswd"});
    assert_eq!(office.refused("root", 422, "POST", "/users", elsewhere).await, "INVALID");
    let both = json!({"name": "eve", "source": "htpasswd", "password": PASSWORD});
    assert_eq!(office.refused("root", 422, "POST", "/users", both).await, "INVALID");
    let taken = json!({"name": "alice", "password": PASSWORD});
    assert_eq!(office.refused("root", 409, "POST", "/users", taken.clone()).await, "CONFLICT");
    for (name, password) in [("bob", "short"), ("Bob", PASSWORD), ("library", PASSWORD), ("", PASSWORD)] {
        let weak = json!({"name": name, "password": password});
        assert_eq!(office.refused("root", 422, "POST", "/users", weak).await, "INVALID");
    }
    assert_eq!(office.refused("alice", 403, "POST", "/users", json!({"name": "bob"})).await, "DENIED");
    assert_eq!(office.refused("alice", 403, "GET", "/users", Value::Null).await, "DENIED");

    let all = office.root(200, "GET", "/users", Value::Null).await;
    assert_eq!(all.as_array().unwrap().iter().map(|user| user["name"].clone()).collect::<Vec<_>>(), ["alice", "root"]);
    assert_eq!(office.by("alice", 200, "GET", "/users/alice", Value::Null).await, made);
    for name in ["root", "nobody"] {
        let path = format!("/users/{name}");
        assert_eq!(office.refused("alice", 404, "GET", &path, Value::Null).await, "NAME_UNKNOWN");
    }

    let changed = office.root(200, "PATCH", "/users/alice", json!({"admin": true})).await;
    assert_eq!((&changed["admin"], &changed["active"]), (&json!(true), &json!(true)));
    office.root(200, "PATCH", "/users/alice", json!({"admin": false})).await;
    assert_eq!(office.refused("alice", 403, "PATCH", "/users/alice", json!({"admin": true})).await, "DENIED");
    assert_eq!(office.refused("root", 409, "PATCH", "/users/root", json!({"active": false})).await, "CONFLICT");
    // Two commits in one call, of which one could fail.
    let both = json!({"relink": true, "admin": true});
    assert_eq!(office.refused("root", 422, "PATCH", "/users/alice", both).await, "INVALID");
    assert_eq!(office.root(200, "GET", "/users/alice", Value::Null).await["admin"], false);
    assert_eq!(office.refused("root", 409, "PATCH", "/users/alice", json!({"relink": true})).await, "CONFLICT");

    let new = json!({"password": "battery staple"});
    office.by("alice", 204, "PUT", "/users/alice/password", new.clone()).await;
    let alice = ("alice", "battery staple");
    assert_eq!(office.ask(alice, "GET", "/user", Value::Null).await.status, 200);
    let others = format!("/users/{}/password", "root");
    assert_eq!(office.ask(alice, "PUT", &others, new).await.status, 404);
    assert_eq!(office.ask(alice, "PUT", "/users/alice/password", json!({"password": "short"})).await.status, 422);
    office.root(204, "DELETE", "/users/alice", Value::Null).await;
    assert_eq!(office.refused("root", 404, "DELETE", "/users/alice", Value::Null).await, "NAME_UNKNOWN");
    assert_eq!(office.refused("root", 409, "DELETE", "/users/root", Value::Null).await, "CONFLICT");
}

#[tokio::test]
async fn who_asks_is_told_who_it_is() {
    let office = Office::start().await;
    office.user("alice").await;
    let root = office.root(200, "GET", "/user", Value::Null).await;
    assert_eq!(root, json!({"name": "root", "kind": "user", "admin": true, "token": null, "scope": null}));
    let token = json!({"name": "narrow", "scope": "pull:alice/*"});
    let token = office.by("alice", 201, "POST", "/tokens", token).await;
    let narrow = ("alice", token["secret"].as_str().unwrap());
    let told = json_of(&office.ask(narrow, "GET", "/user", Value::Null).await);
    let expected =
        json!({"name": "alice", "kind": "user", "admin": false, "token": token["id"], "scope": "pull:alice/*"});
    assert_eq!(told, expected);
    // It is for repositories, and administers nothing.
    for (method, path) in [("GET", "/users/alice"), ("GET", "/tokens"), ("POST", "/tokens"), ("GET", "/workers")] {
        let answer = office.ask(narrow, method, path, json!({"name": "wide"})).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    let operator = json_of(&office.ask(("operator", ""), "GET", "/user", Value::Null).await);
    assert_eq!((&operator["kind"], &operator["name"]), (&json!("operator"), &Value::Null));
}

#[tokio::test]
async fn organizations_and_teams() {
    let office = Office::start().await;
    for name in ["alice", "bob", "eve"] {
        office.user(name).await;
    }
    let acme = office.root(201, "POST", "/organizations", json!({"name": "acme"})).await;
    assert_eq!(acme["name"], "acme");
    assert_eq!(office.refused("root", 409, "POST", "/organizations", json!({"name": "alice"})).await, "CONFLICT");
    assert_eq!(office.refused("root", 422, "POST", "/organizations", json!({"name": "A"})).await, "INVALID");
    assert_eq!(office.refused("alice", 403, "POST", "/organizations", json!({"name": "x"})).await, "DENIED");
    assert_eq!(office.root(200, "GET", "/organizations", Value::Null).await, json!([acme]));

    let members = "/organizations/acme/members";
    let owner = office.root(200, "PUT", &format!("{members}/alice"), json!({"role": "owner"})).await;
    assert_eq!(owner, json!({"user": "alice", "role": "owner"}));
    let bob = office.by("alice", 200, "PUT", &format!("{members}/bob"), Value::Null).await;
    assert_eq!(bob, json!({"user": "bob", "role": "member"}));
    assert_eq!(office.by("bob", 200, "GET", "/organizations/acme", Value::Null).await, acme);
    let all = office.by("bob", 200, "GET", members, Value::Null).await;
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
    // A member reads and changes nothing; for others there is no such organization.
    let eve = json!({"role": "owner"});
    assert_eq!(office.refused("bob", 403, "PUT", &format!("{members}/eve"), eve.clone()).await, "DENIED");
    for (method, path) in [("GET", "/organizations/acme"), ("GET", members), ("PUT", "/organizations/acme/members/eve")]
    {
        assert_eq!(office.refused("eve", 404, method, path, eve.clone()).await, "NAME_UNKNOWN", "{path}");
    }
    assert_eq!(
        office.refused("alice", 422, "PUT", &format!("{members}/eve"), json!({"role": "king"})).await,
        "INVALID"
    );

    let teams = "/organizations/acme/teams";
    let dev = office.by("alice", 201, "POST", teams, json!({"name": "dev"})).await;
    assert_eq!(dev["name"], "dev");
    assert_eq!(office.refused("alice", 409, "POST", teams, json!({"name": "dev"})).await, "CONFLICT");
    assert_eq!(office.refused("bob", 403, "POST", teams, json!({"name": "ops"})).await, "DENIED");
    assert_eq!(office.by("bob", 200, "GET", teams, Value::Null).await, json!([dev]));
    let put = office.by("alice", 200, "PUT", &format!("{teams}/dev/members/eve"), Value::Null).await;
    assert_eq!(put, json!({"user": "eve"}));
    let in_team = office.by("bob", 200, "GET", &format!("{teams}/dev/members"), Value::Null).await;
    assert_eq!(in_team, json!([{"user": "eve"}]));
    office.by("alice", 204, "DELETE", &format!("{teams}/dev/members/eve"), Value::Null).await;
    let again = office.refused("alice", 404, "DELETE", &format!("{teams}/dev/members/eve"), Value::Null).await;
    assert_eq!(again, "NAME_UNKNOWN");
    office.by("alice", 204, "DELETE", &format!("{teams}/dev"), Value::Null).await;
    assert_eq!(office.refused("alice", 404, "GET", &format!("{teams}/dev/members"), Value::Null).await, "NAME_UNKNOWN");

    office.by("bob", 204, "DELETE", &format!("{members}/bob"), Value::Null).await;
    office.root(204, "DELETE", &format!("{members}/root"), Value::Null).await;
    assert_eq!(office.refused("alice", 409, "DELETE", &format!("{members}/alice"), Value::Null).await, "CONFLICT");
    // A name is a segment, however it is written: this is no other way to say acme.
    let other = office.by("alice", 404, "DELETE", "/organizations/acme%2Fx", Value::Null).await;
    assert_eq!(other["errors"][0]["code"], "NOT_FOUND");
    assert_eq!(office.refused("eve", 403, "DELETE", "/organizations/acme", Value::Null).await, "DENIED");
    office.by("alice", 204, "DELETE", "/organizations/acme", Value::Null).await;
    assert_eq!(office.refused("alice", 404, "GET", "/organizations/acme", Value::Null).await, "NAME_UNKNOWN");
}
