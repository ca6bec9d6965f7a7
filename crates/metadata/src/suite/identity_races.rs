//! Clauses on changes of identities that meet: whoever comes first, what must be stays.

use std::sync::Arc;

use uuid::Uuid;

use super::identities::{ACME, ALICE, APP, BOB, ROOT, dev, prepare, refused};
use super::races::both;
use super::{AT, commit, number};
use crate::records::access::{Access, Subject};
use crate::records::grant::{self, Grantee, Object};
use crate::records::organization::{self, Role};
use crate::records::refresh_token::{self, RefreshToken};
use crate::records::team::{self, Team};
use crate::records::{account, repository};
use crate::{Freshness, Sql};

/// Two owners that remove each other at once, as members and as users: one stays.
pub async fn an_organization_keeps_an_owner(sql: Arc<dyn Sql>) {
    prepare(&*sql).await;
    for round in 0..20 {
        commit(&*sql, organization::put_member(ACME, BOB, Role::Owner, AT)).await;
        let won =
            both(&sql, organization::remove_member(ACME, ALICE).into(), organization::remove_member(ACME, BOB).into());
        let won = won.await;
        assert!(won[0] != won[1], "round {round}: {won:?}");
        commit(&*sql, organization::put_member(ACME, ALICE, Role::Owner, AT)).await;
        commit(&*sql, organization::put_member(ACME, BOB, Role::Owner, AT)).await;
        let demote = |user| organization::put_member(ACME, user, Role::Member, AT);
        let won = both(&sql, demote(ALICE), demote(BOB)).await;
        assert!(won[0] != won[1], "round {round}: {won:?}");
        commit(&*sql, organization::put_member(ACME, ALICE, Role::Owner, AT)).await;
    }
    commit(&*sql, organization::put_member(ACME, BOB, Role::Owner, AT)).await;
    let won = both(&sql, account::remove(ALICE, AT).into(), account::remove(BOB, AT).into()).await;
    assert!(won[0] != won[1], "{won:?}");
}

/// Two system admins that demote each other at once: one stays.
pub async fn a_system_admin_stays(sql: Arc<dyn Sql>) {
    prepare(&*sql).await;
    for round in 0..20 {
        commit(&*sql, account::set_power(ROOT, Some(true), Some(true))).await;
        commit(&*sql, account::set_power(BOB, Some(true), Some(true))).await;
        let won = both(
            &sql,
            account::set_power(ROOT, Some(false), Some(true)).into(),
            account::set_power(BOB, Some(true), Some(false)).into(),
        )
        .await;
        assert!(won[0] != won[1], "round {round}: {won:?}");
    }
}

/// One name at once for a user and an organization: one gets it.
pub async fn a_name_is_a_users_or_an_organizations(sql: Arc<dyn Sql>) {
    prepare(&*sql).await;
    for (round, name) in ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"].into_iter().enumerate() {
        // Some of the names were pushed to before.
        if round % 2 == 0 {
            let made = repository::create(Uuid::now_v7(), Uuid::now_v7(), &format!("{name}/app"), AT);
            commit(&*sql, made).await;
        }
        let user = account::create(Uuid::now_v7(), name, None, false, AT);
        let won = both(&sql, user, organization::create(Uuid::now_v7(), name, Some(BOB), AT)).await;
        assert!(won[0] != won[1], "{name}: {won:?}");
        let is_user = account::by_name(&*sql, Freshness::Latest, name).await.unwrap().is_some();
        assert_eq!((is_user, organization::by_name(&*sql, name).await.unwrap().is_some()), (won[0], won[1]));
    }
}

/// A refresh token of BOB.
fn refresh(id: u128) -> RefreshToken {
    RefreshToken {
        id: Uuid::from_u128(id),
        subject: Subject::User(BOB),
        access_token: None,
        epoch: AT,
        secret: vec![9; 32],
        service: "registry".to_owned(),
        scope: "repository:acme/app:pull".to_owned(),
        created_at: AT,
        expires_at: AT + 100,
        used_at: None,
        family: None,
        replayed_at: None,
    }
}

/// One that is shown again ends those that came of the same login, and the one that is being made meanwhile: of both at
/// once none is left that can be used.
pub async fn a_family_of_refresh_tokens_ends_whole(sql: Arc<dyn Sql>) {
    prepare(&*sql).await;
    let of = |id: u128, first: u128| RefreshToken { family: Some(Uuid::from_u128(first)), ..refresh(id) };
    for token in [refresh(1), of(2, 1), of(3, 1), refresh(4)] {
        commit(&*sql, refresh_token::create(&token)).await;
    }
    commit(&*sql, refresh_token::use_up(Uuid::from_u128(2), AT + 1)).await;
    commit(&*sql, [refresh_token::end_family(&of(2, 1), AT + 2)]).await;
    for (id, used) in [(1, Some(AT + 2)), (2, Some(AT + 1)), (3, Some(AT + 2)), (4, None)] {
        let found = refresh_token::by_id(&*sql, Uuid::from_u128(id)).await.unwrap().unwrap();
        assert_eq!((found.used_at, found.replayed_at), (used, used.map(|_| AT + 2)), "{id}");
    }
    refused(&*sql, refresh_token::create(&of(5, 1))).await;
    commit(&*sql, refresh_token::create(&of(6, 4))).await;
    for id in 0..20 {
        let (first, next) = (100 + 2 * id, 101 + 2 * id);
        commit(&*sql, refresh_token::create(&refresh(first))).await;
        let end = vec![refresh_token::end_family(&refresh(first), AT + 1)];
        both(&sql, end, refresh_token::create(&of(next, first))).await;
        let next = refresh_token::by_id(&*sql, Uuid::from_u128(next)).await.unwrap();
        assert!(next.is_none_or(|next| next.used_at.is_some()), "{id}");
    }
}

/// A refresh token that is used twice at once is used once; an expired one not at all, and is forgotten.
pub async fn a_refresh_token_is_used_once(sql: Arc<dyn Sql>) {
    prepare(&*sql).await;
    let token = refresh;
    for id in 1..=20 {
        commit(&*sql, refresh_token::create(&token(id))).await;
        let uses = || refresh_token::use_up(Uuid::from_u128(id), AT + 1).into();
        let won = both(&sql, uses(), uses()).await;
        assert!(won[0] != won[1], "{won:?}");
        let used = RefreshToken { used_at: Some(AT + 1), ..token(id) };
        assert_eq!(refresh_token::by_id(&*sql, token(id).id).await.unwrap(), Some(used));
    }
    commit(&*sql, refresh_token::create(&token(21))).await;
    refused(&*sql, refresh_token::use_up(Uuid::from_u128(21), AT + 100)).await;
    commit(&*sql, [refresh_token::purge(AT + 100, 9)]).await;
    assert_eq!(number(&*sql, "SELECT count(*) FROM refresh_token", []).await, 21);
    assert_eq!(refresh_token::expired(&*sql, AT + 100, 9).await.unwrap(), 0);
    assert_eq!(refresh_token::expired(&*sql, AT + 101, 9).await.unwrap(), 9);
    commit(&*sql, [refresh_token::purge(AT + 101, 9)]).await;
    assert_eq!(number(&*sql, "SELECT count(*) FROM refresh_token", []).await, 12);
}

/// A grant to a team against the team's end: whichever comes first, no grant to nobody is left.
pub async fn a_grant_and_the_end_of_its_team_leave_nothing(sql: Arc<dyn Sql>) {
    prepare(&*sql).await;
    commit(&*sql, team::remove(&dev())).await;
    for round in 0..20 {
        let team = Team { id: Uuid::now_v7(), ..dev() };
        commit(&*sql, team::create(&team)).await;
        let grant = grant::put(Object::Repository(APP), Grantee::Team(team.id), Access::Admin, AT);
        let won = both(&sql, grant, team::remove(&team).into()).await;
        assert!(won[1], "round {round}: {won:?}");
        assert_eq!(number(&*sql, "SELECT count(*) FROM repository_grant", []).await, 0);
    }
}
