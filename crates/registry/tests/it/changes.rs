//! Every change of who may do what is told to the audit, with who made it.

use std::sync::Arc;

use roadstead_metadata::records::access::{Access, Subject};
use roadstead_metadata::records::organization::Role;
use roadstead_registry::audit::{Actor, Audit, AuditOutcome, Event, Origin};
use roadstead_registry::identities::{
    GrantTarget, Identities, NewGrant, NewRepository, NewToken, NewUser, RepositoryChange, UserChange,
};
use roadstead_registry::{Caller, Everyone, Identity};

use crate::rig::{Rig, name};

const OPERATOR: Caller = Caller::Operator;

/// Who did what to whom, in a line.
fn told(event: &Event) -> String {
    assert_eq!(event.outcome, AuditOutcome::Ok);
    let actor = match &event.actor {
        Actor::Caller(Caller::Known(identity)) => identity.name.clone(),
        Actor::Caller(caller) => format!("{caller:?}"),
        other => format!("{other:?}"),
    };
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or("-").to_owned();
    let within = event.repository.as_ref().map_or(String::new(), |name| format!(" in {name}"));
    format!("{actor} {} {} ({}){within}", event.action.name(), text(&event.object), text(&event.detail))
}

#[tokio::test]
async fn every_change_is_told_with_who_made_it_and_no_secret() {
    let rig = Rig::new().await;
    let audit = Arc::new(Audit::new(rig.clock.clone()));
    let identities = Identities::new(rig.sql.clone(), rig.clock.clone(), Arc::new(Everyone)).with_audit(audit.clone());
    let password = "correct horse battery";
    assert!(identities.create_first_admin("root", password).await.unwrap());
    let user = NewUser { name: "alice", password: Some(password), admin: false };
    let alice = identities.create_user(&OPERATOR, &user).await.unwrap();
    identities.create_user(&OPERATOR, &NewUser { name: "bob", password: None, admin: false }).await.unwrap();
    // Nothing happens, nothing is told.
    assert!(identities.create_user(&OPERATOR, &user).await.is_err());
    let by: Caller = Identity::new(Subject::User(alice.id), "alice").into();
    assert!(identities.remove_user(&by, "bob").await.is_err());
    identities.set_password(&by, "alice", "another horse battery").await.unwrap();
    identities.change_user(&OPERATOR, "bob", UserChange { admin: Some(true), active: None }).await.unwrap();
    identities.create_organization(&OPERATOR, "acme").await.unwrap();
    identities.put_member(&OPERATOR, "acme", "alice", Role::Owner).await.unwrap();
    identities.put_member(&by, "acme", "bob", Role::Member).await.unwrap();
    identities.create_team(&by, "acme", "dev").await.unwrap();
    identities.put_team_member(&by, "acme", "dev", "bob").await.unwrap();
    let new = NewRepository { name: name("acme/app"), public: true, immutable_tags: false };
    identities.create_repository(&by, new).await.unwrap();
    let change = RepositoryChange { public: Some(false), immutable_tags: Some(true) };
    identities.change_repository(&by, &name("acme/app"), change).await.unwrap();
    let target = GrantTarget::Repository(name("acme/app"));
    let grant = NewGrant { target: target.clone(), to: "acme/dev", access: Access::ReadWrite };
    identities.put_grant(&by, &grant).await.unwrap();
    identities.create_robot(&by, "acme", "ci").await.unwrap();
    let namespace = NewGrant { target: GrantTarget::Namespace("acme".into()), to: "acme+ci", access: Access::ReadOnly };
    identities.put_grant(&by, &namespace).await.unwrap();
    let scope = Some("pull:acme/app".parse().unwrap());
    let new = NewToken { name: "build", of: Some("acme+ci"), scope, expires_at: None };
    let made = identities.create_token(&by, new).await.unwrap();
    identities.revoke_token(&by, made.token.id).await.unwrap();
    identities.remove_grant(&by, &target, "acme/dev").await.unwrap();
    identities.remove_robot(&by, "acme", "ci").await.unwrap();
    identities.remove_team_member(&by, "acme", "dev", "bob").await.unwrap();
    identities.remove_team(&by, "acme", "dev").await.unwrap();
    identities.remove_repository(&by, &name("acme/app")).await.unwrap();
    identities.remove_member(&by, "acme", "bob").await.unwrap();
    identities.create_organization(&OPERATOR, "empty").await.unwrap();
    identities.remove_organization(&OPERATOR, "empty").await.unwrap();
    identities.remove_user(&OPERATOR, "bob").await.unwrap();
    let (id, events) = (made.token.id, audit.take());
    let secret = |text: &str| text.contains(password) || text.contains(&made.secret[..]);
    let token =
        [format!("alice token.add {id} (build of acme+ci, for pull:acme/app)"), format!("alice token.revoke {id} (-)")];
    let expected = [
        "System user.add root (system admin)",
        "Operator user.add alice (user)",
        "Operator user.add bob (user)",
        "alice user.password alice (-)",
        "Operator user.change bob (system admin)",
        "Operator organization.add acme (-)",
        "Operator organization.member.put alice (owner of acme)",
        "alice organization.member.put bob (member of acme)",
        "alice team.add acme/dev (-)",
        "alice team.member.put bob (acme/dev)",
        "alice repository.add acme/app (public, tags that move) in acme/app",
        "alice repository.change acme/app (private, immutable tags) in acme/app",
        "alice grant.put acme/dev (read-write) in acme/app",
        "alice robot.add acme+ci (-)",
        "alice grant.put acme+ci on acme/ (read-only)",
        &token[0],
        &token[1],
        "alice grant.remove acme/dev (-) in acme/app",
        "alice robot.remove acme+ci (-)",
        "alice team.member.remove bob (acme/dev)",
        "alice team.remove acme/dev (-)",
        "alice repository.remove acme/app (-) in acme/app",
        "alice organization.member.remove bob (acme)",
        "Operator organization.add empty (-)",
        "Operator organization.remove empty (-)",
        "Operator user.remove bob (-)",
    ];
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(!events.iter().any(|event| secret(&format!("{event:?}"))));
}

#[tokio::test]
async fn a_change_in_a_request_is_told_with_its_address_and_id() {
    let rig = Rig::new().await;
    let audit = Arc::new(Audit::new(rig.clock.clone()));
    let identities = Identities::new(rig.sql.clone(), rig.clock.clone(), Arc::new(Everyone)).with_audit(audit.clone());
    let origin = Origin { remote: Some([10, 0, 0, 1].into()), request: "r-1".into() };
    let alice = NewUser { name: "alice", password: Some("correct horse battery"), admin: false };
    origin.scope(identities.create_user(&OPERATOR, &alice)).await.unwrap();
    let events = audit.take();
    assert_eq!((events[0].remote, events[0].request.as_deref()), (Some([10, 0, 0, 1].into()), Some("r-1")));
}
