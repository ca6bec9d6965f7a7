//! What one could log in with long ago is forgotten, what is good is not, whatever the clock does.

use std::time::Duration;

use roadstead_metadata::records::access::Subject;
use roadstead_metadata::records::access_token::{self, AccessToken};
use roadstead_metadata::records::account;
use roadstead_metadata::records::refresh_token::{self, RefreshToken};
use roadstead_metadata::records::signing_key::{self, SigningKey};
use roadstead_metadata::{Fault, Millis};
use roadstead_workers::{PurgeCredentials, Worker};
use tokio::time::advance;
use uuid::Uuid;

use crate::rig::Rig;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const USER: Uuid = Uuid::from_u128(1);
const LEFT: [&str; 3] =
    ["SELECT count(*) FROM access_token", "SELECT count(*) FROM refresh_token", "SELECT count(*) FROM signing_key"];

fn token(number: u128, at: Millis, expires_at: Option<Millis>) -> AccessToken {
    AccessToken {
        id: Uuid::from_u128(number),
        subject: Subject::User(USER),
        name: "ci".to_owned(),
        secret: vec![7; 32],
        scope: None,
        created_at: at,
        expires_at,
        revoked_at: None,
        parent: None,
    }
}

fn refresh(number: u128, at: Millis, expires_at: Millis) -> RefreshToken {
    RefreshToken {
        id: Uuid::from_u128(number),
        subject: Subject::User(USER),
        access_token: None,
        epoch: at,
        secret: vec![7; 32],
        service: "registry".to_owned(),
        scope: String::new(),
        created_at: at,
        expires_at,
        used_at: None,
        family: None,
        replayed_at: None,
    }
}

fn key(number: u128, at: Millis) -> SigningKey {
    SigningKey {
        id: Uuid::from_u128(number),
        algorithm: "ES256".to_owned(),
        private_key: vec![1],
        public_key: vec![2],
        created_at: at,
        not_before: at,
        retired_at: None,
    }
}

/// Two of each kind that will end within an hour, and one that will not.
async fn furnish(rig: &Rig) {
    let now = rig.registry.clock().now();
    let soon = now + 60_000;
    rig.commit(account::create(USER, "alice", None, true, now)).await;
    let tokens = [token(1, now, Some(soon)), token(2, now, None), token(3, now, None)];
    let revoked = access_token::revoke(tokens[1].id, now);
    rig.commit(tokens.iter().flat_map(access_token::create).chain(revoked)).await;
    let far = now + 100 * DAY.as_millis() as Millis;
    let tokens = [refresh(1, now, soon), refresh(2, now, soon), refresh(3, now, far)];
    rig.commit(tokens.iter().flat_map(refresh_token::create)).await;
    rig.commit(signing_key::create_first(&key(1, now))).await;
    for number in [2, 3] {
        rig.commit(signing_key::rotate(&key(number, now), soon)).await;
    }
}

async fn left(rig: &Rig) -> [i64; 3] {
    [rig.count(LEFT[0]).await, rig.count(LEFT[1]).await, rig.count(LEFT[2]).await]
}

#[tokio::test(start_paused = true)]
async fn what_ended_long_ago_is_forgotten_and_what_is_good_stays() {
    let rig = Rig::new().await;
    furnish(&rig).await;
    let worker = PurgeCredentials::new(rig.registry.clone());
    let mut seen = Vec::new();
    for hours in [0, 2, 20, 3, 1, 29 * 24 - 20, 24] {
        advance(HOUR * hours).await;
        worker.step().await.unwrap();
        seen.push(left(&rig).await);
    }
    assert_eq!(seen, [[3, 3, 3], [3, 3, 3], [3, 3, 3], [3, 1, 1], [3, 1, 1], [3, 1, 1], [1, 1, 1]]);
    // At rest nothing is written.
    rig.metadata.fail_next_commit(Fault::UnavailableBefore);
    assert_eq!(worker.step().await.unwrap().done, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_forgotten_by_a_clock_that_jumped() {
    let rig = Rig::new().await;
    furnish(&rig).await;
    let worker = PurgeCredentials::new(rig.registry.clone());
    worker.step().await.unwrap();
    rig.clock.jump(1_000 * DAY.as_millis() as Millis);
    for _ in 0..3 {
        assert_eq!(worker.step().await.unwrap().done, 0);
        assert_eq!(left(&rig).await, [3, 3, 3]);
        advance(HOUR / 4).await;
    }
}

/// What a revocation did not come to mark is marked before the token goes by which it is judged.
#[tokio::test(start_paused = true)]
async fn what_was_made_with_a_revoked_token_does_not_outlive_its_record() {
    let rig = Rig::new().await;
    let now = rig.registry.clock().now();
    rig.commit(account::create(USER, "alice", None, true, now)).await;
    let tokens = [1, 2, 3].map(|number| AccessToken {
        parent: (number > 1).then(|| Uuid::from_u128(number - 1)),
        ..token(number, now, None)
    });
    rig.commit(tokens.iter().flat_map(access_token::create)).await;
    rig.commit(access_token::revoke(tokens[0].id, now)).await;
    let worker = PurgeCredentials::new(rig.registry.clone());
    worker.step().await.unwrap();
    let mut done = Vec::new();
    while left(&rig).await[0] == 3 {
        assert!(done.len() < 31 * 24);
        advance(HOUR).await;
        done.push(worker.step().await.unwrap().done);
    }
    done.retain(|done| *done > 0);
    assert_eq!(done, [1, 1, 1], "two are marked, the first one goes");
    let good = rig.count("SELECT count(*) FROM access_token WHERE revoked_at IS NULL").await;
    assert_eq!((left(&rig).await[0], good), (2, 0));
}
