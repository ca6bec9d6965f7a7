//! What a use case changes, as the audit tells it.

use roadstead_oci::RepositoryName;

use crate::Caller;
use crate::audit::{Actor, AuditAction, AuditOutcome, Event};

/// Who changes what. Nothing is changed without one (`Identities::change`), so that nothing goes unnoted.
pub(super) struct Deed<'a> {
    /// The registry itself without one.
    by: Option<&'a Caller>,
    action: &'static str,
    object: String,
    repository: Option<RepositoryName>,
    detail: Option<String>,
}

impl<'a> Deed<'a> {
    /// `object` is what is changed: a name, the id of a token.
    pub(super) fn new(by: &'a Caller, action: &'static str, object: impl ToString) -> Self {
        Self { by: Some(by), action, object: object.to_string(), repository: None, detail: None }
    }

    /// What the registry does by itself.
    pub(super) fn of_system(action: &'static str, object: impl ToString) -> Self {
        Self { by: None, action, object: object.to_string(), repository: None, detail: None }
    }

    /// What becomes of it. Never a secret.
    pub(super) fn with(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// In which repository.
    pub(super) fn within(mut self, repository: &RepositoryName) -> Self {
        self.repository = Some(repository.clone());
        self
    }

    /// As an event that ended so.
    pub(super) fn event(self, outcome: AuditOutcome) -> Event {
        let actor = self.by.map_or(Actor::System, |caller| Actor::Caller(caller.clone()));
        let mut event = Event::new(AuditAction::Change(self.action), outcome, actor);
        event.object = Some(self.object.into());
        event.repository = self.repository;
        event.detail = self.detail.map(Into::into);
        event
    }
}
