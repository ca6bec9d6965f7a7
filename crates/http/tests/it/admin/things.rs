//! Repositories, what is granted on them, robots, and tokens.

use serde_json::{Value, json};

use super::{Office, json_of};

#[tokio::test]
async fn repositories_and_grants() {
    let office = Office::start().await;
    for name in ["alice", "bob"] {
        office.user(name).await;
    }
    let new = json!({"name": "alice/app", "visibility": "private", "immutable_tags": true});
    let app = office.by("alice", 201, "POST", "/repositories", new.clone()).await;
    assert_eq!(
        (&app["name"], &app["visibility"], &app["immutable_tags"]),
        (&new["name"], &new["visibility"], &json!(true))
    );
    assert_eq!(office.refused("alice", 409, "POST", "/repositories", new).await, "CONFLICT");
    for (body, status) in [
        (json!({"name": "alice/App"}), 422),
        (json!({"name": "alice/x", "visibility": "internal"}), 422),
        (json!({"name": "bob/x"}), 404),
        (json!({"name": "nobody/x"}), 404),
    ] {
        office.by("alice", status, "POST", "/repositories", body).await;
    }
    let one = "/repositories/alice/app";
    assert_eq!(office.by("alice", 200, "GET", one, Value::Null).await, app);
    assert_eq!(office.refused("bob", 404, "GET", one, Value::Null).await, "NAME_UNKNOWN");
    assert_eq!(office.by("bob", 200, "GET", "/repositories", Value::Null).await, json!([]));

    let grants = "/repositories/alice/app/grants";
    let grant = json!({"user": "bob", "access": "read-only"});
    assert_eq!(office.by("alice", 200, "PUT", grants, grant.clone()).await, grant);
    assert_eq!(office.by("bob", 200, "GET", "/repositories", Value::Null).await, json!([app]));
    assert_eq!(office.refused("bob", 403, "PATCH", one, json!({"visibility": "public"})).await, "DENIED");
    assert_eq!(office.refused("bob", 403, "GET", grants, Value::Null).await, "DENIED");
    for bad in [
        json!({"access": "admin"}),
        json!({"user": "bob", "team": "acme/dev", "access": "admin"}),
        json!({"user": "acme/dev", "access": "admin"}),
        json!({"robot": "bob", "access": "admin"}),
        json!({"team": "dev", "access": "admin"}),
        json!({"user": "bob", "access": "write"}),
        json!({"user": "bob"}),
    ] {
        assert_eq!(office.refused("alice", 422, "PUT", grants, bad.clone()).await, "INVALID", "{bad}");
    }
    office.root(201, "POST", "/organizations", json!({"name": "acme"})).await;
    office.root(201, "POST", "/organizations/acme/teams", json!({"name": "dev"})).await;
    let foreign = json!({"team": "acme/dev", "access": "read-only"});
    assert_eq!(office.refused("alice", 409, "PUT", grants, foreign.clone()).await, "CONFLICT");
    office.by("alice", 204, "DELETE", &format!("{grants}?user=bob"), Value::Null).await;
    // Who may not see all accounts is not told which there are; who may is told of a name that is misspelt.
    office.by("alice", 204, "DELETE", &format!("{grants}?user=malory"), Value::Null).await;
    assert_eq!(
        office.refused("root", 404, "DELETE", &format!("{grants}?user=malory"), Value::Null).await,
        "NAME_UNKNOWN"
    );
    assert_eq!(office.by("alice", 200, "GET", grants, Value::Null).await, json!([]));
    assert_eq!(office.refused("alice", 422, "DELETE", grants, Value::Null).await, "INVALID");

    let changed = office.by("alice", 200, "PATCH", one, json!({"visibility": "public"})).await;
    assert_eq!((&changed["visibility"], &changed["immutable_tags"]), (&json!("public"), &json!(true)));
    assert_eq!(office.by("bob", 200, "GET", one, Value::Null).await["visibility"], "public");

    // All of a namespace, and a robot.
    let robot = office.by("alice", 201, "POST", "/namespaces/alice/robots", json!({"name": "ci"})).await;
    assert_eq!(robot["name"], "alice+ci");
    assert_eq!(
        office.refused("alice", 409, "POST", "/namespaces/alice/robots", json!({"name": "ci"})).await,
        "CONFLICT"
    );
    assert_eq!(
        office.refused("bob", 404, "POST", "/namespaces/alice/robots", json!({"name": "x"})).await,
        "NAME_UNKNOWN"
    );
    assert_eq!(office.by("alice", 200, "GET", "/namespaces/alice/robots", Value::Null).await, json!([robot]));
    let (all, grant) = ("/namespaces/alice/grants", json!({"robot": "alice+ci", "access": "read-write"}));
    office.by("alice", 200, "PUT", all, grant.clone()).await;
    assert_eq!(office.by("alice", 200, "GET", all, Value::Null).await, json!([grant]));
    assert_eq!(office.refused("bob", 404, "GET", all, Value::Null).await, "NAME_UNKNOWN");
    office.root(200, "PUT", "/namespaces/acme/grants", foreign).await;
    office.by("alice", 204, "DELETE", &format!("{all}?robot=alice+ci"), Value::Null).await;
    assert_eq!(office.by("alice", 200, "GET", all, Value::Null).await, json!([]));
    office.by("alice", 204, "DELETE", "/namespaces/alice/robots/ci", Value::Null).await;

    assert_eq!(office.refused("bob", 403, "DELETE", one, Value::Null).await, "DENIED");
    office.by("alice", 204, "DELETE", one, Value::Null).await;
    assert_eq!(office.refused("alice", 404, "GET", one, Value::Null).await, "NAME_UNKNOWN");
    assert_eq!(office.refused("alice", 404, "DELETE", one, Value::Null).await, "NAME_UNKNOWN");

    // A repository whose name ends as the path of its grants does.
    office.by("alice", 201, "POST", "/repositories", json!({"name": "alice/grants"})).await;
    let named = office.by("alice", 200, "GET", "/repositories/alice%2Fgrants", Value::Null).await;
    assert_eq!(named["name"], "alice/grants");
    assert_eq!(office.by("alice", 200, "GET", "/repositories/alice/grants/grants", Value::Null).await, json!([]));
}

#[tokio::test]
async fn tokens() {
    let office = Office::start().await;
    for name in ["alice", "bob"] {
        office.user(name).await;
    }
    let new = json!({"name": "ci", "expires_in": 86_400, "scope": "pull,push:alice/app"});
    let made = office.by("alice", 201, "POST", "/tokens", new).await;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("rsd_") && secret.len() == 101, "{secret}");
    assert_eq!((&made["for"], &made["scope"]), (&json!("alice"), &json!("pull,push:alice/app")));
    let life = made["expires_at"].as_i64().unwrap() - made["created_at"].as_i64().unwrap();
    assert!((86_400_000 - 10_000..=86_400_000).contains(&life), "{made}");
    for bad in [
        json!({"name": ""}),
        json!({"name": "x", "scope": "fetch:a/b"}),
        json!({"name": "x", "expires_in": 0}),
        json!({"name": "x", "for": "robot:alice"}),
        json!({"name": "x", "for": "user:alice+ci"}),
        json!({"name": "x", "expires": 1}),
    ] {
        assert_eq!(office.refused("alice", 422, "POST", "/tokens", bad.clone()).await, "INVALID", "{bad}");
    }
    let listed = office.by("alice", 200, "GET", "/tokens", Value::Null).await;
    assert_eq!((&listed[0]["id"], &listed[0]["revoked_at"]), (&made["id"], &Value::Null));
    assert!(listed[0].get("secret").is_none(), "shown once");
    office.by("alice", 201, "POST", "/namespaces/alice/robots", json!({"name": "ci"})).await;
    let of_robot = json!({"name": "build", "for": "robot:alice+ci"});
    assert_eq!(office.refused("bob", 404, "POST", "/tokens", of_robot.clone()).await, "NAME_UNKNOWN");
    let of_robot = office.by("alice", 201, "POST", "/tokens", of_robot).await;
    assert_eq!(of_robot["for"], "alice+ci");
    let robot = ("alice+ci", of_robot["secret"].as_str().unwrap());
    assert_eq!(json_of(&office.ask(robot, "GET", "/user", Value::Null).await)["kind"], "robot");
    let listed = office.by("alice", 200, "GET", "/tokens?for=robot:alice+ci", Value::Null).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!("build")));
    assert_eq!(office.refused("bob", 404, "GET", "/tokens?for=user:alice", Value::Null).await, "NAME_UNKNOWN");

    let one = format!("/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(office.refused("bob", 404, "DELETE", &one, Value::Null).await, "NAME_UNKNOWN");
    assert_eq!(office.refused("alice", 422, "DELETE", "/tokens/ci", Value::Null).await, "INVALID");
    office.by("alice", 204, "DELETE", &one, Value::Null).await;
    let listed = office.by("alice", 200, "GET", "/tokens", Value::Null).await;
    assert!(listed[0]["revoked_at"].as_i64().is_some(), "{listed}");
}

#[tokio::test]
async fn keys() {
    let office = Office::start().await;
    office.user("alice").await;
    assert_eq!(office.refused("alice", 403, "POST", "/keys/rotate", Value::Null).await, "DENIED");
    let first = office.root(200, "POST", "/keys/rotate", Value::Null).await;
    let second = office.root(200, "POST", "/keys/rotate", Value::Null).await;
    assert!(first["id"].as_str().unwrap().len() == 36 && first != second, "{first} {second}");
}

/// Who takes back what was granted learns as little of the teams, robots and users of others as who grants.
#[tokio::test]
async fn taking_back_tells_nothing_of_others() {
    let office = Office::start().await;
    for name in ["alice", "bob"] {
        office.user(name).await;
    }
    office.by("alice", 201, "POST", "/repositories", json!({"name": "alice/app"})).await;
    office.root(201, "POST", "/organizations", json!({"name": "acme"})).await;
    office.root(201, "POST", "/organizations/acme/teams", json!({"name": "dev"})).await;
    office.root(201, "POST", "/namespaces/acme/robots", json!({"name": "ci"})).await;
    for target in ["/repositories/alice/app/grants", "/namespaces/alice/grants"] {
        for (there, absent, status) in [
            ("team=acme/dev", "team=acme/none", 409),
            ("robot=acme+ci", "robot=acme+none", 204),
            ("user=bob", "user=nobody", 204),
        ] {
            for whom in [there, absent] {
                let told =
                    office.ask(("alice", super::PASSWORD), "DELETE", &format!("{target}?{whom}"), Value::Null).await;
                assert_eq!(told.status, status, "{target} {whom}: {}", told.text());
            }
        }
    }
}
