//! Who comes: challenges, the token endpoint, tokens that do not hold.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roadstead_metadata::{Memory, Sql, migrate, schema};
use roadstead_registry::identities::UserChange;
use roadstead_registry::{Caller, Issuer, Keyring, Rotation, Wishes};
use serde_json::{Value, json};

use crate::api::{code, sha256};
use crate::guarded::{Guarded, PASSWORD, basic, json};

const V1: &str = "/v2/acme/app/manifests/v1";
const PULL: &str = "repository:acme/app:pull";

/// The claims of a token, and its parts.
fn claims(bearer: &str) -> (Value, Vec<String>) {
    let parts: Vec<String> = bearer.trim_start_matches("Bearer ").split('.').map(str::to_owned).collect();
    (serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[1]).unwrap()).unwrap(), parts)
}

#[tokio::test]
async fn a_client_is_told_where_to_get_what() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let challenge = async |path: &str, method: &str| {
        let answer = guarded.call(method, path, "", b"").await;
        assert_eq!(answer.status, 401, "{path}");
        answer.header("www-authenticate").unwrap().to_owned()
    };
    let base = r#"Bearer realm="http://x/auth/token",service="roadstead""#;
    assert_eq!(challenge("/v2/", "GET").await, base);
    assert_eq!(challenge(V1, "GET").await, format!("{base},scope=\"{PULL}\""));
    assert_eq!(challenge("/v2/_catalog", "GET").await, format!("{base},scope=\"registry:catalog:*\""));
    let push = format!("{base},scope=\"repository:acme/app:pull,push\"");
    assert_eq!(challenge("/v2/acme/app/blobs/uploads/", "POST").await, push);
    let mount = format!("/v2/acme/app/blobs/uploads/?mount={}&from=acme/other", sha256(b"layer"));
    assert_eq!(challenge(&mount, "POST").await, push.replace("push\"", "push repository:acme/other:pull\""));
    assert_eq!(challenge(V1, "DELETE").await, format!("{base},scope=\"repository:acme/app:delete\""));
    // As for one that is not there.
    assert_eq!(
        challenge("/v2/acme/none/tags/list", "GET").await,
        format!("{base},scope=\"repository:acme/none:pull\"")
    );
    let wrong = guarded.call("GET", "/v2/", &basic("alice", "wrong horse"), b"").await;
    assert_eq!((wrong.status, code(&wrong)), (401, "UNAUTHORIZED".into()));
    assert_eq!(guarded.call("GET", "/v2/", &basic("alice", PASSWORD), b"").await.status, 200);
    assert_eq!(guarded.call("GET", "/load_balancer_status", "", b"").await.status, 200);
}

#[tokio::test]
async fn a_token_is_good_for_what_was_asked_and_may_be_done() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let both = format!("{PULL},push%20repository:acme/other:pull");
    let reader = guarded.bearer(&basic("reader", PASSWORD), &both).await;
    let (said, parts) = claims(&reader);
    assert_eq!(said["access"], json!([{"type": "repository", "name": "acme/app", "actions": ["pull"]}]));
    assert_eq!((&said["aud"], &said["sub"]), (&json!("roadstead"), &json!("reader")));
    assert!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap() <= 300);
    assert_eq!(guarded.call("GET", V1, &reader, b"").await.status, 200);
    // It asked for more and was refused: it is told why, and not to ask again.
    let denied = guarded.call("PUT", V1, &reader, b"{}").await;
    assert_eq!((denied.status, code(&denied)), (403, "DENIED".into()));
    let unknown = guarded.call("GET", "/v2/acme/other/manifests/v1", &reader, b"").await;
    assert_eq!((unknown.status, code(&unknown)), (404, "NAME_UNKNOWN".into()));
    // It did not ask.
    let insufficient = guarded.call("DELETE", V1, &reader, b"").await;
    assert_eq!(insufficient.status, 401);
    let challenge = insufficient.header("www-authenticate").unwrap();
    assert!(challenge.ends_with(r#"scope="repository:acme/app:delete",error="insufficient_scope""#), "{challenge}");
    assert_eq!(guarded.call("GET", "/v2/_catalog", &reader, b"").await.status, 401);
    // What it may do anyway, as nobody in particular.
    let open = guarded.call("GET", "/v2/acme/open/manifests/v1", "", b"").await;
    assert_eq!(open.status, 200);
    // The key is published under the id that the token names.
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[0]).unwrap()).unwrap();
    let keys = json(&guarded.call("GET", "/auth/keys", "", b"").await);
    assert_eq!((&keys["keys"][0]["kid"], &keys["keys"][0]["crv"]), (&header["kid"], &json!("P-256")));

    let catalog = guarded.bearer(&basic("reader", PASSWORD), "registry:catalog:*").await;
    let listed = json(&guarded.call("GET", "/v2/_catalog", &catalog, b"").await);
    assert_eq!(listed["repositories"], json!(["acme/app", "acme/open"]));
    let nobody = guarded.bearer("", &format!("{PULL}%20repository:acme/open:pull,push")).await;
    let (said, _) = claims(&nobody);
    assert_eq!(said["access"], json!([{"type": "repository", "name": "acme/open", "actions": ["pull"]}]));
    assert_eq!(guarded.call("GET", "/v2/acme/open/manifests/v1", &nobody, b"").await.status, 200);
    assert_eq!(guarded.call("GET", V1, &nobody, b"").await.status, 401);
    assert_eq!(guarded.call("GET", "/v2/", &nobody, b"").await.status, 200);
}

#[tokio::test]
async fn tokens_that_do_not_hold_are_refused() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let good = guarded.bearer(&basic("reader", PASSWORD), PULL).await;
    assert_eq!(guarded.call("GET", V1, &good, b"").await.status, 200);
    let (said, parts) = claims(&good);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |name: &str, value: Value| {
        let mut changed = said.clone();
        changed[name] = value;
        encode(&changed)
    };
    let key = serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(&parts[0]).unwrap()).unwrap()["kid"].clone();
    let header = |algorithm: &str| encode(&json!({"typ": "JWT", "alg": algorithm, "kid": key}));
    let mut bad = vec![
        ("changed", format!("{}.{}.{}", parts[0], with("sub", json!("root")), parts[2])),
        ("prolonged", format!("{}.{}.{}", parts[0], with("exp", json!(i64::MAX)), parts[2])),
        ("alg none", format!("{}.{}.", header("none"), parts[1])),
        ("alg none with a signature", format!("{}.{}.{}", header("none"), parts[1], parts[2])),
        ("alg HS256", format!("{}.{}.{}", header("HS256"), parts[1], parts[2])),
        ("without a signature", format!("{}.{}.", parts[0], parts[1])),
        ("cut", good.trim_start_matches("Bearer ")[..40].to_owned()),
        ("nothing", String::new()),
        ("long", "a".repeat(5_000)),
    ];
    // Of another installation, with a key of its own under the same id or another one.
    let other: Arc<dyn Sql> = Arc::new(Memory::open().unwrap());
    migrate(&*other, schema::MIGRATIONS, 1).await.unwrap();
    let others = Keyring::open(other, guarded.clock.clone()).await.unwrap();
    let wishes = || Wishes::parse([PULL]).unwrap();
    let root = Caller::from(guarded.identities.log_in("root", PASSWORD).await.unwrap());
    let issue = async |keys, service| {
        let issuer = Issuer::new(keys, guarded.clock.clone(), service);
        issuer.issue(&guarded.registry, &root, &wishes()).await.unwrap().token
    };
    let foreign = issue(others, "roadstead").await;
    let forged: Vec<&str> = foreign.split('.').collect();
    bad.push(("another key under this id", format!("{}.{}.{}", parts[0], forged[1], forged[2])));
    bad.push(("another key", foreign.clone()));
    bad.push(("another audience", issue(guarded.keys.clone(), "elsewhere").await));
    for (what, token) in bad {
        let answer = guarded.call("GET", V1, &format!("Bearer {token}"), b"").await;
        assert_eq!(answer.status, 401, "{what}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.ends_with("error=\"invalid_token\""), "{what}: {challenge}");
    }
    guarded.clock.advance(Duration::from_secs(298));
    assert_eq!(guarded.call("GET", V1, &good, b"").await.status, 200);
    guarded.clock.advance(Duration::from_secs(2));
    assert_eq!(guarded.call("GET", V1, &good, b"").await.status, 401, "expired, though it was verified before");
}

#[tokio::test]
async fn what_was_given_for_a_password_ends_with_it() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let (basic_auth, form) = (
        basic("reader", PASSWORD),
        format!("grant_type=password&username=reader&password={PASSWORD}&access_type=offline"),
    );
    let bearer = guarded.bearer(&basic_auth, PULL).await;
    let refresh = json(&guarded.post_form(&form).await)["refresh_token"].as_str().unwrap().to_owned();
    let (id, token) = guarded.token("reader", None, None).await;
    let by_token = guarded.bearer(&basic("reader", &token), PULL).await;
    for shown in [&basic_auth, &bearer, &by_token, &format!("Bearer {token}"), &basic("reader", &token)] {
        assert_eq!(guarded.call("GET", V1, shown, b"").await.status, 200);
    }
    guarded.identities.set_password(&Caller::Operator, "reader", "another horse").await.unwrap();
    for shown in [&basic_auth, &bearer] {
        assert_eq!(guarded.call("GET", V1, shown, b"").await.status, 401);
    }
    assert_eq!(guarded.post_form(&format!("grant_type=refresh_token&refresh_token={refresh}")).await.status, 401);
    // Access tokens do not end with it, but when they are revoked.
    for shown in [&by_token, &format!("Bearer {token}")] {
        assert_eq!(guarded.call("GET", V1, shown, b"").await.status, 200);
    }
    guarded.identities.revoke_token(&Caller::Operator, id).await.unwrap();
    for shown in [&by_token, &format!("Bearer {token}"), &basic("reader", &token)] {
        assert_eq!(guarded.call("GET", V1, shown, b"").await.status, 401);
    }
    // Nor does anything hold of somebody who may do nothing any more.
    let last = guarded.bearer(&basic("writer", PASSWORD), PULL).await;
    let change = UserChange { active: Some(false), admin: None };
    guarded.identities.change_user(&Caller::Operator, "writer", change).await.unwrap();
    assert_eq!(guarded.call("GET", V1, &last, b"").await.status, 401);
}

#[tokio::test]
async fn refresh_tokens_are_used_once() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let scope = "service=roadstead&client_id=test&scope=repository%3Aacme%2Fapp%3Apull";
    let form = format!("grant_type=password&{scope}&username=reader&password=correct+horse");
    let without = json(&guarded.post_form(&form).await);
    assert!(without["access_token"].is_string() && without["refresh_token"].is_null(), "{without}");
    assert_eq!((&without["scope"], &without["expires_in"]), (&json!(PULL), &json!(300)));
    let first = json(&guarded.post_form(&format!("{form}&access_type=offline")).await);
    let exchange = async |token: &Value| {
        let token = token.as_str().unwrap();
        guarded.post_form(&format!("grant_type=refresh_token&{scope}&refresh_token={token}")).await
    };
    let second = exchange(&first["refresh_token"]).await;
    let second = json(&second);
    let bearer = format!("Bearer {}", second["access_token"].as_str().unwrap());
    assert_eq!(guarded.call("GET", V1, &bearer, b"").await.status, 200);
    let third = json(&exchange(&second["refresh_token"]).await);
    let elsewhere = json(&guarded.post_form(&format!("{form}&access_type=offline")).await);
    assert_eq!(exchange(&elsewhere["refresh_token"]).await.status, 200);
    assert_eq!(exchange(&elsewhere["refresh_token"]).await.status, 401, "used");
    guarded.clock.advance(Duration::from_secs(31 * 86_400));
    assert_eq!(exchange(&third["refresh_token"]).await.status, 401, "expired");
}

#[tokio::test]
async fn forms_that_make_no_sense_are_told() {
    let guarded = Guarded::start().await;
    for (form, status, part) in [
        ("", 400, "grant_type is missing"),
        ("grant_type=magic", 400, "neither password nor refresh_token"),
        ("grant_type=password&username=a", 400, "password is missing"),
        ("grant_type=password&username=%zz&password=b", 400, "username"),
        ("grant_type=password&username=a&password=hunter2%", 400, "password"),
        ("grant_type=password&username=a&password=b&service=other", 400, "for service"),
        ("grant_type=password&username=a&password=b&scope=repository", 400, "no colon"),
        ("grant_type=password&username=a&password=b", 401, "authentication required"),
        ("grant_type=refresh_token&refresh_token=rsr_0", 401, "authentication required"),
    ] {
        let answer = guarded.post_form(form).await;
        assert_eq!(answer.status, status, "{form}: {}", answer.text());
        assert!(answer.text().contains(part) && !answer.text().contains("hunter2"), "{form}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let large = guarded.post_form(&format!("grant_type={}", "x".repeat(20_000))).await;
    assert_eq!(large.status, 413);
    for shown in ["Basic x", "Bearer a.b.c", "Digest a=b"] {
        assert_eq!(guarded.call("GET", "/auth/token", shown, b"").await.status, 401, "{shown}");
    }
}

#[tokio::test]
async fn keys_are_rotated_and_no_token_fails() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    // Another instance, which looks for keys when it meets one that it does not know.
    let keys = Keyring::open(guarded.sql.clone(), guarded.clock.clone()).await.unwrap();
    let elsewhere = Issuer::new(keys, guarded.clock.clone(), "roadstead");
    let reader = basic("reader", PASSWORD);
    let kid = |bearer: &str| {
        let header = URL_SAFE_NO_PAD.decode(&claims(bearer).1[0]).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
    };
    let old = guarded.bearer(&reader, PULL).await;
    let made = guarded.identities.rotate_key(&Caller::Operator, &guarded.keys, Rotation::Overlapping).await.unwrap();
    assert_eq!(made.ended, None);
    let still = guarded.bearer(&reader, PULL).await;
    assert_eq!(kid(&still), kid(&old), "not before all may know it");
    guarded.clock.advance(Duration::from_secs(31));
    let new = guarded.bearer(&reader, PULL).await;
    assert_eq!(kid(&new), made.id.to_string());
    for bearer in [&old, &still, &new] {
        assert_eq!(guarded.call("GET", V1, bearer, b"").await.status, 200);
        assert!(elsewhere.verify(bearer.trim_start_matches("Bearer ")).await.is_ok());
    }
    assert_eq!(guarded.keys.published().len(), 2);
    guarded.clock.advance(Duration::from_secs(400));
    assert_eq!(guarded.keys.published().len(), 1, "the old one is over");
    let reader = Caller::from(guarded.identities.log_in("reader", PASSWORD).await.unwrap());
    let denied = guarded.identities.rotate_key(&reader, &guarded.keys, Rotation::AtOnce).await.unwrap_err().to_string();
    assert!(denied.contains("system admins"), "{denied}");
}

#[tokio::test(start_paused = true)]
async fn a_form_that_does_not_end_is_given_up() {
    let guarded = Guarded::start().await;
    let mut client = guarded.api.server.connect().await;
    client.send("POST /auth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\ngrant_type=").await;
    let answer = client.late_head().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
}

#[tokio::test]
async fn who_may_not_push_is_told_before_a_body_is_waited_for() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let bearer = guarded.bearer(&basic("reader", PASSWORD), &format!("{PULL},push")).await;
    for (shown, status) in
        [(String::new(), 401), (basic("alice", PASSWORD), 404), (basic("reader", PASSWORD), 403), (bearer, 403)]
    {
        for (method, path) in [("PUT", V1), ("POST", "/v2/acme/app/blobs/uploads/")] {
            let mut client = guarded.api.server.connect().await;
            let authorization = if shown.is_empty() { String::new() } else { format!("Authorization: {shown}\r\n") };
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Length: 1000000\r\n\r\n");
            client.send(&head).await;
            assert_eq!(client.answer().await.status, status, "{method} {shown}");
        }
    }
}

#[tokio::test]
async fn nobody_in_particular_is_given_little() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let mut scope: Vec<String> = (0..60).map(|number| format!("repository:acme/none{number}:pull,push")).collect();
    scope.push("repository:acme/open:pull".into());
    let late = guarded.bearer("", &scope.join("%20")).await;
    assert_eq!(claims(&late).0["access"], json!([]), "only the first are looked at");
    scope.rotate_right(1);
    let first = guarded.bearer("", &scope.join("%20")).await;
    assert_eq!(claims(&first).0["access"][0]["name"], json!("acme/open"));
    let owner = guarded.bearer(&basic("reader", PASSWORD), &scope.join("%20")).await;
    assert_eq!(claims(&owner).0["access"][0]["name"], json!("acme/open"));
}

/// What was pushed is shown to browsers as nothing that runs.
#[tokio::test]
async fn a_page_that_was_pushed_is_kept_and_not_shown() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let writer = basic("writer", PASSWORD);
    for (kind, tamed) in [("text/html", true), ("image/svg+xml", true), ("application/vnd.acme+json", false)] {
        let headers = [("Authorization", &*writer), ("Content-Type", kind)];
        let path = "/v2/acme/app/manifests/page";
        let body = crate::api::image().to_string().replace("application/vnd.oci.image.manifest.v1+json", kind);
        let pushed = guarded.api.call("PUT", path, &headers, body.as_bytes()).await;
        if pushed.status != 201 {
            continue;
        }
        let shown = guarded.call("GET", path, &writer, b"").await;
        assert_eq!(shown.header("content-disposition").is_some(), tamed, "{kind}");
        assert_eq!(shown.header("content-security-policy").is_some(), tamed, "{kind}");
    }
}
