//! Logins: how many are tried, which are remembered, and as what.

use std::time::Duration;

use roadstead_registry::Caller;

use crate::api::code;
use crate::guarded::{Guarded, PASSWORD, basic};

const V1: &str = "/v2/acme/app/manifests/v1";

#[tokio::test]
async fn who_guesses_is_stopped_and_others_are_not() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let reader = basic("reader", PASSWORD);
    assert_eq!(guarded.call("GET", "/v2/", &reader, b"").await.status, 200);
    let (mut refused, hashed) = (0, guarded.identities.password_hashes());
    for number in 0..15 {
        let answer = guarded.call("GET", "/v2/", &basic("reader", &format!("guess number {number}")), b"").await;
        assert!([401, 429].contains(&answer.status));
        if answer.status == 429 {
            refused += 1;
            assert_eq!(code(&answer), "TOOMANYREQUESTS");
            assert!(answer.header("retry-after").is_some());
        }
    }
    assert_eq!(refused, 5);
    assert_eq!(guarded.identities.password_hashes() - hashed, 10, "who is refused costs no hash");
    // Who is known goes on, and so do its tokens and all others.
    assert_eq!(guarded.call("GET", "/v2/", &reader, b"").await.status, 200);
    let (_, token) = guarded.token("reader", None, None).await;
    assert_eq!(guarded.call("GET", "/v2/", &basic("reader", &token), b"").await.status, 200);
    assert_eq!(guarded.call("GET", "/v2/", &basic("writer", PASSWORD), b"").await.status, 200);
    guarded.clock.advance(Duration::from_secs(61));
    assert_eq!(guarded.call("GET", "/v2/", &reader, b"").await.status, 200, "ten tries a minute");
}

/// Programs of one account that start at the same moment are no guessers, however many they are.
#[tokio::test]
async fn many_who_come_at_once_with_one_password_are_one_try() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let (reader, hashed) = (basic("reader", PASSWORD), guarded.identities.password_hashes());
    let all = futures::future::join_all((0..50).map(|_| guarded.call("GET", "/v2/", &reader, b""))).await;
    assert!(all.iter().all(|answer| answer.status == 200), "{:?}", all.iter().map(|it| it.status).collect::<Vec<_>>());
    assert_eq!(guarded.identities.password_hashes() - hashed, 1);
    // Who guesses counts each time.
    let wrong = basic("writer", "a wrong horse");
    let all = futures::future::join_all((0..50).map(|_| guarded.call("GET", "/v2/", &wrong, b""))).await;
    let tried = all.iter().filter(|answer| answer.status == 401).count();
    assert!((10..50).contains(&tried), "{tried}");
}

/// Whoever tries refresh tokens too often is told of as whoever tries passwords.
#[tokio::test]
async fn a_throttled_refresh_is_told() {
    let guarded = Guarded::start().await;
    let refresh = async || guarded.post_form("grant_type=refresh_token&refresh_token=rsr_0").await.status;
    while refresh().await != 429 {
        assert_eq!(guarded.told(), ["login denied - -"]);
    }
    assert_eq!(guarded.told(), ["login denied - -"], "of a try that was not looked at, too");
}

#[tokio::test]
async fn a_password_that_is_right_again_is_known_again() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let reader = basic("reader", PASSWORD);
    assert_eq!(guarded.call("GET", V1, &reader, b"").await.status, 200);
    guarded.identities.set_password(&Caller::Operator, "reader", PASSWORD).await.unwrap();
    assert_eq!(guarded.call("GET", V1, &reader, b"").await.status, 200);
}

/// Whether or not it was shown alone a moment ago.
#[tokio::test]
async fn a_token_under_an_empty_name_is_nobody_s() {
    let guarded = Guarded::start().await;
    guarded.world().await;
    let (_, token) = guarded.token("reader", None, None).await;
    for _ in 0..2 {
        assert_eq!(guarded.call("GET", V1, &basic("", &token), b"").await.status, 401);
        assert_eq!(guarded.call("GET", V1, &format!("Bearer {token}"), b"").await.status, 200);
    }
}
