//! Paths and the patterns they fit.
//!
//! A parameter takes one segment, only `{repository}` takes as many as there are. So `repositories/acme/grants` is what is
//! granted on the repository `acme`; the repository `acme/grants` is written `repositories/acme%2Fgrants`.

use percent_encoding::percent_decode_str;

/// What all paths of the API begin with.
pub(super) const BASE: &str = "/api/v1";

/// The parameter that is a repository's name.
const WIDE: &str = "{repository}";

/// Parameters of a path, by their names in the pattern.
pub(super) type Parameters = Vec<(&'static str, String)>;

/// The parameters of a path below [`BASE`], if it fits the pattern.
pub(super) fn fit(pattern: &'static str, path: &str) -> Option<Parameters> {
    let (wanted, given): (Vec<&'static str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let more = given.len().checked_sub(wanted.len())?;
    let mut rest = &given[..];
    let mut parameters = Parameters::new();
    for part in wanted {
        let (these, after) = rest.split_at_checked(if part == WIDE { 1 + more } else { 1 })?;
        rest = after;
        match name_of(part) {
            Some(name) => parameters.push((name, decode(&these.join("/"), part == WIDE)?)),
            None if these == [part] => {}
            None => return None,
        }
    }
    rest.is_empty().then_some(parameters)
}

/// The name of a parameter of a pattern.
pub(super) fn name_of(part: &'static str) -> Option<&'static str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

/// What a segment says. No name is empty or has a NUL, and that of a namespace has no slash, however it is written: what
/// follows it would be overlooked.
fn decode(text: &str, slashes: bool) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    let good = !decoded.is_empty() && !decoded.contains('\0') && (slashes || !decoded.contains('/'));
    good.then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::fit;

    fn fitted(pattern: &'static str, path: &str) -> Option<Vec<String>> {
        fit(pattern, path).map(|found| found.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn a_parameter_is_a_segment_and_a_repository_all_that_there_are() {
        let some = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(fitted("/users", "/users"), some(&[]));
        assert_eq!(fitted("/users/{user}", "/users/al%69ce"), some(&["alice"]));
        let member = "/organizations/{organization}/members/{user}";
        assert_eq!(fitted(member, "/organizations/acme/members/bob"), some(&["acme", "bob"]));
        let (one, grants) = ("/repositories/{repository}", "/repositories/{repository}/grants");
        for (path, name) in [("app", "app"), ("a/b/c", "a/b/c"), ("acme%2Fgrants", "acme/grants")] {
            assert_eq!(fitted(one, &format!("/repositories/{path}")), some(&[name]));
            assert_eq!(fitted(grants, &format!("/repositories/{path}/grants")), some(&[name]));
        }
        assert_eq!(fitted(grants, "/repositories/acme%2Fgrants"), None);
        assert_eq!(fitted(grants, "/repositories/grants"), None);
        for bad in ["/users/", "/users/a/b", "/users/acme%2Fx", "/users/a%00", "/users/%ff", "/user/a", "/users", ""] {
            assert_eq!(fitted("/users/{user}", bad), None, "{bad}");
        }
    }
}
