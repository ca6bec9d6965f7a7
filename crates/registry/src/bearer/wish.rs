//! What a client asks a token for: `repository:acme/app:pull,push`.

use roadstead_oci::RepositoryName;

use crate::registry::canonical;
use crate::{Action, Scope};

/// Repositories that one token can be asked for.
pub const MOST_WISHES: usize = 64;

/// What a token is to be good for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Repositories by the names that were given, and what is to be done there.
    pub(super) repositories: Vec<(RepositoryName, Vec<Action>)>,
    /// Whether the catalog was asked for.
    pub(super) catalog: bool,
}

/// Why a scope cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scope {text:?}: {why}; ask as in repository:acme/app:pull,push")]
pub struct WishError {
    text: String,
    why: String,
}

impl Wishes {
    /// From the values of `scope`, each of which may hold several with spaces between. Types and actions that are not known
    /// are passed over, as the specification wants it: they are not granted.
    pub fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, WishError> {
        let mut wishes = Self::default();
        for text in scopes.into_iter().flat_map(str::split_whitespace) {
            wishes.add(text).map_err(|why| WishError { text: text.chars().take(128).collect(), why })?;
        }
        Ok(wishes)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (kind, rest) = text.split_once(':').ok_or("has no colon")?;
        let (name, actions) = rest.rsplit_once(':').ok_or("has no actions")?;
        // `repository(plugin)` is a repository.
        match kind.split_once('(').map_or(kind, |(kind, _)| kind) {
            "registry" if name == "catalog" => self.catalog = true,
            "repository" => {
                let name = canonical(&name.parse().map_err(|error: roadstead_oci::NameError| error.to_string())?);
                let known = self.repositories.iter().position(|(known, _)| *known == name);
                let at = match known {
                    Some(at) => at,
                    None if self.repositories.len() == MOST_WISHES => {
                        return Err(format!("is one too many, a token is for at most {MOST_WISHES} repositories"));
                    }
                    None => {
                        self.repositories.push((name, Vec::new()));
                        self.repositories.len() - 1
                    }
                };
                add_actions(&mut self.repositories[at].1, actions);
            }
            _ => {}
        }
        Ok(())
    }

    /// All of it as a scope; `None` when it names no repository.
    pub(super) fn scope(&self) -> Option<Scope> {
        Scope::of(self.repositories.iter().cloned())
    }
}

/// What a client can ask for. Administration is not for tokens of this kind.
pub(super) fn asked_for(word: &str) -> Option<Action> {
    Action::named(word).filter(|action| *action != Action::Admin)
}

/// `*` is everything that a client can ask for.
fn add_actions(to: &mut Vec<Action>, text: &str) {
    let all = || Action::ALL.into_iter().filter(|action| *action != Action::Admin).collect();
    for word in text.split(',') {
        let meant: Vec<Action> = if word == "*" { all() } else { asked_for(word).into_iter().collect() };
        for action in meant {
            if !to.contains(&action) {
                to.push(action);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shown(scopes: &[&str]) -> String {
        Wishes::parse(scopes.iter().copied()).unwrap().scope().map(|scope| scope.to_string()).unwrap_or_default()
    }

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        assert_eq!(shown(&["repository:acme/app:pull,push"]), "pull,push:acme/app");
        assert_eq!(shown(&["repository:library/x:pull repository:x:push"]), "pull,push:x");
        assert_eq!(shown(&["repository:a/b:*", "repository(plugin):a/c:pull,pull"]), "pull,push,delete:a/b pull:a/c");
        assert_eq!(shown(&["repository:a/b:fly", "other:thing:pull", ""]), "");
        let catalog = Wishes::parse(["registry:catalog:*"]).unwrap();
        assert!(catalog.catalog && catalog.scope().is_none());
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (text, part) in
            [("repository", "no colon"), ("repository:x", "no actions"), ("repository:A/b:pull", "repository:A/b:pull")]
        {
            let error = Wishes::parse([text]).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("repository:acme/app:pull,push"), "{error}");
        }
        let many: Vec<String> = (0..=MOST_WISHES).map(|number| format!("repository:a/r{number}:pull")).collect();
        let error = Wishes::parse(many.iter().map(String::as_str)).unwrap_err().to_string();
        assert!(error.contains("at most 64"), "{error}");
    }
}
