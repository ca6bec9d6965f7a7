//! Who may do what, over HTTP: every kind of caller with every kind of request, by password or access token and by a token of
//! the token endpoint.

use std::time::Duration;

use roadstead_registry::Caller;
use serde_json::json as value;

use crate::api::{code, image, sha256};
use crate::guarded::{Guarded, PASSWORD, basic, json};

/// What is done, in this order in each row of the table.
const DONE: [&str; 10] = [
    "pull a manifest",
    "pull a blob",
    "list tags",
    "list referrers",
    "push a manifest",
    "push a blob",
    "mount",
    "delete a tag",
    "delete a manifest",
    "delete a blob",
];

/// What everybody is answered. A mount that may not be is an upload: 202.
const TABLE: [(&str, [u16; 10]); 11] = [
    ("anonymous", [401; 10]),
    ("alice", [404; 10]),
    ("reader", [200, 200, 200, 200, 403, 403, 403, 403, 403, 403]),
    ("writer", [200, 200, 200, 200, 201, 201, 202, 202, 202, 202]),
    ("keeper", [200, 200, 200, 200, 201, 201, 202, 202, 202, 202]),
    ("owner", [200, 200, 200, 200, 201, 201, 201, 202, 202, 202]),
    ("root", [200, 200, 200, 200, 201, 201, 201, 202, 202, 202]),
    ("acme+ci", [200, 200, 200, 200, 201, 201, 202, 202, 202, 202]),
    // A token of the writer that is for pulling only.
    ("narrow", [200, 200, 200, 200, 403, 403, 403, 403, 403, 403]),
    ("expired", [401; 10]),
    ("revoked", [401; 10]),
];

/// Everything that is asked in the table.
const SCOPE: &str = "repository:acme/app:pull,push,delete%20repository:acme/other:pull";

async fn put(guarded: &Guarded, shown: &str, reference: &str, made: &str) -> u16 {
    guarded.call("PUT", &format!("/v2/acme/app/manifests/{reference}"), shown, made.as_bytes()).await.status
}

/// A manifest that is like no other.
fn manifest(unique: &str) -> String {
    let mut made = image();
    made["annotations"] = value!({ "unique": unique });
    made.to_string()
}

async fn done(guarded: &Guarded, who: &str, shown: &str, what: &str) -> u16 {
    let root = basic("root", PASSWORD);
    let unique = format!("{who} {what} {}", shown.len());
    let app = "/v2/acme/app";
    let call = async |method: &str, path: String, body: &[u8]| guarded.call(method, &path, shown, body).await.status;
    let push = async |repository: &str, content: &[u8]| {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content));
        assert_eq!(guarded.call("POST", &path, &root, content).await.status, 201);
        sha256(content)
    };
    let layer = sha256(b"layer");
    match what {
        "pull a manifest" => call("GET", format!("{app}/manifests/v1"), b"").await,
        "pull a blob" => call("GET", format!("{app}/blobs/{layer}"), b"").await,
        "list tags" => call("GET", format!("{app}/tags/list"), b"").await,
        "list referrers" => call("GET", format!("{app}/referrers/{layer}"), b"").await,
        "push a manifest" => put(guarded, shown, "pushed", &manifest(&unique)).await,
        "push a blob" => {
            let digest = sha256(unique.as_bytes());
            call("POST", format!("{app}/blobs/uploads/?digest={digest}"), unique.as_bytes()).await
        }
        "mount" => {
            let digest = push("acme/other", unique.as_bytes()).await;
            call("POST", format!("{app}/blobs/uploads/?mount={digest}&from=acme/other"), b"").await
        }
        "delete a tag" => {
            assert_eq!(put(guarded, &root, "gone", &manifest("gone")).await, 201);
            call("DELETE", format!("{app}/manifests/gone"), b"").await
        }
        "delete a manifest" => {
            let made = manifest(&unique);
            assert_eq!(put(guarded, &root, "gone", &made).await, 201);
            call("DELETE", format!("{app}/manifests/{}", sha256(made.as_bytes())), b"").await
        }
        "delete a blob" => {
            let digest = push("acme/app", unique.as_bytes()).await;
            call("DELETE", format!("{app}/blobs/{digest}"), b"").await
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let (_, robot) = guarded.token("acme+ci", None, None).await;
    let (_, narrow) = guarded.token("writer", Some("pull:acme/*"), None).await;
    let (_, expired) = guarded.token("writer", None, Some(Duration::from_secs(60))).await;
    let (revoked_id, revoked) = guarded.token("writer", None, None).await;
    let shown = |who: &str| match who {
        "anonymous" => String::new(),
        "acme+ci" => basic("acme+ci", &robot),
        "narrow" => basic("writer", &narrow),
        "expired" => basic("writer", &expired),
        "revoked" => basic("writer", &revoked),
        user => basic(user, PASSWORD),
    };
    // Tokens of the endpoint, taken while everything still held.
    let mut rows = Vec::new();
    for (who, expected) in TABLE {
        let bearer = guarded.bearer(&shown(who), SCOPE).await;
        rows.push((who, expected, [shown(who), bearer]));
    }
    guarded.clock.advance(Duration::from_secs(61));
    guarded.identities.revoke_token(&Caller::Operator, revoked_id).await.unwrap();
    let mut wrong = Vec::new();
    for (who, expected, ways) in rows {
        for shown in ways {
            for (what, expected) in DONE.into_iter().zip(expected) {
                let status = done(&guarded, who, &shown, what).await;
                if status != expected {
                    let way = shown.split(' ').next().unwrap_or_default();
                    wrong.push(format!("{who} ({way}) may {what}: {status} in place of {expected}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn everybody_sees_its_catalog() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let (_, robot) = guarded.token("acme+ci", None, None).await;
    let all = value!(["acme/app", "acme/open", "acme/other"]);
    let granted = value!(["acme/app", "acme/open"]);
    for (name, secret, seen) in [
        ("alice", PASSWORD, value!(["acme/open"])),
        ("reader", PASSWORD, granted.clone()),
        ("acme+ci", &robot, granted),
        ("owner", PASSWORD, all.clone()),
        ("root", PASSWORD, all),
    ] {
        let shown = basic(name, secret);
        let bearer = guarded.bearer(&shown, "registry:catalog:*").await;
        for shown in [shown, bearer] {
            let listed = json(&guarded.call("GET", "/v2/_catalog", &shown, b"").await);
            assert_eq!(listed["repositories"], seen, "{name}");
        }
    }
    assert_eq!(guarded.call("GET", "/v2/_catalog", "", b"").await.status, 401);
    let nobody = guarded.bearer("", "registry:catalog:*").await;
    let listed = json(&guarded.call("GET", "/v2/_catalog", &nobody, b"").await);
    assert_eq!(listed["repositories"], value!(["acme/open"]), "what is public");
}

/// What is private is answered as what is not there: status, code, text and headers.
#[tokio::test]
async fn nothing_tells_a_private_repository_from_none() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let digest = sha256(b"layer");
    let manifest = image().to_string();
    let alice = basic("alice", PASSWORD);
    for shown in [String::new(), alice.clone()] {
        for (method, path, body) in [
            ("GET", "/v2/REPOSITORY/manifests/v1".to_owned(), ""),
            ("HEAD", "/v2/REPOSITORY/manifests/v1".to_owned(), ""),
            ("GET", format!("/v2/REPOSITORY/blobs/{digest}"), ""),
            ("HEAD", format!("/v2/REPOSITORY/blobs/{digest}"), ""),
            ("GET", "/v2/REPOSITORY/tags/list?n=1".to_owned(), ""),
            ("GET", format!("/v2/REPOSITORY/referrers/{digest}"), ""),
            ("POST", format!("/v2/REPOSITORY/blobs/uploads/?mount={digest}&from=acme/open"), ""),
            ("POST", format!("/v2/REPOSITORY/blobs/uploads/?digest={digest}"), "layer"),
            ("PUT", "/v2/REPOSITORY/manifests/v2".to_owned(), &manifest),
            ("DELETE", "/v2/REPOSITORY/manifests/v1".to_owned(), ""),
            ("DELETE", format!("/v2/REPOSITORY/blobs/{digest}"), ""),
            ("PATCH", "/v2/REPOSITORY/blobs/uploads/0190".to_owned(), "x"),
        ] {
            let mut answers = Vec::new();
            for repository in ["acme/app", "acme/not", "none/app"] {
                let answer =
                    guarded.call(method, &path.replace("REPOSITORY", repository), &shown, body.as_bytes()).await;
                let text = answer.text().replace(repository, "REPOSITORY");
                let challenge = answer.header("www-authenticate").unwrap_or_default().replace(repository, "REPOSITORY");
                answers.push((answer.status, text, challenge));
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{method} {path}: {answers:?}");
            assert!([401, 404].contains(&answers[0].0), "{method} {path}: {answers:?}");
        }
    }
    // A mount from one that may not be read is an upload, as from one that is not there.
    guarded.identities.create_organization(&Caller::Operator, "mine").await.unwrap();
    let secret = guarded.call("GET", "/v2/acme/app/blobs/x", &alice, b"").await;
    assert!(["NAME_UNKNOWN", "DIGEST_INVALID"].contains(&code(&secret).as_str()));
    let own = "/v2/alice/own/blobs/uploads/";
    let mut mounts = Vec::new();
    for from in ["&from=acme/app", "&from=acme/not", "&from=none/none", ""] {
        let answer = guarded.call("POST", &format!("{own}?mount={digest}{from}"), &alice, b"").await;
        mounts.push(answer.status);
    }
    // The last one finds it in the public repository.
    assert_eq!(mounts, [202, 202, 202, 201]);
}
