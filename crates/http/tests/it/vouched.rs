//! Users for whom somebody else vouches: what that says, for how long, and of whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use roadstead_registry::identities::{IdentityError, Outcome, Passwords, Source, Verdict};
use roadstead_registry::{Caller, Clock as _, Error};

use crate::guarded::{Guarded, PASSWORD, basic};

const OTHER: &str = "a word of others";
const STATEMENT: &str = "statement:";

/// Vouches for `zoe` and `alice` by one password, and by statements for everybody.
#[derive(Debug, Default)]
struct Scripted {
    /// Until when; 0: for ever.
    until: AtomicI64,
    away: AtomicBool,
    taken_back: AtomicBool,
    asked: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl Source for Scripted {
    fn name(&self) -> &str {
        "elsewhere"
    }

    fn recognizes(&self, secret: &str) -> bool {
        secret.starts_with(STATEMENT)
    }

    async fn judge(&self, name: Option<&str>, secret: &str, _: &Passwords) -> Outcome<Verdict> {
        self.asked.lock().push(name.map(str::to_owned));
        if self.away.load(Ordering::SeqCst) {
            let cause = "no route".to_owned();
            return Err(IdentityError::Registry(Error::SourceUnavailable { name: "the source of users", cause }));
        }
        let until = Some(self.until.load(Ordering::SeqCst)).filter(|until| *until != 0);
        let right = Verdict::Right { mark: 7, until };
        Ok(match name {
            _ if secret.strip_prefix(STATEMENT).is_some_and(|named| Some(named) == name) => right,
            Some("zoe" | "alice") if secret == OTHER && !self.taken_back.load(Ordering::SeqCst) => right,
            Some("zoe" | "alice") => Verdict::Wrong,
            _ => Verdict::Nobody,
        })
    }

    fn holds(&self, name: &str, mark: u64) -> bool {
        name == "zoe" && mark == 7 && !self.taken_back.load(Ordering::SeqCst)
    }
}

async fn start() -> (Guarded, Arc<Scripted>) {
    let source = Arc::new(Scripted::default());
    let guarded = Guarded::start_with(vec![source.clone()]).await;
    guarded.world().await;
    (guarded, source)
}

async fn status(guarded: &Guarded, shown: &str) -> u16 {
    guarded.call("GET", "/v2/", shown, b"").await.status
}

/// A token for who shows this, and for how many seconds it is good.
async fn exchanged(guarded: &Guarded, shown: &str) -> (String, u64) {
    let answer = guarded.call("GET", "/auth/token?service=roadstead", shown, b"").await;
    assert_eq!(answer.status, 200);
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    (format!("Bearer {}", answer["token"].as_str().unwrap()), answer["expires_in"].as_u64().unwrap())
}

#[tokio::test]
async fn what_is_said_for_a_time_ends_with_it() {
    let (guarded, source) = start().await;
    let zoe = basic("zoe", OTHER);
    let (_, life) = exchanged(&guarded, &zoe).await;
    assert_eq!(life, 300, "of what is said for ever");
    guarded.clock.advance(Duration::from_secs(100));
    source.until.store(guarded.clock.now() + 50_000, Ordering::SeqCst);
    let statement = basic("zoe", "statement:zoe");
    let (token, life) = exchanged(&guarded, &statement).await;
    assert!((40..=50).contains(&life), "{life}");
    assert_eq!((status(&guarded, &token).await, status(&guarded, &statement).await), (200, 200));
    let asked = source.asked.lock().len();
    assert_eq!(status(&guarded, &statement).await, 200);
    assert_eq!(source.asked.lock().len(), asked, "it is remembered");
    guarded.clock.advance(Duration::from_secs(51));
    assert_eq!((status(&guarded, &token).await, status(&guarded, &statement).await), (401, 401));
}

#[tokio::test]
async fn what_is_taken_back_holds_no_more() {
    let (guarded, source) = start().await;
    let zoe = basic("zoe", OTHER);
    let (token, _) = exchanged(&guarded, &zoe).await;
    assert_eq!((status(&guarded, &token).await, status(&guarded, &zoe).await), (200, 200));
    source.taken_back.store(true, Ordering::SeqCst);
    assert_eq!(status(&guarded, &token).await, 401);
    assert_eq!(status(&guarded, &zoe).await, 401);
}

/// Whatever a source says of a name that we have: it is not asked by it, or not believed.
#[tokio::test]
async fn a_user_of_ours_stays_ours() {
    let (guarded, source) = start().await;
    for secret in [OTHER, "statement:alice"] {
        assert_eq!(status(&guarded, &basic("alice", secret)).await, 401, "{secret}");
    }
    assert_eq!(*source.asked.lock(), [None, Some("alice".to_owned())], "asked all the same, for its time");
    assert_eq!(status(&guarded, &basic("alice", PASSWORD)).await, 200);
    assert_eq!(source.asked.lock().len(), 2, "who is known to us is asked for nowhere else");
    // Nor one that is not active, which was its own.
    assert_eq!(status(&guarded, &basic("zoe", OTHER)).await, 200);
    let off = roadstead_registry::identities::UserChange { active: Some(false), admin: None };
    guarded.identities.change_user(&Caller::Operator, "zoe", off).await.unwrap();
    for secret in [OTHER, "statement:zoe"] {
        assert_eq!(status(&guarded, &basic("zoe", secret)).await, 401, "{secret}");
    }
    // Nor a name that nobody can have.
    for odd in ["library", "Zoe", "acme", "acme+ci"] {
        assert_eq!(status(&guarded, &basic(odd, &format!("statement:{odd}"))).await, 401, "{odd}");
    }
}

#[tokio::test]
async fn a_source_that_is_away_lets_nobody_in_and_keeps_nobody_of_ours_out() {
    let (guarded, source) = start().await;
    source.away.store(true, Ordering::SeqCst);
    let answer = guarded.call("GET", "/v2/", &basic("zoe", "statement:zoe"), b"").await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(String::from_utf8_lossy(&answer.body).contains("the source of users does not answer; try again later"));
    assert_eq!(status(&guarded, &basic("alice", PASSWORD)).await, 200);
    source.away.store(false, Ordering::SeqCst);
    assert_eq!(status(&guarded, &basic("zoe", "statement:zoe")).await, 200);
}

/// What a login changes is told with the request that it came with, as all changes are.
#[tokio::test]
async fn a_first_login_is_told_with_its_request() {
    let (guarded, _source) = start().await;
    guarded.audit.take();
    for (name, path) in [("zoe", "/api/v1/user"), ("yan", "/v2/"), ("xia", "/auth/token"), ("wim", "/metrics")] {
        let shown = basic(name, &format!("statement:{name}"));
        let status = guarded.call("GET", path, &shown, b"").await.status;
        assert!([200, 403].contains(&status), "{path}: {status}");
        let events = guarded.audit.take();
        let actions: Vec<_> = events.iter().map(|event| event.action.name()).collect();
        assert_eq!(actions, ["user.add", "login"], "{path}");
        assert!(events.iter().all(|event| event.remote.is_some() && event.request.is_some()), "{path}: {events:?}");
    }
}

/// Nobody guesses a statement: who guesses passwords for the name does not keep out whom the source vouches for.
#[tokio::test]
async fn guesses_at_a_password_leave_statements_alone() {
    let (guarded, _source) = start().await;
    let guesses = async || status(&guarded, &basic("zoe", "a wrong horse")).await;
    while guesses().await != 429 {}
    assert_eq!(status(&guarded, &basic("zoe", "statement:zoe")).await, 200);
}

/// Anybody can write one that its source cannot judge now.
#[tokio::test]
async fn statements_that_cannot_be_judged_count_as_tries_of_their_address() {
    let (guarded, source) = start().await;
    source.away.store(true, Ordering::SeqCst);
    let mut unknown = 0;
    loop {
        match status(&guarded, &basic("zoe", "statement:zoe")).await {
            503 => unknown += 1,
            other => break assert_eq!((other, unknown > 100), (429, true), "after {unknown}"),
        }
        assert!(unknown < 1_000, "they are given back");
    }
}
