#![allow(clippy::unwrap_used)]

use roadstead_metadata::records::access::{RepositoryFacts, Standing, TokenStanding};

use super::*;

const AT: Millis = 1_000;
const ME: Uuid = Uuid::from_u128(1);
const ACME: Uuid = Uuid::from_u128(2);
const OTHER: Uuid = Uuid::from_u128(3);
const LIB: Uuid = Uuid::from_u128(4);
const TOKEN: Uuid = Uuid::from_u128(5);

/// Where something is asked. Of `acme` the caller has what the matrix says, of the others nothing.
const PLACES: [(&str, &str); 9] = [
    ("private", "acme/app"),
    ("public", "acme/open"),
    ("elsewhere", "other/app"),
    ("new: own", "me/new"),
    ("new: acme", "acme/new"),
    ("new: other", "other/new"),
    ("new: nowhere", "nowhere/new"),
    ("library", "app"),
    ("new: library", "new"),
];

/// Who asks, and what it is answered to pull, push, delete and admin at each place. `+` allowed, `m` allowed and made,
/// `1` 401, `3` 403, `4` 404.
///
/// Manifests, blobs, tag lists, referrers and the source of a mount are pulls; tags and manifests are deleted alike.
#[rustfmt::skip]
const MATRIX: &[(&str, [&str; 9])] = &[
    //                   private public elsewhere own    acme    other   nowhere library new: library
    ("anonymous",        ["1111", "+111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
    ("user",             ["4444", "+333", "4444", "+m++", "4444", "4444", "4444", "4444", "4444"]),
    ("member",           ["4444", "+333", "4444", "+m++", "4444", "4444", "4444", "4444", "4444"]),
    ("reader",           ["+333", "+333", "4444", "+m++", "4444", "4444", "4444", "4444", "4444"]),
    ("writer",           ["+++3", "+++3", "4444", "+m++", "4444", "4444", "4444", "4444", "4444"]),
    ("repository admin", ["++++", "++++", "4444", "+m++", "4444", "4444", "4444", "4444", "4444"]),
    ("namespace reader", ["+333", "+333", "4444", "+m++", "+444", "4444", "4444", "4444", "4444"]),
    ("namespace writer", ["+++3", "+++3", "4444", "+m++", "+m+4", "4444", "4444", "4444", "4444"]),
    ("owner",            ["++++", "++++", "4444", "+m++", "+m++", "4444", "4444", "4444", "4444"]),
    ("system admin",     ["++++", "++++", "++++", "+m++", "+m++", "+m++", "+3++", "++++", "+m++"]),
    ("operator",         ["++++", "++++", "++++", "+m++", "+m++", "+m++", "+3++", "++++", "+m++"]),
    ("robot reader",     ["+333", "+333", "4444", "4444", "4444", "4444", "4444", "4444", "4444"]),
    ("robot writer",     ["+++3", "+++3", "4444", "4444", "4444", "4444", "4444", "4444", "4444"]),
    ("owner, pull:acme/app",    ["+333", "3333", "4444", "4444", "4444", "4444", "4444", "4444", "4444"]),
    ("owner, pull,push:acme/*", ["++33", "++33", "4444", "4444", "+m33", "4444", "4444", "4444", "4444"]),
    ("reader, push:acme/app",   ["3333", "3333", "4444", "4444", "4444", "4444", "4444", "4444", "4444"]),
    ("user, *:*",        ["4444", "+333", "4444", "+m++", "4444", "4444", "4444", "4444", "4444"]),
    ("inactive",         ["1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
    ("removed",          ["1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
    ("of another epoch", ["1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
    ("token",            ["++++", "++++", "4444", "+m++", "+m++", "4444", "4444", "4444", "4444"]),
    ("expired token",    ["1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
    ("revoked token",    ["1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
    ("removed token",    ["1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
    ("token of another", ["1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111", "1111"]),
];

/// A caller of the matrix.
fn caller(who: &str) -> Caller {
    let (who, scope) = who.split_once(", ").map_or((who, None), |(who, scope)| (who, Some(scope.parse().unwrap())));
    let subject = if who.starts_with("robot") { Subject::Robot(ME) } else { Subject::User(ME) };
    let token = who.contains("token").then_some(TOKEN);
    let epoch = Some(if who == "of another epoch" { 6 } else { 7 }).filter(|_| !who.starts_with("robot"));
    match who {
        "anonymous" => Caller::Anonymous,
        "operator" => Caller::Operator,
        _ => Identity { token, epoch, scope, ..Identity::new(subject, who) }.into(),
    }
}

/// What is known of the caller and a repository.
fn facts(who: &str, repository: &str) -> Facts {
    let who = who.split_once(", ").map_or(who, |(who, _)| who);
    let namespace = match namespace_of(repository) {
        "me" => Some((ME, NamespaceKind::User)),
        "acme" => Some((ACME, NamespaceKind::Organization)),
        "other" => Some((OTHER, NamespaceKind::Organization)),
        "library" => Some((LIB, NamespaceKind::System)),
        _ => None,
    };
    let there = ["acme/app", "acme/open", "other/app", "app"].contains(&repository);
    let public = repository == "acme/open";
    let repository = there.then_some(RepositoryFacts { id: Uuid::from_u128(9), public, immutable_tags: false });
    let known = !["anonymous", "operator", "removed"].contains(&who);
    let epoch = if who.starts_with("robot") { 0 } else { 7 };
    let standing = Standing { active: who != "inactive", admin: who == "system admin", epoch };
    let whose = if who == "token of another" { Subject::User(OTHER) } else { Subject::User(ME) };
    let expires_at = Some(if who == "expired token" { AT } else { AT + 1 });
    let token = TokenStanding { subject: whose, expires_at, revoked: who == "revoked token" };
    let in_acme = namespace.is_some_and(|(id, _)| id == ACME);
    let owns = who == "owner" || who.contains("token") || ["inactive", "removed", "of another epoch"].contains(&who);
    let granted_namespace = match who {
        "namespace reader" => Some(Access::ReadOnly),
        "namespace writer" => Some(Access::ReadWrite),
        _ => None,
    };
    let granted = match who {
        "reader" | "robot reader" => Some(Access::ReadOnly),
        "writer" | "robot writer" => Some(Access::ReadWrite),
        "repository admin" => Some(Access::Admin),
        _ => granted_namespace,
    };
    Facts {
        revision: 1,
        standing: known.then_some(standing),
        token: (who.contains("token") && who != "removed token").then_some(token),
        repository,
        namespace,
        owner: (in_acme && (owns || who == "member")).then_some(owns),
        granted: granted.filter(|_| in_acme && there),
        granted_namespace: granted_namespace.filter(|_| in_acme),
    }
}

fn ask(rules: &Rules, who: &str, action: Action, repository: &str) -> Decision {
    let name = repository.parse().unwrap();
    let question = Question { action, repository: &name, at: AT };
    decide(rules, &caller(who), &facts(who, repository), question)
}

#[test]
fn the_matrix() {
    let mut wrong = Vec::new();
    for (who, expected) in MATRIX {
        for ((place, repository), expected) in PLACES.iter().zip(expected) {
            let actions = [Action::Pull, Action::Push, Action::Delete, Action::Admin];
            let cell = |action| match ask(&Rules::default(), who, action, repository) {
                Decision::Allowed => '+',
                Decision::AllowedMaking(_) => 'm',
                Decision::Unauthorized => '1',
                Decision::Denied(_) => '3',
                Decision::NameUnknown => '4',
            };
            let found: String = actions.into_iter().map(cell).collect();
            if found != **expected {
                wrong.push(format!("{who}, {place} ({repository}): {found}, expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without rights a private repository and none at all cannot be told apart, whatever is asked.
#[test]
fn what_is_private_is_as_if_it_was_not_there() {
    for (who, _) in MATRIX.iter().filter(|(_, cells)| cells[2] != "++++") {
        for action in [Action::Pull, Action::Push, Action::Delete, Action::Admin] {
            let there = ask(&Rules::default(), who, action, "other/app");
            for absent in ["other/new", "nowhere/new"] {
                assert_eq!(there, ask(&Rules::default(), who, action, absent), "{who} {action:?} {absent}");
            }
        }
    }
}

#[test]
fn what_a_push_makes_is_a_setting() {
    let rules = Rules { create_on_push: false, ..Rules::default() };
    assert_eq!(ask(&rules, "owner", Action::Push, "acme/new"), Decision::Denied(Denial::NotMade));
    assert_eq!(ask(&rules, "owner", Action::Push, "acme/app"), Decision::Allowed);
    assert_eq!(ask(&rules, "user", Action::Push, "acme/new"), Decision::NameUnknown);
    let made = |who, repository| ask(&Rules::default(), who, Action::Push, repository);
    assert_eq!(made("owner", "acme/new"), Decision::AllowedMaking(Some(ACME)));
    assert_eq!(made("system admin", "new"), Decision::AllowedMaking(Some(LIB)));
    assert_eq!(made("system admin", "nowhere/new"), Decision::Denied(Denial::Namespace));
    let first = Facts { namespace: None, ..facts("operator", "new") };
    let question = Question { action: Action::Push, repository: &"new".parse().unwrap(), at: AT };
    assert_eq!(decide(&Rules::default(), &Caller::Operator, &first, question), Decision::AllowedMaking(None));
}

#[test]
fn what_nobody_in_particular_may_is_a_setting() {
    let rules = Rules { anonymous_pull: false, ..Rules::default() };
    assert_eq!(ask(&rules, "anonymous", Action::Pull, "acme/open"), Decision::Unauthorized);
    assert_eq!(ask(&rules, "user", Action::Pull, "acme/open"), Decision::Allowed);
    let seen = |rules: &Rules, who| viewer(rules, &caller(who), &facts(who, "acme/open"), AT);
    assert_eq!(seen(&rules, "anonymous"), None);
    assert_eq!(seen(&Rules::default(), "anonymous"), Some(Viewer::Public));
    assert_eq!(seen(&rules, "user"), Some(Viewer::Subject(Subject::User(ME))));
    assert_eq!(seen(&rules, "system admin"), Some(Viewer::All));
    assert_eq!(seen(&rules, "operator"), Some(Viewer::All));
    for invalid in ["inactive", "removed", "expired token", "revoked token", "token of another", "of another epoch"] {
        assert_eq!(seen(&Rules::default(), invalid), None, "{invalid}");
    }
}
