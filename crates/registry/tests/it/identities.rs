//! The use cases of administration, and logging in.

use std::sync::Arc;
use std::time::Duration;

use roadstead_metadata::Fault;
use roadstead_metadata::records::access::{Access, Subject};
use roadstead_metadata::records::organization::Role;
use roadstead_registry::identities::{
    GrantTarget, Identities, IdentityError, NewGrant, NewRefresh, NewRepository, NewToken, NewUser, Outcome,
    RepositoryChange, UserChange,
};
use roadstead_registry::{AccessCache, Action, Caller, Error, Identity, Limits, Parts, Registry, Rules};
use uuid::Uuid;

use crate::rig::{Rig, body, name, sha256};

const PASSWORD: &str = "correct horse";
const OPERATOR: Caller = Caller::Operator;

struct Office {
    rig: Rig,
    identities: Identities,
    registry: Arc<Registry>,
}

/// A registry with access control, without anybody.
async fn office() -> Office {
    let rig = Rig::new().await;
    let policy =
        Arc::new(AccessCache::new(rig.sql.clone(), rig.clock.clone(), Rules::default(), Duration::from_secs(60)));
    let parts = Parts {
        sql: rig.sql.clone(),
        locations: rig.registry.locations().clone(),
        clock: rig.clock.clone(),
        policy: policy.clone(),
        limits: Limits::default(),
    };
    let registry = Registry::start(parts).await.unwrap();
    let identities = Identities::new(rig.sql.clone(), rig.clock.clone(), policy);
    Office { rig, identities, registry }
}

impl Office {
    /// Adds a user, without a password unless it is a system admin: those have to be able to come in.
    async fn user(&self, name: &str, admin: bool) -> Caller {
        let new = NewUser { name, password: admin.then_some(PASSWORD), admin };
        let subject = Subject::User(self.identities.create_user(&OPERATOR, &new).await.unwrap().id);
        Identity::new(subject, name).into()
    }

    async fn may(&self, caller: &Caller, action: Action, repository: &str) -> bool {
        self.registry.may(caller, action, &name(repository)).await
    }

    async fn repository(&self, caller: &Caller, repository: &str) {
        let new = NewRepository { name: name(repository), public: false, immutable_tags: false };
        self.identities.create_repository(caller, new).await.unwrap();
    }
}

fn text<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
    outcome.unwrap_err().to_string()
}

fn new_token(name: &str) -> NewToken<'_> {
    NewToken { name, of: None, scope: None, expires_at: None }
}

#[tokio::test]
async fn somebody_logs_in_by_password_and_is_refused_by_any_other() {
    let office = office().await;
    let all = &office.identities;
    assert!(all.create_first_admin("admin", PASSWORD).await.unwrap());
    assert!(!all.create_first_admin("admin", PASSWORD).await.unwrap());
    assert!(!all.create_first_admin("other", PASSWORD).await.unwrap());
    let admin: Caller = all.log_in("admin", PASSWORD).await.unwrap().into();
    let new = NewUser { name: "alice", password: Some(PASSWORD), admin: false };
    all.create_user(&admin, &new).await.unwrap();
    assert_eq!(
        text(all.create_user(&admin, &new).await),
        "there is a user or an organization alice already; choose another name"
    );
    for (who, password) in [("alice", "wrong horse"), ("alice", ""), ("nobody", PASSWORD), ("acme+ci", PASSWORD)] {
        let refused = all.log_in(who, password).await;
        assert!(matches!(refused, Err(IdentityError::Unauthorized)), "{who}");
    }
    let alice: Caller = all.log_in("alice", PASSWORD).await.unwrap().into();
    assert!(matches!(all.create_user(&alice, &new).await, Err(IdentityError::Denied(_))));
    assert!(matches!(all.users(&alice, "", 9).await, Err(IdentityError::Denied(_))));
    assert!(matches!(all.user(&alice, "admin").await, Err(IdentityError::Unknown(_))));
    assert_eq!(all.user(&alice, "alice").await.unwrap().name, "alice");
    assert_eq!(all.users(&admin, "", 9).await.unwrap().len(), 2);

    // A new password ends what came with the old one.
    office.registry.recognize(&alice).await.unwrap();
    all.set_password(&alice, "alice", "battery staple").await.unwrap();
    assert!(matches!(office.registry.recognize(&alice).await, Err(Error::Unauthorized)));
    assert!(matches!(all.log_in("alice", PASSWORD).await, Err(IdentityError::Unauthorized)));
    let alice: Caller = all.log_in("alice", "battery staple").await.unwrap().into();
    let short = all.set_password(&alice, "alice", "short").await;
    assert!(matches!(&short, Err(IdentityError::Invalid(text)) if text.contains("8 to 128")), "{short:?}");
    assert!(matches!(all.set_password(&alice, "admin", PASSWORD).await, Err(IdentityError::Unknown(_))));

    // Who is not active may do nothing.
    let off = UserChange { active: Some(false), ..UserChange::default() };
    assert!(!all.change_user(&admin, "alice", off).await.unwrap().active);
    assert!(matches!(office.registry.recognize(&alice).await, Err(Error::Unauthorized)));
    assert!(matches!(all.log_in("alice", "battery staple").await, Err(IdentityError::Unauthorized)));
}

#[tokio::test]
async fn users_come_and_go_where_there_is_no_system_admin() {
    let office = office().await;
    let all = &office.identities;
    office.user("alice", false).await;
    let off = UserChange { active: Some(false), ..UserChange::default() };
    assert!(!all.change_user(&OPERATOR, "alice", off).await.unwrap().active);
    all.remove_user(&OPERATOR, "alice").await.unwrap();
    // The first one there is stays, as ever.
    office.user("bob", true).await;
    office.user("eve", false).await;
    assert!(text(all.remove_user(&OPERATOR, "bob").await).contains("last active system admin"));
    assert!(text(all.change_user(&OPERATOR, "bob", off).await).contains("last active system admin"));
    let kept = UserChange { admin: Some(true), active: None };
    assert!(all.change_user(&OPERATOR, "bob", kept).await.unwrap().admin);
    all.change_user(&OPERATOR, "eve", kept).await.unwrap();
    assert!(text(all.remove_user(&OPERATOR, "bob").await).contains("with a password here"), "eve cannot come in");
    all.set_password(&OPERATOR, "eve", PASSWORD).await.unwrap();
    all.remove_user(&OPERATOR, "bob").await.unwrap();
}

#[tokio::test]
async fn names_are_checked() {
    let office = office().await;
    for bad in ["Alice", "a/b", "library", ""] {
        let new = NewUser { name: bad, password: None, admin: false };
        let refused = office.identities.create_user(&OPERATOR, &new).await;
        assert!(matches!(refused, Err(IdentityError::Invalid(_))), "{bad}");
        let refused = office.identities.create_organization(&OPERATOR, bad).await;
        assert!(matches!(refused, Err(IdentityError::Invalid(_))), "{bad}");
    }
    office.identities.create_organization(&OPERATOR, "acme").await.unwrap();
    let taken = NewUser { name: "acme", password: None, admin: false };
    assert!(matches!(office.identities.create_user(&OPERATOR, &taken).await, Err(IdentityError::Exists(_))));
    let refused = office.identities.create_team(&OPERATOR, "acme", "Dev").await;
    assert!(matches!(refused, Err(IdentityError::Invalid(_))));
    office.identities.create_team(&OPERATOR, "acme", "dev").await.unwrap();
    assert!(matches!(office.identities.create_team(&OPERATOR, "acme", "dev").await, Err(IdentityError::Exists(_))));
}

#[tokio::test]
async fn a_token_stands_for_its_owner_until_it_ends() {
    let office = office().await;
    let (all, clock) = (&office.identities, &office.rig.clock);
    let alice = office.user("alice", false).await;
    let now = roadstead_registry::Clock::now(&**clock);
    let made = all.create_token(&alice, NewToken { expires_at: Some(now + 60_000), ..new_token("ci") }).await.unwrap();
    assert!(made.secret.starts_with("rsd_") && made.secret.len() == 101, "{}", made.secret);
    assert!(!format!("{made:?}").contains(&made.secret[37..]), "not for logs");
    let by_token: Caller = all.log_in("alice", &made.secret).await.unwrap().into();
    office.repository(&by_token, "alice/app").await;
    assert!(office.may(&by_token, Action::Push, "alice/app").await);
    let last = made.secret.chars().last().unwrap();
    let other = format!("{}{}", &made.secret[..100], if last == '0' { '1' } else { '0' });
    for (who, secret) in [("bob", &made.secret), ("alice", &other), ("", &made.secret)] {
        assert!(matches!(all.log_in(who, secret).await, Err(IdentityError::Unauthorized)), "{who}");
    }

    // One that is good for less makes none that is good for more, and administers nothing.
    let scope = Some("pull:alice/app".parse().unwrap());
    let narrow = all.create_token(&alice, NewToken { scope, ..new_token("narrow") }).await.unwrap();
    let narrow: Caller = all.log_in("alice", &narrow.secret).await.unwrap().into();
    assert!(office.may(&narrow, Action::Pull, "alice/app").await);
    assert!(!office.may(&narrow, Action::Push, "alice/app").await);
    let refused = all.create_token(&narrow, new_token("wide")).await;
    assert!(matches!(&refused, Err(IdentityError::Denied(text)) if text.contains("pull:alice/app")), "{refused:?}");
    assert!(matches!(all.set_password(&narrow, "alice", PASSWORD).await, Err(IdentityError::Denied(_))));
    let shown = all.tokens(&alice, None, Uuid::nil(), 9).await.unwrap();
    assert_eq!(shown.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["ci", "narrow"]);

    // Others neither see nor end it; it ends by hand, and another by time.
    let bob = office.user("bob", false).await;
    assert!(matches!(all.revoke_token(&bob, made.token.id).await, Err(IdentityError::Unknown(_))));
    assert!(matches!(all.tokens(&bob, Some("alice"), Uuid::nil(), 9).await, Err(IdentityError::Unknown(_))));
    let short =
        all.create_token(&alice, NewToken { expires_at: Some(now + 60_000), ..new_token("short") }).await.unwrap();
    let by_short: Caller = all.log_in("alice", &short.secret).await.unwrap().into();
    // One that ends makes none that ends later.
    let later = NewToken { expires_at: Some(now + 60_001), ..new_token("later") };
    for longer in [new_token("ever"), later] {
        let denied = text(all.create_token(&by_short, longer).await);
        assert!(denied.contains("ends before that"), "{denied}");
    }
    all.create_token(&by_short, NewToken { expires_at: Some(now + 60_000), ..new_token("as long") }).await.unwrap();
    all.revoke_token(&alice, made.token.id).await.unwrap();
    assert!(!office.may(&by_token, Action::Pull, "alice/app").await, "at once in this process");
    assert!(matches!(all.log_in("alice", &made.secret).await, Err(IdentityError::Unauthorized)));
    assert!(office.may(&by_short, Action::Pull, "alice/app").await);
    clock.advance(Duration::from_secs(60));
    assert!(!office.may(&by_short, Action::Pull, "alice/app").await);
    assert!(matches!(all.log_in("alice", &short.secret).await, Err(IdentityError::Unauthorized)));
    let past = all.create_token(&alice, NewToken { expires_at: Some(now), ..new_token("past") }).await;
    assert!(matches!(past, Err(IdentityError::Invalid(_))));
    assert!(matches!(all.create_token(&OPERATOR, new_token("whose")).await, Err(IdentityError::Invalid(_))));
}

#[tokio::test]
async fn a_robot_does_what_is_granted_to_it() {
    let office = office().await;
    let all = &office.identities;
    let (alice, bob) = (office.user("alice", true).await, office.user("bob", false).await);
    all.create_organization(&alice, "acme").await.unwrap();
    assert!(matches!(all.create_robot(&bob, "acme", "ci").await, Err(IdentityError::Unknown(_))));
    all.create_robot(&alice, "acme", "ci").await.unwrap();
    let token = NewToken { of: Some("acme+ci"), ..new_token("build") };
    assert!(matches!(all.create_token(&bob, token.clone()).await, Err(IdentityError::Unknown(_))));
    let made = all.create_token(&alice, token).await.unwrap();
    let robot: Caller = all.log_in("acme+ci", &made.secret).await.unwrap().into();
    office.repository(&alice, "acme/app").await;
    assert!(!office.may(&robot, Action::Pull, "acme/app").await);
    let target = GrantTarget::Repository(name("acme/app"));
    let grant = NewGrant { target: target.clone(), to: "acme+ci", access: Access::ReadWrite };
    assert!(all.put_grant(&bob, &grant).await.is_err());
    all.put_grant(&alice, &grant).await.unwrap();
    assert!(office.may(&robot, Action::Push, "acme/app").await);
    assert!(!office.may(&robot, Action::Admin, "acme/app").await);
    assert_eq!(all.grants(&alice, &target, Uuid::nil(), 9).await.unwrap()[0].name, "acme+ci");
    all.remove_grant(&alice, &target, "acme+ci").await.unwrap();
    assert!(!office.may(&robot, Action::Pull, "acme/app").await);
    all.put_grant(&alice, &grant).await.unwrap();
    assert_eq!(all.robots(&alice, "acme", "", 9).await.unwrap().len(), 1);
    all.remove_robot(&alice, "acme", "ci").await.unwrap();
    assert!(!office.may(&robot, Action::Pull, "acme/app").await);
    assert!(matches!(all.log_in("acme+ci", &made.secret).await, Err(IdentityError::Unauthorized)));
    assert!(matches!(all.remove_robot(&alice, "acme", "ci").await, Err(IdentityError::Unknown(_))));
}

#[tokio::test]
async fn an_organization_is_run_by_its_owners() {
    let office = office().await;
    let all = &office.identities;
    let (root, alice, bob) =
        (office.user("root", true).await, office.user("alice", false).await, office.user("bob", false).await);
    assert!(matches!(all.create_organization(&alice, "acme").await, Err(IdentityError::Denied(_))));
    all.create_organization(&root, "acme").await.unwrap();
    all.put_member(&root, "acme", "alice", Role::Owner).await.unwrap();
    assert!(matches!(all.put_member(&bob, "acme", "bob", Role::Owner).await, Err(IdentityError::Unknown(_))));
    all.create_team(&alice, "acme", "dev").await.unwrap();
    all.put_team_member(&alice, "acme", "dev", "bob").await.unwrap();
    assert!(matches!(all.put_member(&bob, "acme", "bob", Role::Owner).await, Err(IdentityError::Denied(_))));
    let members = all.members(&bob, "acme", Uuid::nil(), 9).await.unwrap();
    assert_eq!(members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["root", "alice", "bob"]);
    assert_eq!(all.team_members(&bob, "acme", "dev", Uuid::nil(), 9).await.unwrap().len(), 1);
    assert_eq!(all.teams(&bob, "acme", "", 9).await.unwrap().len(), 1);
    assert_eq!(all.organizations(&root, "", 9).await.unwrap().len(), 1);

    // What a team is granted its members may, until they leave.
    office.repository(&alice, "acme/app").await;
    let target = GrantTarget::Namespace("acme".to_owned());
    let grant = NewGrant { target, to: "acme/dev", access: Access::ReadWrite };
    all.put_grant(&alice, &grant).await.unwrap();
    assert!(office.may(&bob, Action::Push, "acme/app").await);
    let digest = sha256(b"new");
    let pushed = office.registry.push_blob(&bob, &name("acme/made"), digest, Some(3), body(b"new")).await;
    pushed.unwrap();
    all.remove_team_member(&alice, "acme", "dev", "bob").await.unwrap();
    assert!(!office.may(&bob, Action::Pull, "acme/app").await);
    assert!(text(all.remove_team_member(&alice, "acme", "dev", "bob").await).contains("no member of team acme/dev"));
    all.put_team_member(&alice, "acme", "dev", "bob").await.unwrap();
    all.remove_team(&alice, "acme", "dev").await.unwrap();
    assert!(!office.may(&bob, Action::Pull, "acme/app").await);
    let other = GrantTarget::Repository(name("bob/app"));
    office.repository(&bob, "bob/app").await;
    all.create_team(&alice, "acme", "ops").await.unwrap();
    let foreign = NewGrant { target: other, to: "acme/ops", access: Access::ReadOnly };
    assert!(matches!(all.put_grant(&bob, &foreign).await, Err(IdentityError::Refused(_))));

    // The last owner stays; who may go goes.
    all.remove_member(&bob, "acme", "bob").await.unwrap();
    assert!(matches!(all.remove_member(&bob, "acme", "bob").await, Err(IdentityError::Unknown(_))));
    assert!(text(all.remove_member(&root, "acme", "bob").await).contains("bob is no member of acme"));
    all.remove_member(&root, "acme", "root").await.unwrap();
    let last = "user alice is the last owner of organization acme; make somebody else an owner first";
    assert_eq!(text(all.remove_member(&alice, "acme", "alice").await), last);
    assert_eq!(text(all.put_member(&alice, "acme", "alice", Role::Member).await), last);
    assert_eq!(text(all.remove_user(&root, "alice").await), last);
    assert!(text(all.remove_organization(&alice, "acme").await).contains("acme/app"));
    assert!(text(all.remove_user(&root, "bob").await).contains("owns repositories, bob/app"));
    assert!(text(all.remove_user(&root, "root").await).contains("last active system admin"));
    let demoted = UserChange { admin: Some(false), ..UserChange::default() };
    assert!(text(all.change_user(&root, "root", demoted).await).contains("last active system admin"));
    office.rig.commit("DELETE FROM repository_blob").await;
    office.rig.commit("DELETE FROM repository").await;
    all.remove_organization(&alice, "acme").await.unwrap();
    assert!(matches!(all.remove_organization(&alice, "acme").await, Err(IdentityError::Unknown(_))));
    all.remove_user(&root, "bob").await.unwrap();
    assert!(matches!(office.registry.recognize(&bob).await, Err(Error::Unauthorized)));
    assert!(matches!(all.remove_user(&root, "bob").await, Err(IdentityError::Unknown(_))));
}

#[tokio::test]
async fn a_repository_is_set_by_its_admins() {
    let office = office().await;
    let all = &office.identities;
    let (alice, bob) = (office.user("alice", false).await, office.user("bob", false).await);
    let app = name("alice/app");
    let new = NewRepository { name: app.clone(), public: false, immutable_tags: true };
    assert!(matches!(
        all.create_repository(&bob, new.clone()).await,
        Err(IdentityError::Registry(Error::NameUnknown(_)))
    ));
    assert!(matches!(all.create_repository(&Caller::Anonymous, new.clone()).await, Err(IdentityError::Unauthorized)));
    assert!(all.create_repository(&alice, new.clone()).await.unwrap().immutable_tags);
    assert!(matches!(all.create_repository(&alice, new).await, Err(IdentityError::Exists(_))));
    assert!(matches!(all.repository(&bob, &app).await, Err(IdentityError::Registry(Error::NameUnknown(_)))));
    let public = RepositoryChange { public: Some(true), ..RepositoryChange::default() };
    let changed = all.change_repository(&alice, &app, public).await.unwrap();
    assert!(changed.public && changed.immutable_tags, "what is not given stays");
    assert!(office.may(&Caller::Anonymous, Action::Pull, "alice/app").await);
    assert!(all.repository(&bob, &app).await.unwrap().public);
    assert!(matches!(all.change_repository(&bob, &app, public).await, Err(IdentityError::Denied(_))));
    let listed = all.repositories(&bob, "", 9).await.unwrap();
    assert_eq!(listed.iter().map(|one| (one.name.as_str(), one.public)).collect::<Vec<_>>(), [("alice/app", true)]);
    let private = RepositoryChange { public: Some(false), ..RepositoryChange::default() };
    all.change_repository(&alice, &app, private).await.unwrap();
    assert!(!office.may(&Caller::Anonymous, Action::Pull, "alice/app").await);
    assert!(all.repositories(&bob, "", 9).await.unwrap().is_empty());
    assert!(!all.repositories(&alice, "", 9).await.unwrap()[0].public);
    assert!(all.repositories(&alice, "alice/app", 9).await.unwrap().is_empty());
    // Who may only write to a namespace adds to it what is set as usual.
    let target = GrantTarget::Namespace("alice".to_owned());
    all.put_grant(&alice, &NewGrant { target, to: "bob", access: Access::ReadWrite }).await.unwrap();
    let of_bob = |public, immutable_tags| NewRepository { name: name("alice/by-bob"), public, immutable_tags };
    for (public, immutable_tags) in [(true, false), (false, true)] {
        let refused = all.create_repository(&bob, of_bob(public, immutable_tags)).await;
        assert!(matches!(refused, Err(IdentityError::Denied(_))), "{refused:?}");
    }
    all.create_repository(&bob, of_bob(false, false)).await.unwrap();
    for bare in ["first", "second"] {
        let new = NewRepository { name: name(bare), public: true, immutable_tags: false };
        assert!(all.create_repository(&alice, new.clone()).await.is_err());
        all.create_repository(&OPERATOR, new).await.unwrap();
        assert!(office.may(&Caller::Anonymous, Action::Pull, bare).await, "{bare}");
    }
}

#[tokio::test]
async fn a_refresh_token_comes_back_once_and_only_while_its_owner_stays_the_same() {
    let office = office().await;
    let all = &office.identities;
    let new = NewUser { name: "alice", password: Some(PASSWORD), admin: false };
    all.create_user(&OPERATOR, &new).await.unwrap();
    let alice = all.log_in("alice", PASSWORD).await.unwrap();
    let make = async |identity: &Identity| {
        all.create_refresh(NewRefresh { identity, service: "registry", life: 60_000 }).await.unwrap().unwrap()
    };
    let renew = async |text: &str, service: &str| {
        let shown = all.show_refresh(text, service, [127, 0, 0, 1].into()).await?;
        all.renew_refresh(&shown, 60_000).await.map(|_| shown.identity)
    };
    let once = make(&alice).await;
    // What is not acknowledged used nothing up.
    office.rig.faults.fail_next_commit(Fault::UnavailableBefore);
    assert!(matches!(renew(&once, "registry").await, Err(IdentityError::Registry(_))));
    assert!(matches!(renew(&once, "other").await, Err(IdentityError::Unauthorized)));
    assert_eq!(renew(&once, "registry").await.unwrap(), alice);
    assert!(matches!(renew(&once, "registry").await, Err(IdentityError::Unauthorized)));
    assert!(matches!(renew("rsr_x", "registry").await, Err(IdentityError::Unauthorized)));

    let scope = Some("pull:alice/app".parse().unwrap());
    let caller: Caller = alice.clone().into();
    let token = all.create_token(&caller, NewToken { scope, ..new_token("t") }).await.unwrap();
    let by_token = all.log_in("alice", &token.secret).await.unwrap();
    let kept = make(&by_token).await;
    assert_eq!(renew(&kept, "registry").await.unwrap(), by_token, "with its scope");
    let (revoked, old, late) = (make(&by_token).await, make(&alice).await, make(&by_token).await);
    all.set_password(&caller, "alice", "battery staple").await.unwrap();
    assert!(matches!(renew(&old, "registry").await, Err(IdentityError::Unauthorized)));
    all.revoke_token(&OPERATOR, token.token.id).await.unwrap();
    assert!(matches!(renew(&revoked, "registry").await, Err(IdentityError::Unauthorized)));
    office.rig.clock.advance(Duration::from_secs(60));
    assert!(matches!(renew(&late, "registry").await, Err(IdentityError::Unauthorized)));
}
