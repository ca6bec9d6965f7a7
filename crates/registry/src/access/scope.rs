//! What a token is good for: `pull,push:acme/app pull:acme/*`.

use std::fmt;
use std::str::FromStr;

use roadstead_metadata::records::visible::Range;
use roadstead_oci::RepositoryName;

use super::Action;
use crate::registry::canonical;

/// Actions on repositories; a token with a scope is good for nothing else. Written as entries `ACTIONS:REPOSITORIES` with
/// spaces between: actions are `pull`, `push`, `delete`, `admin` with commas between, or `*`; repositories are a name, all
/// of a namespace as `acme/*`, or `*`. The entry `metrics` is for the metrics of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    entries: Vec<Entry>,
    metrics: bool,
}

/// The entry that names no repository.
const METRICS: &str = "metrics";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    actions: Vec<Action>,
    of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Of {
    Every,
    /// All whose name starts with this, which ends in a slash.
    Below(String),
    One(RepositoryName),
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scope {entry:?}: {why}; write ACTIONS:REPOSITORY as in pull,push:acme/app or pull:acme/*")]
pub struct ScopeError {
    /// The entry that is wrong.
    entry: String,
    /// What is wrong.
    why: String,
}

impl Scope {
    /// Of these actions in these repositories; `None` when there are none.
    pub(crate) fn of(granted: impl IntoIterator<Item = (RepositoryName, Vec<Action>)>) -> Option<Self> {
        let granted = granted.into_iter().filter(|(_, actions)| !actions.is_empty());
        let entries: Vec<Entry> = granted.map(|(name, actions)| Entry { actions, of: Of::One(name) }).collect();
        (!entries.is_empty()).then_some(Self { entries, metrics: false })
    }

    /// Whether it is good for this.
    pub fn allows(&self, repository: &RepositoryName, action: Action) -> bool {
        self.entries.iter().any(|entry| entry.actions.contains(&action) && entry.of.has(repository))
    }

    /// Whether it is good for anything there.
    pub fn names(&self, repository: &RepositoryName) -> bool {
        self.entries.iter().any(|entry| entry.of.has(repository))
    }

    /// Whether it is good for the metrics.
    pub fn is_for_metrics(&self) -> bool {
        self.metrics
    }

    /// Where the names are that it is good to pull from.
    pub(crate) fn pulled(&self) -> Vec<Range> {
        let pulls = self.entries.iter().filter(|entry| entry.actions.contains(&Action::Pull));
        pulls.map(|entry| entry.of.range()).collect()
    }
}

impl Of {
    fn has(&self, repository: &RepositoryName) -> bool {
        match self {
            Of::Every => true,
            Of::Below(prefix) => repository.as_str().starts_with(prefix),
            Of::One(name) => name == repository,
        }
    }

    /// Its names, by bounds whose last characters no name has: `0` comes after `/`, `!` before all that names are made of.
    fn range(&self) -> Range {
        match self {
            Of::Every => Range::all(),
            Of::Below(prefix) => Range { from: prefix.clone(), to: format!("{}0", prefix.trim_end_matches('/')) },
            Of::One(name) => Range { from: name.to_string(), to: format!("{name}!") },
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (metrics, entries): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(|entry| *entry == METRICS);
        let entries = entries.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        match entries.is_empty() && metrics.is_empty() {
            true => Err(wrong(text, "is empty, and a token for nothing is of no use")),
            false => Ok(Self { entries, metrics: !metrics.is_empty() }),
        }
    }
}

fn wrong(entry: &str, why: impl Into<String>) -> ScopeError {
    ScopeError { entry: entry.to_owned(), why: why.into() }
}

fn entry(text: &str) -> Result<Entry, ScopeError> {
    let (actions, of) = text.split_once(':').ok_or_else(|| wrong(text, "has no colon"))?;
    let actions = match actions {
        "*" => Action::ALL.to_vec(),
        some => some
            .split(',')
            .map(|word| {
                Action::named(word)
                    .ok_or_else(|| wrong(text, format!("{word:?} is none of pull, push, delete, admin, *")))
            })
            .collect::<Result<_, _>>()?,
    };
    let named = |name: &str| name.parse::<RepositoryName>().map_err(|error| wrong(text, error.to_string()));
    let of = match (of, of.strip_suffix("/*")) {
        ("*", _) => Of::Every,
        (_, Some("library")) => return Err(wrong(text, "repositories of library are named one by one")),
        (_, Some(prefix)) => Of::Below(format!("{}/", named(prefix)?)),
        (name, None) => Of::One(canonical(&named(name)?)),
    };
    Ok(Entry { actions, of })
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Entry { actions, of }) in self.entries.iter().enumerate() {
            let words: Vec<&str> = actions.iter().map(|action| action.word()).collect();
            write!(f, "{}{}:", if index > 0 { " " } else { "" }, words.join(","))?;
            match of {
                Of::Every => f.write_str("*")?,
                Of::Below(prefix) => write!(f, "{prefix}*")?,
                Of::One(name) => write!(f, "{name}")?,
            }
        }
        match (self.metrics, self.entries.is_empty()) {
            (true, true) => f.write_str(METRICS),
            (true, false) => write!(f, " {METRICS}"),
            (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_good_for_what_it_names_and_nothing_else() {
        let scope: Scope = "pull,push:acme/app  pull:bob/* *:library/x".parse().unwrap();
        assert_eq!(scope.to_string(), "pull,push:acme/app pull:bob/* pull,push,delete,admin:x");
        assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
        for (repository, action, good) in [
            ("acme/app", Action::Push, true),
            ("acme/app", Action::Delete, false),
            ("acme/app2", Action::Pull, false),
            ("acme/app/sub", Action::Pull, false),
            ("bob/a", Action::Pull, true),
            ("bob/a/b", Action::Pull, true),
            ("bob/a", Action::Push, false),
            ("bobby/a", Action::Pull, false),
            ("x", Action::Admin, true),
            ("y", Action::Pull, false),
        ] {
            assert_eq!(scope.allows(&name(repository), action), good, "{action:?} {repository}");
        }
        for (text, good) in [("metrics", true), ("pull:acme/app metrics", true), ("pull:metrics", false)] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!((scope.is_for_metrics(), scope.to_string().as_str()), (good, text));
            assert!(!scope.allows(&name("acme/other"), Action::Pull));
        }
        assert!("pull:*".parse::<Scope>().unwrap().allows(&name("any/thing"), Action::Pull));
    }

    #[test]
    fn ranges_hold_exactly_the_names() {
        let scope: Scope = "pull:acme/* pull:bob/a push:bob/b".parse().unwrap();
        let ranges = scope.pulled();
        let inside = |name: &str| ranges.iter().any(|range| *range.from <= *name && *name < *range.to);
        for (name, is) in [
            ("acme/a", true),
            ("acme/z/z", true),
            ("acme-x/a", false),
            ("acme", false),
            ("acme0/a", false),
            ("bob/a", true),
            ("bob/a-b", false),
            ("bob/a/b", false),
            ("bob/b", false),
        ] {
            assert_eq!(inside(name), is, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "is empty"),
            ("pull", "no colon"),
            ("fetch:a/b", "\"fetch\" is none of"),
            ("pull:A/b", "pull:A/b"),
            ("pull:library/*", "one by one"),
            ("pull:", "pull:"),
        ] {
            let error = text.parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("pull,push:acme/app"), "{text}: {error}");
        }
    }
}
