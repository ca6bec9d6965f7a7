//! How often passwords are set, and that it keeps nobody from logging in.

use serde_json::{Value, json};

use crate::guarded::{Guarded, PASSWORD, basic, json};

fn new(password: &str) -> Value {
    json!({"password": password})
}

fn shown(token: &str) -> String {
    format!("Bearer {token}")
}

impl Guarded {
    async fn set_password(&self, of: &str, by: &str, body: Value) -> u16 {
        let answer = self.ask("PUT", &format!("/users/{of}/password"), by, body).await;
        let told = answer.header("retry-after").is_some() && answer.text().contains("TOOMANYREQUESTS");
        assert_eq!(told, answer.status == 429, "{}", answer.text());
        answer.status
    }

    /// A login that was not seen before.
    async fn logs_in(&self, name: &str) -> u16 {
        self.call("GET", "/v2/", &basic(name, PASSWORD), b"").await.status
    }
}

/// More of each than any bound lets through.
#[tokio::test]
async fn what_is_refused_counts_for_nobody() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let reader = shown(&guarded.token("reader", None, None).await.1);
    let root = shown(&guarded.token("root", None, None).await.1);
    for _ in 0..130 {
        assert_eq!(guarded.set_password("root", &reader, new("battery staple")).await, 404, "without rights");
        assert_eq!(
            guarded.set_password("reader", &reader, new("battery staple")).await,
            403,
            "without the present one"
        );
        assert_eq!(guarded.set_password("writer", &root, new("short")).await, 422);
        let user = json!({"name": "eve", "password": "battery staple"});
        assert_eq!(guarded.ask("POST", "/users", &reader, user).await.status, 403);
        for bad in [json!({"name": "E", "password": "battery staple"}), json!({"name": "eve", "password": "short"})] {
            assert_eq!(guarded.ask("POST", "/users", &root, bad).await.status, 422);
        }
    }
    assert_eq!(guarded.logs_in("writer").await, 200);
    let right = json!({"password": "battery staple", "present": PASSWORD});
    assert_eq!(guarded.set_password("reader", &reader, right).await, 204);
    assert_eq!(guarded.set_password("keeper", &root, new("battery staple")).await, 204);
}

#[tokio::test]
async fn many_new_users_throttle_no_logins() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let root = shown(&guarded.token("root", None, None).await.1);
    guarded.user("second", true).await;
    let second = shown(&guarded.token("second", None, None).await.1);
    let mut added = 0;
    let refused = loop {
        let user = json!({"name": format!("user{added}"), "password": PASSWORD});
        let answer = guarded.ask("POST", "/users", &root, user).await;
        match answer.status {
            201 => added += 1,
            _ => break answer,
        }
    };
    // Two a second go on meanwhile.
    assert!(added >= 120, "{added}");
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some() && refused.text().contains("TOOMANYREQUESTS"));
    assert_eq!(guarded.logs_in("writer").await, 200);
    assert_eq!(guarded.ask("POST", "/users", &root, json!({"name": "without"})).await.status, 201, "hashes nothing");
    assert_eq!(guarded.set_password("writer", &second, new("battery staple")).await, 204, "by somebody else");
    guarded.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(guarded.set_password("writer", &root, new("battery staple")).await, 204);
}

/// One who found a token could guess here.
#[tokio::test]
async fn the_present_password_is_guessed_ten_times() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let token = shown(&guarded.token("reader", None, None).await.1);
    let other = shown(&guarded.token("reader", None, None).await.1);
    let mut wrong = 0;
    for number in 0..15 {
        let guess = json!({"password": "battery staple", "present": format!("guess number {number}")});
        match guarded.set_password("reader", &token, guess).await {
            403 => wrong += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(wrong, 10);
    let right = json!({"password": "battery staple", "present": PASSWORD});
    assert_eq!(guarded.set_password("reader", &other, right.clone()).await, 429, "by another token neither");
    // Its owner logs in as ever, sets another one, and then no more than ten.
    assert_eq!(guarded.logs_in("reader").await, 200);
    let by_password = basic("reader", PASSWORD);
    assert_eq!(guarded.set_password("reader", &by_password, new(PASSWORD)).await, 204);
    guarded.clock.advance(std::time::Duration::from_secs(6));
    assert_eq!(guarded.set_password("reader", &token, json!({"password": PASSWORD, "present": PASSWORD})).await, 204);
    let mut set = 0;
    while guarded.set_password("reader", &by_password, new(PASSWORD)).await == 204 {
        set += 1;
        assert!(set <= 10, "{set}");
    }
}

#[tokio::test]
async fn the_document_tells_of_the_bound() {
    let guarded = Guarded::start().await;
    guarded.user("root", true).await;
    let document = json(&guarded.ask("GET", "/openapi.json", &basic("root", PASSWORD), Value::Null).await);
    for (path, method) in [("/users", "post"), ("/users/{user}/password", "put")] {
        assert!(document["paths"][path][method]["responses"]["429"].is_object(), "{method} {path}");
    }
}
