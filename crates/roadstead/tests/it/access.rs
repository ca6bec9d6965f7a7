//! Access control of several instances over one PostgreSQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_metadata::records::access::{Access, Subject};
use roadstead_metadata::{Sql, migrate, schema};
use roadstead_metadata_postgres::{Options, PostgresSql};
use roadstead_registry::identities::{GrantTarget, Identities, NewGrant, NewRepository, NewToken, NewUser, UserChange};
use roadstead_registry::{AccessCache, Action, Caller, Clock, Policy, Rules, SystemClock};
use roadstead_testkit::servers::database;

/// An instance: its own connections, its own memory.
struct Instance {
    policy: Arc<AccessCache>,
    identities: Identities,
}

async fn instance(url: &str) -> Instance {
    let sql: Arc<dyn Sql> = Arc::new(PostgresSql::open(Options::new(url.to_owned())).await.unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    migrate(&*sql, schema::MIGRATIONS, clock.now()).await.unwrap();
    let outage = Duration::from_secs(60);
    let policy = Arc::new(AccessCache::new(sql.clone(), clock.clone(), Rules::default(), outage));
    Instance { identities: Identities::new(sql, clock, policy.clone()), policy }
}

/// Of three instances that serve somebody all the time, each refuses within a second what one of them took away: a decision
/// that begins a second after the change was acknowledged is never the old one. The one that took it refuses at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_is_refused_by_three_instances_within_a_second() {
    let Some(database) = database() else { return };
    let mut instances = Vec::new();
    for _ in 0..3 {
        instances.push(instance(&database.url).await);
    }
    let all = &instances[0].identities;
    let operator = Caller::Operator;
    for (name, admin) in [("root", true), ("alice", false), ("bob", false)] {
        all.create_user(&operator, &NewUser { name, password: None, admin }).await.unwrap();
    }
    all.create_organization(&operator, "acme").await.unwrap();
    all.create_team(&operator, "acme", "dev").await.unwrap();
    let new = NewRepository { name: "acme/app".parse().unwrap(), public: false, immutable_tags: false };
    let app = new.name.clone();
    all.create_repository(&operator, new).await.unwrap();
    let target = GrantTarget::Repository(app.clone());
    let to = |to| NewGrant { target: target.clone(), to, access: Access::ReadWrite };
    all.put_grant(&operator, &to("acme/dev")).await.unwrap();
    all.create_robot(&operator, "acme", "ci").await.unwrap();

    for what in ["the grant", "the membership", "the token", "the user's life", "the robot", "the user"] {
        let (of, owner) = if what == "the robot" { (Some("acme+ci"), "acme+ci") } else { (Some("bob"), "bob") };
        all.put_grant(&operator, &to("acme/dev")).await.unwrap();
        if what == "the robot" {
            all.put_grant(&operator, &to("acme+ci")).await.unwrap();
        }
        all.put_team_member(&operator, "acme", "dev", "bob").await.unwrap();
        all.change_user(&operator, "bob", UserChange { active: Some(true), admin: None }).await.unwrap();
        let token = NewToken { name: "t", of, scope: None, expires_at: None };
        let token = all.create_token(&operator, token).await.unwrap();
        let mut callers = Vec::new();
        for instance in &instances {
            let caller: Caller = instance.identities.log_in(owner, &token.secret).await.unwrap().into();
            // What was given just now may be known a second later elsewhere.
            while instance.policy.decide(&caller, Action::Push, &app).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            callers.push(caller);
        }
        match what {
            "the grant" => all.remove_grant(&operator, &target, "acme/dev").await.unwrap(),
            "the membership" => all.remove_team_member(&operator, "acme", "dev", "bob").await.unwrap(),
            "the token" => all.revoke_token(&operator, token.token.id).await.unwrap(),
            "the user's life" => {
                let off = UserChange { active: Some(false), admin: None };
                drop(all.change_user(&operator, "bob", off).await.unwrap());
            }
            "the robot" => all.remove_robot(&operator, "acme", "ci").await.unwrap(),
            _ => all.remove_user(&operator, "bob").await.unwrap(),
        }
        let taken = Instant::now();
        assert!(instances[0].policy.decide(&callers[0], Action::Push, &app).await.is_err(), "{what}: at once");
        for (instance, caller) in instances.iter().zip(&callers).skip(1) {
            loop {
                let began = taken.elapsed();
                if instance.policy.decide(caller, Action::Push, &app).await.is_err() {
                    println!("{what}: refused elsewhere after {} ms", taken.elapsed().as_millis());
                    break;
                }
                assert!(began < Duration::from_secs(1), "{what}: still allowed {began:?} after it was taken");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    let left = all.users(&operator, "", 9).await.unwrap();
    let names: Vec<_> = left.iter().map(|user| (user.name.as_str(), Subject::User(user.id))).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
