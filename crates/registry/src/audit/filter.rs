//! Which events somebody wants to see.

use roadstead_metadata::Millis;
use roadstead_oci::RepositoryName;
use uuid::Uuid;

use super::{Told, id_at};
use crate::registry::canonical;

/// What is `None` is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Noted then or later.
    pub since: Option<Millis>,
    /// Noted before.
    pub until: Option<Millis>,
    /// In this repository, by its name as shown.
    pub repository: Option<String>,
    /// By whom, as in `alice` or `acme+ci`; `anonymous`, `operator` and `system` are those that have no name.
    pub actor: Option<String>,
    /// What was done; `grant` is all whose name begins with `grant.`.
    pub action: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Older than the event with this id.
    pub before: Option<Uuid>,
}

impl Filter {
    /// The same, in this repository.
    pub fn within(mut self, repository: &RepositoryName) -> Self {
        self.repository = Some(canonical(repository).to_string());
        self
    }

    /// The same, and nothing before `time`.
    pub fn not_before(mut self, time: Millis) -> Self {
        self.since = self.since.max(Some(time));
        self
    }

    /// All wanted events have a lesser id.
    pub fn below(&self) -> Option<Uuid> {
        let until = self.until.map(id_at);
        match (self.before, until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Whether this event is wanted.
    pub fn wants(&self, event: &Told<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| Some(w) == found);
        let action = |wanted: &str| {
            event.action.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.below().is_none_or(|below| event.id < below)
            && self.since.is_none_or(|since| event.id >= id_at(since))
            && is(&self.repository, event.repository.as_deref())
            && is(&self.actor, event.actor.as_deref().or(Some(&*event.actor_kind)))
            && self.action.as_deref().is_none_or(action)
            && is(&self.outcome, Some(&*event.outcome))
    }
}
