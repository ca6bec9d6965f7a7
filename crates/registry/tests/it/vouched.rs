//! Whose a name is that a source has.

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_registry::identities::{
    FIRST_ADMIN, Identities, IdentityError, NewUser, Outcome, Passwords, Source, UserChange, Verdict,
};
use roadstead_registry::{Caller, Everyone};

use crate::rig::Rig;

const PASSWORD: &str = "correct horse";
const OPERATOR: Caller = Caller::Operator;

/// Vouches for whoever comes with its word, and has some users that it can tell before.
#[derive(Debug)]
struct Scripted {
    name: &'static str,
    word: &'static str,
    has: &'static [&'static str],
}

#[async_trait]
impl Source for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn recognizes(&self, secret: &str) -> bool {
        self.has.is_empty() && secret == self.word
    }

    async fn judge(&self, name: Option<&str>, secret: &str, _: &Passwords) -> Outcome<Verdict> {
        let known = name.is_some_and(|name| self.has.is_empty() || self.has.contains(&name));
        Ok(match known {
            true if secret == self.word => Verdict::Right { mark: 1, until: None },
            true if !self.has.is_empty() => Verdict::Wrong,
            _ => Verdict::Nobody,
        })
    }

    fn knows(&self, name: &str) -> bool {
        self.has.contains(&name)
    }

    fn holds(&self, _: &str, mark: u64) -> bool {
        mark == 1
    }
}

/// An issuer that says of everybody what it likes, and a file with `hank` and `admin`.
async fn identities() -> (Rig, Identities) {
    let rig = Rig::new().await;
    let identities = Identities::new(rig.sql.clone(), rig.clock.clone(), Arc::new(Everyone)).with_sources(vec![
        Arc::new(Scripted { name: "issuer", word: "a statement", has: &[] }),
        Arc::new(Scripted { name: "file", word: "a password", has: &["hank", "admin"] }),
    ]);
    (rig, identities)
}

fn refused<T: std::fmt::Debug>(outcome: &Outcome<T>) -> bool {
    matches!(outcome, Err(IdentityError::Unauthorized))
}

#[tokio::test]
async fn a_name_that_another_source_has_is_not_taken_by_who_comes_first() {
    let (_rig, all) = identities().await;
    assert!(refused(&all.log_in("hank", "a statement").await));
    assert_eq!(all.log_in("hank", "a password").await.unwrap().name, "hank");
    assert!(refused(&all.log_in("hank", "a statement").await));
    assert_eq!(all.log_in("zoe", "a statement").await.unwrap().name, "zoe");
}

#[tokio::test]
async fn an_admin_says_whose_a_name_is_that_two_sources_have() {
    let (_rig, all) = identities().await;
    all.create_user_of(&OPERATOR, "hank", "issuer", false).await.unwrap();
    assert!(refused(&all.log_in("hank", "a password").await));
    assert_eq!(all.log_in("hank", "a statement").await.unwrap().name, "hank");
}

#[tokio::test]
async fn the_name_of_the_first_admin_is_no_source_s() {
    let (_rig, all) = identities().await;
    // It was the registry's own, which is gone.
    assert!(all.create_first_admin(FIRST_ADMIN, PASSWORD).await.unwrap());
    all.create_user(&OPERATOR, &NewUser { name: "root", password: Some(PASSWORD), admin: true }).await.unwrap();
    all.remove_user(&OPERATOR, FIRST_ADMIN).await.unwrap();
    for secret in ["a statement", "a password"] {
        assert!(refused(&all.log_in(FIRST_ADMIN, secret).await), "{secret}");
    }
}

#[tokio::test]
async fn the_admins_of_sources_do_not_stand_in_for_one_with_a_password() {
    let (_rig, all) = identities().await;
    all.create_user_of(&OPERATOR, "hank", "file", true).await.unwrap();
    assert!(all.create_first_admin(FIRST_ADMIN, PASSWORD).await.unwrap(), "hank is none that counts");
    let off = UserChange { active: Some(false), ..UserChange::default() };
    for outcome in [
        all.remove_user(&OPERATOR, FIRST_ADMIN).await.unwrap_err(),
        all.change_user(&OPERATOR, FIRST_ADMIN, off).await.unwrap_err(),
    ] {
        assert!(outcome.to_string().contains("last active system admin"), "{outcome}");
    }
    // Nobody waits for those.
    all.change_user(&OPERATOR, "hank", off).await.unwrap();
    all.remove_user(&OPERATOR, "hank").await.unwrap();
}

#[tokio::test]
async fn whoever_has_the_name_of_the_first_admin_keeps_it() {
    let (_rig, all) = identities().await;
    all.create_user_of(&OPERATOR, FIRST_ADMIN, "file", true).await.unwrap();
    let outcome = all.create_first_admin(FIRST_ADMIN, PASSWORD).await;
    assert!(matches!(outcome, Err(IdentityError::Exists(_))), "{outcome:?}");
    assert_eq!(all.log_in(FIRST_ADMIN, "a password").await.unwrap().name, FIRST_ADMIN);
}
