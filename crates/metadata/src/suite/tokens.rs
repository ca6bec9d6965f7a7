//! Clauses on what one logs in with, and on the keys that sign.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::identities::{BOB, CI, TOKEN, facts, prepare, refused};
use super::{AT, commit};
use crate::records::access::{self, Asked, Subject};
use crate::records::access_token::{self, AccessToken, Made};
use crate::records::account;
use crate::records::signing_key::{self, SigningKey};
use crate::{Freshness, Sql};

const SECOND: Uuid = Uuid::from_u128(2);
const FOURTH: Uuid = Uuid::from_u128(4);

pub(super) fn token(subject: Subject) -> AccessToken {
    let (secret, scope) = (vec![7; 32], Some("pull:acme/app".to_owned()));
    let (created_at, expires_at, revoked_at) = (AT, Some(AT + 9), None);
    let (name, parent) = ("ci".to_owned(), None);
    AccessToken { id: TOKEN, subject, name, secret, scope, created_at, expires_at, revoked_at, parent }
}

/// Tokens are found by id, listed by owner, and end by time or by hand; keys sign in turn.
pub async fn tokens_and_keys_are_kept(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let whole = token(Subject::Robot(CI));
    commit(sql, access_token::create(&whole)).await;
    assert_eq!(access_token::by_id(sql, Freshness::Latest, TOKEN).await.unwrap(), Some(whole.clone()));
    assert_eq!(access_token::page(sql, Subject::Robot(CI), Uuid::nil(), 9).await.unwrap(), [whole]);
    assert_eq!(access_token::page(sql, Subject::User(BOB), Uuid::nil(), 9).await.unwrap(), []);
    let standing = facts(sql, Some(Subject::Robot(CI)), "acme/app").await.token.unwrap();
    assert_eq!((standing.subject, standing.expires_at, standing.revoked), (Subject::Robot(CI), Some(AT + 9), false));
    for at in [AT + 1, AT + 2] {
        commit(sql, access_token::revoke(TOKEN, at)).await;
    }
    let revoked = access_token::by_id(sql, Freshness::Local, TOKEN).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(AT + 1));
    assert!(facts(sql, Some(Subject::Robot(CI)), "acme/app").await.token.unwrap().revoked);
    refused(sql, access_token::revoke(Uuid::nil(), AT)).await;
    // It expires at AT + 9 and was revoked at AT + 1: once either is long ago it may be forgotten, and not before.
    assert!(access_token::ended(sql, AT + 1, 9).await.unwrap().is_empty());
    assert_eq!(access_token::ended(sql, AT + 2, 9).await.unwrap().into_iter().collect::<Vec<_>>(), [TOKEN]);
    let expiring = AccessToken { id: Uuid::from_u128(31), ..token(Subject::User(BOB)) };
    let lasting = AccessToken { id: Uuid::from_u128(32), expires_at: None, ..token(Subject::User(BOB)) };
    commit(sql, [&expiring, &lasting].into_iter().flat_map(access_token::create)).await;
    let ended = access_token::ended(sql, AT + 10, 9).await.unwrap();
    assert_eq!(ended.iter().copied().collect::<Vec<_>>(), [TOKEN, expiring.id]);
    commit(sql, access_token::forget(&ended)).await;
    assert_eq!(access_token::by_id(sql, Freshness::Latest, TOKEN).await.unwrap(), None);
    assert_eq!(facts(sql, Some(Subject::Robot(CI)), "acme/app").await.token, None);
    assert_eq!(access_token::page(sql, Subject::User(BOB), Uuid::nil(), 9).await.unwrap(), [lasting]);
    let orphan = AccessToken { id: Uuid::from_u128(30), ..token(Subject::User(CI)) };
    refused(sql, access_token::create(&orphan)).await;

    let key = |id: u128| SigningKey {
        id: Uuid::from_u128(id),
        algorithm: "ES256".to_owned(),
        private_key: vec![1],
        public_key: vec![2],
        created_at: AT,
        not_before: AT + 1,
        retired_at: None,
    };
    commit(sql, signing_key::create_first(&key(1))).await;
    refused(sql, signing_key::create_first(&key(2))).await;
    commit(sql, signing_key::rotate(&key(3), AT + 7)).await;
    let keys: Vec<_> = signing_key::all(sql).await.unwrap().iter().map(|key| key.retired_at).collect();
    assert_eq!(keys, [Some(AT + 7), None]);
    assert_eq!(signing_key::retired(sql, AT + 7).await.unwrap(), 0);
    assert_eq!(signing_key::retired(sql, AT + 8).await.unwrap(), 1);
    commit(sql, [signing_key::forget(AT + 8)]).await;
    assert_eq!(signing_key::all(sql).await.unwrap(), [key(3)]);
    commit(sql, signing_key::rotate(&key(4), AT + 7)).await;
    let all = [Uuid::from_u128(3), FOURTH];
    refused(sql, signing_key::replace(&key(5), [FOURTH])).await;
    refused(sql, signing_key::replace(&key(5), [])).await;
    commit(sql, signing_key::replace(&key(5), all)).await;
    assert_eq!(signing_key::all(sql).await.unwrap(), [key(5)], "the others are over, also those that had not retired");
}

/// What the owner of a token made with it ends with it, however far down and before it is marked; what was made for others
/// does not. Rows of older programs do not tell what they were made with, and end alone.
pub async fn what_was_made_with_a_token_ends_with_it(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let id = Uuid::from_u128;
    let made = |number: u128, subject, parent: Option<u128>| AccessToken {
        id: id(number),
        parent: parent.map(id),
        expires_at: None,
        ..token(subject)
    };
    let (bob, ci) = (Subject::User(BOB), Subject::Robot(CI));
    for (number, subject, parent) in
        [(1, bob, None), (2, bob, Some(1)), (3, bob, Some(2)), (4, ci, Some(2)), (5, ci, Some(4)), (6, bob, None)]
    {
        commit(sql, access_token::create(&made(number, subject, parent))).await;
    }
    let ended = async || {
        let mut ended = Vec::new();
        for number in 1..=6 {
            let found = access_token::by_id(sql, Freshness::Latest, id(number)).await.unwrap().unwrap();
            let asked = Asked { subject: Some(found.subject), token: Some(found.id), repository: "acme/app" };
            let standing = access::facts(sql, Freshness::Latest, asked).await.unwrap().token.unwrap();
            assert_eq!(standing.revoked, found.revoked_at.is_some(), "{number}");
            ended.extend(found.revoked_at.map(|_| number));
        }
        ended
    };
    let second = access_token::by_id(sql, Freshness::Latest, id(2)).await.unwrap().unwrap();
    assert_eq!(second, made(2, bob, Some(1)));
    let living = async |most| access_token::living(sql, bob, AT, most).await.unwrap();
    assert_eq!((living(9).await, living(3).await), (4, 3));
    assert_eq!(access_token::living(sql, ci, AT, 9).await.unwrap(), 2);
    commit(sql, access_token::revoke(id(1), AT)).await;
    assert_eq!(ended().await, [1, 2, 3]);
    let listed = access_token::page(sql, bob, Uuid::nil(), 9).await.unwrap();
    assert_eq!(listed.iter().filter(|token| token.revoked_at.is_some()).count(), 3);
    refused(sql, access_token::create(&made(7, bob, Some(1)))).await;
    refused(sql, access_token::create(&made(7, bob, Some(99)))).await;
    // They are marked step by step, each of which shows the next.
    for next in [2, 3] {
        let lingering = access_token::lingering(sql, 9).await.unwrap();
        assert_eq!(lingering, [id(next)]);
        commit(sql, access_token::end(lingering, AT + 1)).await;
    }
    assert!(access_token::lingering(sql, 9).await.unwrap().is_empty(), "that of the robot is another's");
    assert_eq!(ended().await, [1, 2, 3]);
    let below = |after| access_token::made_with(sql, &[SECOND, FOURTH], after, 1);
    let fourth = Made { id: FOURTH, parent: SECOND, subject: ci, revoked: false };
    assert_eq!(below(id(3)).await.unwrap(), [fourth]);
    assert_eq!(below(FOURTH).await.unwrap(), [Made { id: id(5), parent: FOURTH, ..fourth }]);
    commit(sql, access_token::forget(&[id(1)].into())).await;
    let orphan = access_token::by_id(sql, Freshness::Latest, id(2)).await.unwrap().unwrap();
    assert_eq!((orphan.parent, orphan.revoked_at), (None, Some(AT + 1)));
    // Whose tokens go with it leaves nothing of what it made with them for others.
    commit(sql, access_token::create(&made(7, ci, None))).await;
    commit(sql, access_token::create(&made(8, ci, Some(6)))).await;
    commit(sql, account::remove(BOB, AT + 3)).await;
    for (number, end) in [(4, Some(AT + 3)), (5, Some(AT + 3)), (7, None), (8, Some(AT + 3))] {
        let left = access_token::by_id(sql, Freshness::Latest, id(number)).await.unwrap().unwrap();
        assert_eq!(left.revoked_at, end, "{number}");
    }
}

/// Who forgets tokens in the middle of a lineage leaves it whole: what was made with them is found from what they were made
/// with, however many of them go at once.
pub async fn a_forgotten_token_hands_over_what_was_made_with_it(sql: Arc<dyn Sql>) {
    let sql = &*sql;
    prepare(sql).await;
    let id = Uuid::from_u128;
    let (bob, ci) = (Subject::User(BOB), Subject::Robot(CI));
    // 1 - 2 - 3 - 4 - 5, of which 5 is another's; beside 3 there is 6, and 7 - 8 is a lineage of its own.
    let lineage =
        [(1, bob, None), (2, bob, Some(1)), (3, bob, Some(2)), (4, bob, Some(3)), (5, ci, Some(4)), (6, bob, Some(2))];
    for (number, subject, parent) in lineage.into_iter().chain([(7, bob, None), (8, bob, Some(7))]) {
        let made = AccessToken { id: id(number), parent: parent.map(id), expires_at: None, ..token(subject) };
        commit(sql, access_token::create(&made)).await;
    }
    let parent = async |number| {
        let found = access_token::by_id(sql, Freshness::Latest, id(number)).await.unwrap();
        found.map(|token| token.parent)
    };
    // Some that follow each other and one that has nothing above it, in one batch.
    commit(sql, access_token::forget(&[id(2), id(3), id(7)].into())).await;
    for (number, above) in [(1, None), (4, Some(id(1))), (5, Some(id(4))), (6, Some(id(1))), (8, None)] {
        assert_eq!(parent(number).await, Some(above), "{number}");
    }
    assert_eq!((parent(2).await, parent(3).await, parent(7).await), (None, None, None));
    // What is another's, too; and one that has none hands over nothing.
    commit(sql, access_token::forget(&[id(4), id(6)].into())).await;
    assert_eq!(parent(5).await, Some(Some(id(1))));
    let below = access_token::made_with(sql, &[id(1)], Uuid::nil(), 9).await.unwrap();
    assert_eq!(below, [Made { id: id(5), parent: id(1), subject: ci, revoked: false }]);
    commit(sql, access_token::forget(&BTreeSet::new())).await;
    // Ending the first one ends what its owner has of it now.
    let last = AccessToken { id: id(9), parent: Some(id(1)), expires_at: None, ..token(bob) };
    let next = AccessToken { id: id(10), parent: Some(id(9)), ..last.clone() };
    commit(sql, [last, next].iter().flat_map(access_token::create)).await;
    commit(sql, access_token::forget(&[id(9)].into())).await;
    commit(sql, access_token::revoke(id(1), AT)).await;
    let ended = access_token::by_id(sql, Freshness::Latest, id(10)).await.unwrap().unwrap();
    assert_eq!((ended.parent, ended.revoked_at), (Some(id(1)), Some(AT)));
}
