//! What users, organizations, teams and robots may be called: as components of a repository's name.

use roadstead_oci::RepositoryName;

use super::{Identities, IdentityError, Outcome};

/// Longest name in characters, so that there is room for repositories behind it.
const LONGEST: usize = 64;

/// Names that nobody may have: they are the registry's own, or would be taken for it.
const RESERVED: [&str; 12] =
    ["anonymous", "api", "auth", "ca", "health", "library", "metrics", "operator", "robot", "system", "v1", "v2"];

/// The system admin of the first start. No source has a user of this name: where the registry's own was removed, whoever is
/// called so elsewhere would be taken for it.
pub const FIRST_ADMIN: &str = "admin";

fn is_name(name: &str) -> bool {
    !name.contains('/') && name.len() <= LONGEST && name.parse::<RepositoryName>().is_ok()
}

impl Identities {
    /// Whether a user or a robot (`acme+ci`) could be called so. A token or most of what else is typed in a name's place is none.
    pub fn could_be_called(name: &str) -> bool {
        let (namespace, robot) = name.split_once('+').unwrap_or((name, "robot"));
        is_name(namespace) && is_name(robot)
    }
}

/// Why nobody can be a user of this name; `None`: somebody can.
pub fn not_a_user(name: &str) -> Option<String> {
    check_namespace("a user", name).err().map(|error| error.to_string())
}

/// `what` is a user, an organization, a team or a robot.
pub(super) fn check(what: &str, name: &str) -> Outcome<()> {
    if !is_name(name) {
        return Err(IdentityError::Invalid(format!(
            "{name:?} is no name for {what}: it has to be lower-case letters and digits, with single `.` or `_`, `__` or \
             dashes between them, and at most {LONGEST} characters"
        )));
    }
    Ok(())
}

/// The same for what owns a namespace.
pub(super) fn check_namespace(what: &str, name: &str) -> Outcome<()> {
    check(what, name)?;
    match RESERVED.contains(&name) {
        true => Err(IdentityError::Invalid(format!("the name {name} is reserved; choose another one"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_components_of_repository_names() {
        for good in ["alice", "a", "4cme", "a-b", "a--b", "a_b", "a__b", "a.b", &"a".repeat(64)] {
            assert!(check_namespace("a user", good).is_ok(), "{good}");
        }
        for bad in ["", "Alice", "a/b", "-a", "a-", "a+b", "a b", "a..b", "ä", "a___b", "a:b", &"a".repeat(65)] {
            assert!(check("a user", bad).is_err(), "{bad}");
        }
        for (name, could) in [("alice", true), ("acme+ci", true), ("a+b+c", false), ("+ci", false), ("acme+", false)] {
            assert_eq!(Identities::could_be_called(name), could, "{name}");
        }
        assert!(!Identities::could_be_called(&format!("rsd_{}_{}", "0".repeat(32), "0".repeat(64))));
        for reserved in RESERVED {
            assert!(check_namespace("a user", reserved).is_err() && check("a team", reserved).is_ok(), "{reserved}");
        }
    }
}
